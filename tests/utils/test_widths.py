"""Crops of several widths: long words are not squeezed, and nobody else's crop changes what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_reference import loud
from helpers_train import Parts, initialized, make_parts, records, write_crops
from PIL import Image

from dptr.config.load import load_recipe
from dptr.config.model import EncoderConfig, FMUConfig, ModelConfig, PARSeqConfig, SVTRConfig
from dptr.config.render import RenderConfig
from dptr.config.size import CropSize
from dptr.data.augment import to_pixels
from dptr.data.crops import load_crops
from dptr.inference.reader import Reader
from dptr.models.checkpoint import load_recognizer, save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.synth import Renderer, pack
from dptr.text.charset import resolve_charset
from dptr.training.finetune import finetune
from dptr.utils.errors import UserError
from dptr.utils.images import fit, to_array, to_one_width
from dptr.utils.widths import WIDTH_STEP, crop_width, group_by_width, is_valid_size

WIDE = SVTRConfig(size="nano", height=16, width=32, max_width=128)
CONFIG = ModelConfig(
    encoder=WIDE, fmu=FMUConfig(queries=6, heads=2), decoder=PARSeqConfig(dim=16, depth=1, heads=2), charset="36",
    max_length=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, font_folder: Path) -> Parts:
    return make_parts(tmp_path_factory.mktemp("parts"), font_folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recognizer of random weights that reads crops of 32 to 128 pixels."""
    charset, path = resolve_charset("36"), tmp_path_factory.mktemp("model") / "wide"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = loud(build_recognizer(CONFIG, len(charset)), 1, 0.3)
    save_checkpoint(path, "recognizer", model, CONFIG, charset, {}, {"name": "wide"})
    return path


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    sizes = zip(rng.integers(8, 40, count), rng.integers(8, 300, count), strict=True)
    return [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for height, width in sizes]


def test_the_width_is_the_allowed_one_that_is_nearest_to_the_pictures_shape() -> None:
    allowed = np.arange(128, 321, WIDTH_STEP)
    for aspect in np.random.default_rng(0).uniform(0.1, 15, 300):
        assert crop_width(aspect, 32, 128, 320) == allowed[np.abs(allowed - 32 * aspect).argmin()]
        assert crop_width(aspect, 32, 128, 0) == crop_width(aspect, 32, 128, 128) == 128


def test_a_picture_is_stretched_to_its_width_and_no_further() -> None:
    for picture in pictures(20):
        crop = fit(picture, 16, 32, 128)
        wanted = crop_width(picture.width / picture.height, 16, 32, 128)
        np.testing.assert_array_equal(crop, to_array(picture, 16, wanted))
        assert is_valid_size(crop.shape, 16, 32, 128) and is_valid_size((16, 32, 3), 16, 32, 0)
    assert not any(is_valid_size(shape, 16, 32, 128) for shape in ((16, 33, 3), (16, 160, 3), (15, 32, 3), (16, 32, 4)))


def test_batches_of_one_width_hold_each_crop_once() -> None:
    crops = [fit(picture, 16, 32, 128) for picture in pictures(50)]
    seen = []
    for places, batch in group_by_width(crops, 7):
        assert len(places) <= 7
        seen += places
        for place, crop in zip(places, batch, strict=True):
            np.testing.assert_array_equal(crop, crops[place])
    assert sorted(seen) == list(range(50)) and len({crop.shape for crop in crops}) == 4


def test_a_levelled_batch_has_the_median_width_and_leaves_crops_of_it_alone() -> None:
    crops = [np.random.default_rng(width).integers(0, 256, (16, width, 3), dtype=np.uint8) for width in (32, 64, 96)]
    batch = to_one_width(crops)
    assert batch.shape == (3, 16, 64, 3)
    np.testing.assert_array_equal(batch[1], crops[1])
    np.testing.assert_array_equal(batch[0], to_array(Image.fromarray(crops[0]), 16, 64))


def test_a_crop_is_read_alike_alone_and_among_wider_and_narrower_ones(folder: Path) -> None:
    reader, one = Reader(folder, batch_size=5), Reader(folder, batch_size=1)
    some = pictures(30)
    together = reader.read(some)
    for picture, read in zip(some, together, strict=True):
        alone = one.read(picture)
        assert alone.text == read.text and alone.confidence == pytest.approx(read.confidence, rel=1e-4)
    assert len({read.text for read in together}) > 5, "a model that reads little proves little"
    with pytest.raises(UserError, match=r"\(16, 33, 3\) of uint8: this model reads uint8 \(16, 32 to 128"):
        reader.predict_arrays([np.zeros((16, 33, 3), np.uint8)])


def test_wider_crops_show_what_narrow_ones_hide(folder: Path) -> None:
    """Two pictures that are the same once they are squeezed, and are not where they keep their width."""
    fine = np.zeros((16, 128, 3), np.uint8)
    fine[:, ::2] = 255
    gray = np.full((16, 128, 3), 127, np.uint8)
    squeezed = [to_array(Image.fromarray(each), 16, 32).astype(int) for each in (fine, gray)]
    assert np.abs(squeezed[0] - squeezed[1])[:, 1:-1].max() <= 3
    model = load_recognizer(folder).model.eval()
    with torch.no_grad():
        one, other = (model.memory(to_pixels(fit(Image.fromarray(each), 16, 32, 128)[None])) for each in (fine, gray))
    assert (one - other).abs().max() > 0.1


def test_a_model_of_narrow_crops_goes_on_with_wide_ones(parts: Parts) -> None:
    """Crops of the usual width are read as before; the log tells what was added."""
    models = {}
    for widest in (0, 96):
        recipe = parts.recipe("finetune", f"model.encoder.max_width={widest}")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            models[widest] = build_recognizer(recipe.model, 36).eval()
            messages = initialized(models[widest], recipe, resolve_charset("36"))
    assert any("encoder.positions: 8 to 24 rows, the first 8 kept" in line for line in messages)
    pixels = torch.rand(2, 3, 16, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(models[96].memory(pixels), models[0].memory(pixels))
        assert models[96].encoder(torch.rand(2, 3, 16, 96)).shape[1] == 24


def test_rendered_words_keep_their_shape(font_folder: Path) -> None:
    render = RenderConfig(fonts=(str(font_folder),), effects={"quarter_turn": 0})
    narrow, wide = (Renderer(render, 0, size=CropSize(height=16, width=32, max_width=most)) for most in (0, 128))
    widths: dict[str, list[int]] = {"i": [], "Wordlessness": []}
    for word in widths:
        for index in range(20):
            crop, stops = wide.render_with_stops(word, index)
            squeezed, before = narrow.render_with_stops(word, index)
            assert squeezed.shape == (16, 32, 3) and crop.shape[0] == 16
            widths[word].append(crop.shape[1])
            if crop.shape[1] == 32:
                np.testing.assert_array_equal(crop, squeezed)
            np.testing.assert_allclose(stops, before, atol=0.02)  # shares of the width, whatever it is
    assert set(widths["i"]) == {32} and np.mean(widths["Wordlessness"]) > 64


def test_a_pack_of_several_widths_holds_what_rendering_gives(
    font_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "SHARD", 10)
    settings = [f'render.fonts=["{font_folder}"]', "size.height=16", "size.width=32", "size.max_width=128"]
    recipe = load_recipe(pack.SynthRecipe, None, [*settings, "charset=36", "max_length=12"])
    pack.write_pack(recipe, 25, tmp_path / "pack")
    charset = resolve_charset("36")
    packed, _ = pack.open_pack(tmp_path / "pack", charset, 12, recipe.size, 0)
    source, shapes = pack.make_source(recipe), set()
    expected = {index: source.sample(index) for index in range(25)}
    for place in range(25):
        crop, word, stops = packed.sample(place)
        index = next(index for index, sample in expected.items() if np.array_equal(sample[0], crop))
        _, messages, places = expected.pop(index)
        assert word == messages
        np.testing.assert_allclose(stops, places, atol=4e-3)  # float16
        shapes.add(crop.shape)
    assert not expected and len(shapes) > 1
    with pytest.raises(UserError, match=r"crops of 16x32 to 16x96 pixels where the encoder takes 16x32; make one"):
        pack.open_pack(tmp_path / "pack", charset, 12, recipe.size.model_copy(update={"max_width": 0}), 0)


def test_training_on_crops_of_several_widths(parts: Parts, tmp_path: Path, font_folder: Path) -> None:
    """Labeled, rendered and validation crops all come in their own widths, and the model that results reads them."""
    crops = write_crops(tmp_path / "crops", font_folder, ["abc", "de"])
    rng = np.random.default_rng(0)
    for index in range(2, 8):
        Image.fromarray(rng.integers(0, 256, (16, 20 * index, 3), dtype=np.uint8)).save(crops / f"{index}.png")
    with open(crops / "labels.tsv", "a", encoding="utf-8") as file:
        file.writelines(f"{index}.png\t{'x' * min(index, 5)}\n" for index in range(2, 8))
    held = load_crops([crops], resolve_charset("36"), 5, 16, 32, widest=128)
    assert {held.arrays[row].shape[1] for row in range(len(held))} == {32, 64, 96, 128}
    assert sorted(row for rows, _ in held.batches(2) for row in rows) == list(range(len(held)))
    recipe = parts.recipe(
        "finetune", f'data.train=["{crops}"]', f'data.validation=["{crops}"]', "data.rendered=0.5",
        "model.encoder.max_width=128", "run.steps=6",
    )  # fmt: skip
    model = finetune(recipe, tmp_path / "run")
    losses = [line["loss"] for line in records(tmp_path / "run") if "loss" in line]
    assert len(losses) == 6 and np.isfinite(losses).all()
    assert Reader(model).max_width == 128 and len(Reader(model).read([crops / "7.png", crops / "0.png"])) == 2
    with pytest.raises(UserError, match=r"data\.cache = .* encoder\.max_width = 128"):
        load_crops([crops], resolve_charset("36"), 5, 16, 32, cache=tmp_path / "cache", widest=128)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "vit", "size": "tiny", "max_width": 256}, "kind 'vit' has no key 'max_width'"),
        ({"max_width": 130}, "in steps of 32 pixels"),
        ({"max_width": 64}, "in steps of 32 pixels"),
    ],
)
def test_widths_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        build_recognizer(ModelConfig(encoder=EncoderConfig.of(**settings)), 36)


@pytest.mark.slow
def test_an_exported_file_reads_every_width(folder: Path, tmp_path: Path, font_folder: Path) -> None:
    from dptr.export import export

    parity, _ = export(folder, tmp_path / "wide.onnx", count=64)
    assert parity.holds()
    file, torch_ = Reader(tmp_path / "wide.onnx"), Reader(folder)
    assert file.max_width == 128
    for picture in pictures(40):
        one, two = file.read(picture), torch_.read(picture)
        assert one.text == two.text and one.confidence == pytest.approx(two.confidence, abs=1e-4)
