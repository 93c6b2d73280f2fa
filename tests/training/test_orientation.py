"""Turned labeled crops: their views at loading, the one that holds the label in training, the surest in validation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.size import CropSize
from dptr.config.train import FinetuneRecipe
from dptr.data.crops import load_crops
from dptr.evaluation.accuracy import compare_crops, score_crops
from dptr.inference.reader import Reader
from dptr.inference.torch_backend import crop_probabilities
from dptr.models.checkpoint import load_recognizer
from dptr.synth import Renderer
from dptr.synth.source import RenderedWords
from dptr.text.corpus import Corpus
from dptr.training import orientation
from dptr.training.orientation import orient_by_label
from dptr.training.sources import load_finetune_crops
from dptr.utils.errors import UserError
from dptr.utils.resize import to_array

CPU = torch.device("cpu")
WAYS = {0: None, 90: Image.Transpose.ROTATE_90, 270: Image.Transpose.ROTATE_270}  # as the word lies in the picture


@pytest.fixture(scope="module")
def words(font_folder: Path) -> list[tuple[Image.Image, str]]:
    """Plain rendered words of four characters and more that ``dptr-en-tiny`` reads, 40 x 120 pixels."""
    source = SourceConfig(kind="wordfreq")
    render = RenderConfig(preset="plain", fonts=(str(font_folder),))
    loaded = load_recognizer("dptr-en-tiny")
    drawn = RenderedWords(
        Corpus(CorpusConfig(sources=(source,)), loaded.tokenizer.charset, 25, 3),
        Renderer(render, 3, size=CropSize(height=48, width=144)),
    )
    reader, found = Reader("dptr-en-tiny"), []
    for index in range(200):
        crop, word, _ = drawn.sample(index)
        if len(word) >= 4 and reader.read(crop).text == word:
            found.append((Image.fromarray(crop), word))
    assert len(found) >= 24
    return found[:24]


@pytest.fixture(scope="module")
def folder(words: list[tuple[Image.Image, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words in turn as they are, lying to the left and to the right; then one tall letter."""
    folder = tmp_path_factory.mktemp("tall")
    lines = []
    for number, (picture, word) in enumerate(words):
        way = list(WAYS.values())[number % 3]
        (picture if way is None else picture.transpose(way)).save(folder / f"{number}.png")
        lines.append(f"{number}.png\t{word}\n")
    Image.new("RGB", (10, 40), (200, 200, 200)).save(folder / "letter.png")
    (folder / "labels.tsv").write_text("".join(lines) + "letter.png\tI\n", encoding="utf-8")
    return folder


def test_tall_pictures_are_loaded_with_both_their_turned_views(words: list, folder: Path) -> None:
    charset = load_recognizer("dptr-en-tiny").tokenizer.charset
    crops = load_crops([folder], charset, 25, CropSize())
    tall = [row for row in range(24) if row % 3] + [24]
    assert sorted(crops.turned) == tall and all(len(views) == 2 for views in crops.turned.values())
    for row in tall[:-1]:
        upright = crops.turned[row][0 if row % 3 == 1 else 1]
        np.testing.assert_array_equal(upright, to_array(words[row][0], 32, 128))
    some = crops.choose(np.array([5, 0, 24, 1]))
    assert sorted(some.turned) == [0, 2, 3]
    np.testing.assert_array_equal(some.turned[0][1], crops.turned[5][1])
    wide = load_crops([folder], charset, 25, CropSize(max_width=256))
    assert sorted(wide.turned) == tall
    assert not load_crops([folder], charset, 25, CropSize(), cache=folder / "cache").turned


@pytest.mark.parametrize("widest", [0, 256])
def test_a_tall_crop_is_learned_as_its_label_is_found_in_it(words: list, folder: Path, widest: int) -> None:
    loaded = load_recognizer("dptr-en-tiny")
    crops = load_crops([folder], loaded.tokenizer.charset, 25, CropSize(max_width=widest))
    before = [np.array(crops.arrays[row]) for row in range(25)]
    loaded.model.train()
    changed, messages = orient_by_label(crops, loaded.model, loaded.tokenizer, CPU)
    assert loaded.model.training
    assert messages == ["16 of 16 tall crops are learned turned by 90 degrees, as their labels are found in them"]
    for row, (picture, _) in enumerate(words):
        wanted = to_array(picture, 32, changed.arrays[row].shape[1])
        np.testing.assert_array_equal(changed.arrays[row], wanted)
    np.testing.assert_array_equal(changed.arrays[24], before[24])
    for row, held in enumerate(before):
        np.testing.assert_array_equal(crops.arrays[row], held, err_msg="what was given stays as it was")


@pytest.mark.parametrize("name", ["dptr-en", "dptr-latin"])
def test_a_crop_is_learned_upside_down_if_its_label_is_found_only_there(words: list, tmp_path: Path, name: str) -> None:
    """Upside down are a third; another third leaves out a mark that the picture shows, and stays."""
    loaded, lines = load_recognizer(name), []
    for number, (picture, word) in enumerate(words):
        shown = picture.transpose(Image.Transpose.ROTATE_180) if number % 3 == 1 else picture
        shown.save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png\t{word[1:] if number % 3 == 2 else word}\n")
    (tmp_path / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    size = loaded.config.encoder.crop_size
    crops = load_crops([tmp_path], loaded.tokenizer.charset, loaded.config.max_length, size)
    changed, messages = orient_by_label(crops, loaded.model, loaded.tokenizer, CPU)
    turned = [
        row for row in range(24) if not np.array_equal(np.asarray(changed.arrays[row]), np.asarray(crops.arrays[row]))
    ]
    assert {row % 3 for row in turned} == {1} and len(turned) >= 4
    assert messages == [
        f"{len(turned)} of 24 crops are learned turned by 180 degrees, as their labels are found in them"
    ]
    for row in turned:
        np.testing.assert_array_equal(changed.arrays[row], np.asarray(crops.arrays[row])[::-1, ::-1])


def test_a_data_set_is_searched_for_upside_down_crops_only_if_a_sample_holds_some(
    words: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 0, 5, 9, 14, 18 and 23 are the sample of six: none of the first set is upside down, all of the other are."""
    for name, remainder in (("few", (1,)), ("many", (0, 2))):
        (tmp_path / name).mkdir()
        lines = []
        for number, (picture, word) in enumerate(words):
            shown = picture.transpose(Image.Transpose.ROTATE_180) if number % 3 in remainder else picture
            shown.save(tmp_path / name / f"{number}.png")
            lines.append(f"{number}.png\t{word}\n")
        (tmp_path / name / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    loaded = load_recognizer("dptr-latin")
    size = loaded.config.encoder.crop_size
    crops = load_crops([tmp_path / "few", tmp_path / "many"], loaded.tokenizer.charset, loaded.config.max_length, size)

    def turned() -> set[int]:
        changed, _ = orient_by_label(crops, loaded.model, loaded.tokenizer, CPU)
        return {row for row in range(48) if not np.array_equal(changed.arrays[row], crops.arrays[row])}

    whole = turned()
    assert any(row < 24 for row in whole) and any(row >= 24 for row in whole)
    monkeypatch.setattr(orientation, "SAMPLE", 6)
    assert turned() == {row for row in whole if row >= 24}


def test_validation_reads_as_a_reader_does(folder: Path) -> None:
    loaded, reader = load_recognizer("dptr-en-tiny"), Reader("dptr-en-tiny")
    crops = load_crops([folder], loaded.tokenizer.charset, 25, CropSize())
    with torch.no_grad():
        recognize = partial(crop_probabilities, loaded.model, device=CPU)
        compared = compare_crops(crops, loaded.tokenizer, recognize, "94")
        found = [(comparison.prediction, comparison.truth) for comparison in compared]
        whole = score_crops(crops, loaded.tokenizer, recognize, "94")["word_accuracy"]
        crops.turned.clear()
        upright = score_crops(crops, loaded.tokenizer, recognize, "94")["word_accuracy"]
    pictures = [folder / key for key in crops.keys]
    assert found == list(zip([word.text for word in reader.read(pictures)], crops.labels, strict=True))
    assert whole >= 24 / 25 and upright <= 10 / 25


def test_finetuning_turns_what_it_trains_on_alone(folder: Path) -> None:
    """The crops held out keep all their views: which of them holds the label is for the model to find."""
    loaded = load_recognizer("dptr-en-tiny")
    recipe = FinetuneRecipe.model_validate({"data": {"train": (str(folder),), "validation_share": 0.4}})
    change = partial(orient_by_label, model=loaded.model, tokenizer=loaded.tokenizer, device=CPU)
    plain, held, *_ = load_finetune_crops(recipe, loaded.tokenizer.charset)
    source, same, notes, *_ = load_finetune_crops(recipe, loaded.tokenizer.charset, change)
    assert any("tall crops are learned turned" in line for line in notes)
    np.testing.assert_array_equal(np.asarray(held.arrays), np.asarray(same.arrays))
    assert held.turned.keys() == same.turned.keys() != set()
    differ = [not np.array_equal(plain.crops.arrays[row], source.crops.arrays[row]) for row in range(len(plain.crops))]
    assert differ == [row in plain.crops.turned and len(plain.crops.labels[row]) > 1 for row in range(len(plain.crops))]


def test_decoders_that_are_asked_nothing_leave_crops_as_they_are(folder: Path) -> None:
    loaded = load_recognizer("dptr-en-tiny")
    crops = load_crops([folder], loaded.tokenizer.charset, 25, CropSize())
    loaded.model.decoder = torch.nn.Identity()  # type: ignore[assignment]
    same, messages = orient_by_label(crops, loaded.model, loaded.tokenizer, CPU)
    assert same is crops and messages == []
    with pytest.raises(UserError):
        load_crops([folder / "none"], loaded.tokenizer.charset, 25, CropSize())
