"""``make slow``: every decoder, and what ships, on 2,000 crops of every width: files read what their models read.

The decoders were trained for a minute on text tokens and look through glyph-en, so that they read words and not noise.
CTC learns nothing in that time; its weights are random, and moved a little, so that it reads other noise on each crop.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_reference import loud
from helpers_train import initialized, resolved_recipe
from helpers_weights import copy_for_torch
from PIL import Image

from dptr.config.load import load_recipe
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.train import FinetuneRecipe, PretrainRecipe
from dptr.data.labeled import open_labeled
from dptr.export import export
from dptr.export.parity import TOLERANCE
from dptr.inference.reader import Prediction, Reader
from dptr.models.checkpoint import save_checkpoint
from dptr.models.decoders import DECODERS
from dptr.models.recognizer import build_recognizer
from dptr.synth import Renderer
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.training.pretrain import pretrain
from dptr.weights import model_file

CROPS = 2000  # half of them photographs, where DPTR_DATA has them
WIDTHS = range(8, 641)  # pixels, of rendered crops at a height of 32
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
BATCHES = (1, 64)
KINDS = [*DECODERS, "parseq at once"]
TAUGHT = [
    "run.steps=100", "run.batch_size=256", "run.validate_every=100", "run.save_every=100",
    "run.device=cpu", "run.precision=no", "run.tensorboard=false", "optim.lr=3e-3", "orp.strength=0",
]  # fmt: skip
DECODER = ["model.decoder.depth=1", "model.decoder.dropout=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, font_folder: Path) -> Path:
    """Photographs of words as they come, and rendered words stretched to each of ``WIDTHS``."""
    folder = tmp_path_factory.mktemp("crops")
    pictures: list[Image.Image] = []
    if "DPTR_DATA" in os.environ:
        for name in ("iiit5k/test", "ic15/test"):
            real = open_labeled(Path(os.environ["DPTR_DATA"]) / name)
            pictures += [real.image(number * len(real) // (CROPS // 4)) for number in range(CROPS // 4)]
    corpus = Corpus(CorpusConfig(sources=(SourceConfig(kind="pattern"),)), resolve_charset("94"), 13, 0)
    source = RenderedWords(corpus, Renderer(RenderConfig(fonts=(str(font_folder),)), 0))
    for index in range(CROPS - len(pictures)):
        crop = Image.fromarray(source.sample(index)[0])
        pictures.append(crop.resize((WIDTHS[index % len(WIDTHS)], 32), Image.Resampling.BICUBIC))
    for index, picture in enumerate(pictures):
        picture.convert("RGB").save(folder / f"{index:04d}.png", compress_level=1)
    lines = [f"{index:04d}.png\tword\n" for index in range(len(pictures))]
    (folder / "labels.tsv").write_text("".join(lines))
    return folder


def recognizer(kind: str, folder: Path) -> Path:
    """A recognizer with the eyes of glyph-en and a decoder of this kind that has learnt from text."""
    name, _, at_once = kind.partition(" ")
    decoder = [*DECODER, f"model.decoder.kind={name}", f"model.decoder.autoregressive={'false' if at_once else 'true'}"]
    if name != "ctc":
        taught = pretrain(load_recipe(PretrainRecipe, None, [*TAUGHT, *decoder]), folder / "taught")
        decoder = [f"init.decoder={taught}"]
    recipe = load_recipe(FinetuneRecipe, None, ["init.glyph=glyph-en", *decoder])
    recipe, charset = resolved_recipe(recipe)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_recognizer(recipe.model, len(charset))
    initialized(model, recipe, charset)
    if name == "ctc":
        loud(model.decoder, 1, 0.1)  # louder ones enlarge what torch and onnxruntime round otherwise
    save_checkpoint(folder / "model", "recognizer", model.eval(), recipe.model, charset, {}, {})
    return folder / "model"


def compare(torch_folder: Path, file: Path, paths: list[Path]) -> tuple[int, float, list[str]]:
    """Over all batch sizes: strings that differ, the largest difference of a probability, and what torch read."""
    different, largest, words = 0, 0.0, list[str]()
    for batch in BATCHES:
        expected, found = (Reader(model, batch_size=batch).read(paths) for model in (torch_folder, file))
        words = [word.text for word in expected]
        different += sum(one.text != two.text for one, two in zip(expected, found, strict=True))
        alike = [pair for pair in zip(expected, found, strict=True) if pair[0].text == pair[1].text]
        largest = max(largest, *(apart(*pair) for pair in alike))
    return different, largest, words


def apart(one: Prediction, two: Prediction) -> float:
    """The largest difference of probabilities of a word that both read: its characters', and its own."""
    pairs = [(one.confidence, two.confidence)]
    pairs += [(a, b) for (_, a), (_, b) in zip(one.characters, two.characters, strict=True)]
    return max(abs(a - b) for a, b in pairs)


def check(torch_folder: Path, file: Path, paths: list[Path], capsys: pytest.CaptureFixture[str], ties: int = 0) -> None:
    different, largest, words = compare(torch_folder, file, paths)
    with capsys.disabled():
        print(f"\n{file.parent.name}: {different} of {len(paths)} differ, probabilities by {largest:.1e} at most")
    assert different <= ties * len(BATCHES) and largest <= TOLERANCE
    assert len(set(words)) > len(words) / 10 and len(set(map(len, words))) > 5, "a model that reads little"


@pytest.mark.parametrize("kind", KINDS)
def test_every_decoder_on_every_width_and_traced_with_another_example(kind, data, tmp_path, monkeypatch, capsys):
    pytest.importorskip("wordfreq")
    model = recognizer(kind, tmp_path)
    folder = tmp_path / kind
    folder.mkdir()
    if kind == "ctc":  # of a run's two places that are likeliest alike, either's row stands for it (``collapse``)
        monkeypatch.setattr("dptr.export.parity.TOLERANCE", 1.0)
    parity, _ = export(model, folder / "one.onnx", [data], CROPS)  # every class, up to the end of a word
    assert parity.crops == CROPS and parity.holds()
    monkeypatch.setattr("dptr.export.graph.EXAMPLE_SIZES", (5, 7))
    again, _ = export(model, folder / "other.onnx", [data], 200)
    assert again.different == 0 and parity.ties < 5
    paths = sorted(data.glob("*.png"))
    check(model, folder / "other.onnx", paths, capsys, parity.ties)
    one, other = (Reader(folder / f"{name}.onnx").read(paths[::4]) for name in ("one", "other"))
    alike = [pair for pair in zip(one, other, strict=True) if pair[0].text == pair[1].text]
    assert len(one) - len(alike) <= parity.ties and max(apart(*pair) for pair in alike) <= TOLERANCE


@pytest.mark.parametrize("name", ["dptr-en", "dptr-en-tiny"])
def test_what_ships(name, data, tmp_path, capsys):
    folder = copy_for_torch(name, tmp_path / name)
    check(folder, model_file(name, "model.onnx"), sorted(data.glob("*.png")), capsys)


def test_widths_are_all_there(data):
    widths = {Image.open(path).width for path in data.glob("*.png")}
    assert set(WIDTHS) <= widths and len(list(data.glob("*.png"))) == CROPS
    assert np.ptp(sorted(widths)) >= 632
