"""Crops of several sizes: pictures keep their shape, and nobody else's crop changes what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_reference import loud
from helpers_train import Parts, contents, initialized, make_parts, records, write_crops
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
from dptr.training.finetune import FinetuneTask, finetune
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError
from dptr.utils.resize import fit, to_array
from dptr.utils.sizes import WIDTH_STEP, CropSizes, group_by_size

SIZES = ((32, 32), (24, 40))  # of aspects 1 and 1.67, beside 2
WIDE = SVTRConfig(size="nano", height=16, width=32, max_width=128, sizes=SIZES)
SIZE = WIDE.crop_size
CONFIG = ModelConfig(
    encoder=WIDE, fmu=FMUConfig(queries=6, heads=2), decoder=PARSeqConfig(dim=16, depth=1, heads=2), charset="36",
    max_length=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, font_folder: Path) -> Parts:
    return make_parts(tmp_path_factory.mktemp("parts"), font_folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recognizer of random weights that reads crops of six sizes."""
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


def test_a_pictures_size_is_the_one_of_the_nearest_shape() -> None:
    wide, several = CropSize(max_width=320), CropSize(max_width=320, sizes=((48, 96), (64, 64), (40, 112)))
    allowed = np.arange(128, 321, WIDTH_STEP)
    shapes = {width / height: (height, width) for height, width in several.every}
    assert several.every[:4] == ((64, 64), (48, 96), (40, 112), (32, 128)) and len(several.every) == 10
    for aspect in np.random.default_rng(0).uniform(0.1, 15, 300):
        assert wide.choose(aspect) == (32, allowed[np.abs(allowed - 32 * aspect).argmin()])
        assert CropSize().choose(aspect) == CropSize(max_width=128).choose(aspect) == (32, 128)
        assert several.choose(aspect) == shapes[min(shapes, key=lambda shape: abs(shape - aspect))]


def test_sizes_are_those_of_svtrv2() -> None:
    """Below 1.5, 2.5 (2.4 is between 2 and 2.8) and 3.5 (3.4) times as wide as high; then 32 pixels high."""
    size = CropSize(max_width=640, sizes=((64, 64), (48, 96), (40, 112)))
    wanted = {0.3: (64, 64), 1.49: (64, 64), 1.51: (48, 96), 2.39: (48, 96), 2.41: (40, 112), 3.39: (40, 112)}
    wanted |= {3.41: (32, 128), 4.6: (32, 160), 20.0: (32, 640), 50.0: (32, 640)}
    assert {aspect: size.choose(aspect) for aspect in wanted} == wanted
    assert str(size) == "64x64, 48x96, 40x112, 32x128 to 32x640" and str(CropSize()) == "32x128"


def test_stretch_widens_the_crop_of_each_picture() -> None:
    plain, stretched = (CropSize(height=48, width=64, max_width=960, stretch=stretch) for stretch in (1, 1.5))
    for aspect in np.random.default_rng(0).uniform(0.1, 15, 200):
        assert stretched.choose(aspect) == plain.choose(1.5 * aspect)
    assert (plain.longest, stretched.longest) == (20, 20 / 1.5)
    assert str(stretched) == "48x64 to 48x960, pictures 1.5 times as wide"


def test_rendered_words_are_stretched_as_pictures_are(font_folder: Path) -> None:
    render = RenderConfig(fonts=(str(font_folder),), effects={"quarter_turn": 0})
    plain, stretched = (
        Renderer(render, 0, size=CropSize(height=16, width=32, max_width=320, stretch=stretch)) for stretch in (1, 2)
    )
    widths = []
    for index in range(20):
        crop, stops = plain.render_with_stops("Wordlessness", index)
        wider, after = stretched.render_with_stops("Wordlessness", index)
        assert crop.shape[0] == wider.shape[0] == 16
        widths.append((crop.shape[1], wider.shape[1]))
        np.testing.assert_allclose(stops, after, atol=0.02)  # shares of the width
    narrow, wide = np.mean(widths, 0)
    assert 1.8 < wide / narrow < 2.2


def test_a_picture_is_stretched_to_its_size_and_no_further() -> None:
    for picture in pictures(20):
        crop = fit(picture, SIZE)
        np.testing.assert_array_equal(crop, to_array(picture, *SIZE.choose(picture.width / picture.height)))
        assert SIZE.holds(crop.shape) and CropSize(height=16, width=32).holds((16, 32, 3))
    others = (16, 33, 3), (16, 160, 3), (15, 32, 3), (16, 32, 4), (32, 64, 3), (24, 32, 3)
    assert not any(SIZE.holds(shape) for shape in others)


def test_batches_of_one_size_hold_each_crop_once() -> None:
    crops = [fit(picture, SIZE) for picture in pictures(50)]
    seen = []
    for places, batch in group_by_size(crops, 7):
        assert len(places) <= 7
        seen += places
        for place, crop in zip(places, batch, strict=True):
            np.testing.assert_array_equal(crop, crops[place])
    assert sorted(seen) == list(range(50)) and len({crop.shape for crop in crops}) == 6


def test_a_crop_is_read_alike_alone_and_among_wider_and_narrower_ones(folder: Path) -> None:
    reader, one = Reader(folder, batch_size=5), Reader(folder, batch_size=1)
    some = pictures(30)
    together = reader.read(some)
    for picture, read in zip(some, together, strict=True):
        alone = one.read(picture)
        assert alone.text == read.text and alone.confidence == pytest.approx(read.confidence, rel=1e-4)
    assert len({read.text for read in together}) > 2, "a model that reads little proves little"
    with pytest.raises(
        UserError, match=r"\(16, 33, 3\) of uint8: this model reads uint8 RGB of 32x32, 24x40, 16x32 to"
    ):
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
        one, other = (model.memory(to_pixels(fit(Image.fromarray(each), SIZE)[None])) for each in (fine, gray))
    assert (one - other).abs().max() > 0.1


def test_a_model_of_one_size_goes_on_with_several(parts: Parts) -> None:
    """Crops of the usual size are read as before, to the bit; the log tells what was added."""
    models = {}
    for key in ("", "max_width=96", "sizes=[[32,32],[24,40]]"):
        recipe = parts.recipe("finetune", *([f"model.encoder.{key}"] if key else []))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            models[key] = build_recognizer(recipe.model, 36).eval()
            messages = initialized(models[key], recipe, resolve_charset("36"))
        if "width" in key:
            assert any("encoder.positions: 8 to 24 rows, the first 8 kept" in line for line in messages)
        if "sizes" in key:
            assert any("encoder.row_positions: 3 rows, zero" in line for line in messages)
            assert any("encoder.positions: 8 to 10 rows, the first 8 kept" in line for line in messages)
    pixels = torch.rand(2, 3, 16, 32) * 2 - 1
    with torch.no_grad():
        memory = models[""].memory(pixels)
        for key in models:
            torch.testing.assert_close(models[key].memory(pixels), memory, rtol=0, atol=1e-6)
        assert models["max_width=96"].encoder(torch.rand(2, 3, 16, 96)).shape[1] == 24


def test_words_rendered_at_several_heights_keep_their_shape(font_folder: Path) -> None:
    """Short words come in the less long sizes; letters stand at the same shares of the width."""
    render = RenderConfig(fonts=(str(font_folder),), effects={"quarter_turn": 0})
    one, several = (Renderer(render, 0, size=CropSize(height=16, width=32, sizes=sizes)) for sizes in ((), SIZES))
    shapes: dict[str, set[tuple[int, ...]]] = {"i": set(), "or": set(), "Wordlessness": set()}
    for word in shapes:
        for index in range(20):
            crop, stops = several.render_with_stops(word, index)
            squeezed, before = one.render_with_stops(word, index)
            shapes[word].add(crop.shape)
            assert SIZE.holds(crop.shape) and squeezed.shape == (16, 32, 3)
            np.testing.assert_allclose(stops, before, atol=0.03)
    assert (32, 32, 3) in shapes["i"] and shapes["Wordlessness"] == {(16, 32, 3)} and len(shapes["or"]) > 1


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


@pytest.fixture(scope="module")
def packed_folder(font_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pack.SynthRecipe]:
    """25 words of crops of several sizes in three shards, and the recipe."""
    folder = tmp_path_factory.mktemp("pack") / "pack"
    settings = [f'render.fonts=["{font_folder}"]', "size.height=16", "size.width=32", "size.max_width=128"]
    settings += ["size.sizes=[[32,32],[24,40]]", "charset=36", "max_length=12"]
    recipe = load_recipe(pack.SynthRecipe, None, settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "SHARD", 10)
        pack.write_pack(recipe, 25, folder)
    return folder, recipe


def test_a_pack_of_several_sizes_holds_what_rendering_gives(
    packed_folder: tuple[Path, pack.SynthRecipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "SHARD", 10)
    folder, recipe = packed_folder
    charset = resolve_charset("36")
    packed, _ = pack.open_pack(folder, charset, 12, recipe.size, 0)
    source = pack.make_source(recipe)
    samples = [source.sample(index) for index in range(25)]
    assert packed.sizes().tolist() == [list(crop.shape[:2]) for crop, _, _ in samples]
    assert len({crop.shape for crop, _, _ in samples}) > 2
    expected = dict(enumerate(samples))
    for place in range(25):
        crop, word, stops = packed.sample(place)
        index = next(index for index, sample in expected.items() if np.array_equal(sample[0], crop))
        _, messages, places = expected.pop(index)
        assert word == messages
        np.testing.assert_allclose(stops, places, atol=4e-3)  # float16
    assert not expected
    some = packed.choose(np.array([3, 17]), 5)
    assert {some.sample(place)[1] for place in range(2)} == {samples[3][1], samples[17][1]}
    with pytest.raises(UserError, match=r"crops of 24x40 pixels where the encoder takes 32x32, 16x32 to 16x128; make"):
        pack.open_pack(folder, charset, 12, recipe.size.model_copy(update={"sizes": ((32, 32),)}), 0)


def test_training_on_crops_of_several_sizes(
    parts: Parts, tmp_path: Path, font_folder: Path, packed_folder: tuple[Path, pack.SynthRecipe],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    """Labeled, packed and validation crops all come in their own sizes, and the model that results reads them."""
    monkeypatch.setattr(pack, "SHARD", 10)
    crops = write_crops(tmp_path / "crops", font_folder, ["abc", "de"])
    rng = np.random.default_rng(0)
    for index in range(2, 20):
        Image.fromarray(rng.integers(0, 256, (16, 9 * index, 3), dtype=np.uint8)).save(crops / f"{index}.png")
    with open(crops / "labels.tsv", "a", encoding="utf-8") as file:
        file.writelines(f"{index}.png\t{'x' * min(index, 5)}\n" for index in range(2, 20))
    held = load_crops([crops], resolve_charset("36"), 5, SIZE)
    assert {tuple(size) for size in held.sizes().tolist()} == set(SIZE.every)
    assert sorted(row for rows, _ in held.batches(2) for row in rows) == list(range(len(held)))
    seen: list[tuple[int, ...]] = []
    real = FinetuneTask.tensors

    def tensors(task: FinetuneTask, batch: Any, *rest: Any) -> Any:
        seen.append(batch[0].shape)
        return real(task, batch, *rest)

    monkeypatch.setattr(FinetuneTask, "tensors", tensors)
    settings = ["model.encoder.max_width=128", "model.encoder.sizes=[[32,32],[24,40]]", "run.batch_size=4"]
    sets = [f'data.train=["{crops}"]', f'data.validation=["{crops}"]', "data.rendered=0.5"]
    for number, more in enumerate(([f"data.pack={packed_folder[0]}", "data.bucket=2"], [])):
        seen.clear()
        model = finetune(parts.recipe("finetune", *sets, *settings, *more, "run.steps=12"), tmp_path / f"run{number}")
        losses = [line["loss"] for line in records(tmp_path / f"run{number}") if "loss" in line]
        assert len(losses) == 12 and np.isfinite(losses).all()
        assert len(set(seen)) > 2 and all(shape[0] == 4 and SIZE.holds(shape[1:]) for shape in seen)
        assert ("crops are rendered at a time" in capsys.readouterr().err) == (not more)
        assert (
            Reader(model).size == CropSizes(16, 32, 128, SIZES)
            and len(Reader(model).read([crops / "7.png", crops / "0.png"])) == 2
        )
    with pytest.raises(UserError, match=r"data\.cache = .* holds crops of one size, the encoder reads 32x32, 24x40"):
        load_crops([crops], resolve_charset("36"), 5, SIZE, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "vit", "size": "tiny", "max_width": 256}, "kind 'vit' has no key 'max_width'"),
        ({"max_width": 130}, "in steps of 32 pixels"),
        ({"max_width": 64}, "in steps of 32 pixels"),
        ({"sizes": [[60, 64]]}, "60x64 is not a multiple of 8x4 pixels"),
        ({"sizes": [[32, 96]]}, "32x96 is not both higher and less long than 32x128"),
        ({"sizes": [[64, 256]]}, "64x256 is not both higher and less long than 32x128"),
        ({"sizes": [[64, 64], [48, 48]]}, "have one shape"),
    ],
)
def test_sizes_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        build_recognizer(ModelConfig(encoder=EncoderConfig.of(**settings)), 36)


@pytest.mark.slow
def test_an_exported_file_reads_every_size(folder: Path, tmp_path: Path, font_folder: Path) -> None:
    from dptr.export import export

    parity, _ = export(folder, tmp_path / "wide.onnx", count=64)
    assert parity.holds()
    file, torch_ = Reader(tmp_path / "wide.onnx"), Reader(folder)
    assert file.size == torch_.size == CropSizes(16, 32, 128, SIZES)
    for picture in pictures(40):
        one, two = file.read(picture), torch_.read(picture)
        assert one.text == two.text and one.confidence == pytest.approx(two.confidence, abs=1e-4)


def test_an_interrupted_training_on_several_sizes_is_the_uninterrupted_one(
    parts: Parts, tmp_path: Path, packed_folder: tuple[Path, pack.SynthRecipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "SHARD", 10)
    sizes = ["model.encoder.max_width=128", "model.encoder.sizes=[[32,32],[24,40]]"]
    crops = parts.folder / "crops"
    recipe = parts.recipe(
        "finetune", *sizes, f'data.train=["{crops}"]', f'data.validation=["{crops}"]', "data.rendered=0.5",
        f"data.pack={packed_folder[0]}", "run.steps=9", "run.save_every=2", "run.batch_size=4",
    )  # fmt: skip
    finetune(recipe, tmp_path / "whole" / "run")
    real = Trainer.end_step

    def end_step(trainer: Trainer) -> bool:
        if trainer.progress.step == 5:
            raise InterruptedError
        return real(trainer)

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(Trainer, "end_step", end_step)
        finetune(recipe, tmp_path / "parts" / "run")
    finetune(recipe, tmp_path / "parts" / "run", resume=True)
    assert records(tmp_path / "parts" / "run") == records(tmp_path / "whole" / "run")
    assert contents(tmp_path / "parts" / "run") == contents(tmp_path / "whole" / "run")
