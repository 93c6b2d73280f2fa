"""Exported files read what their models read: all decoders, any batch, words that differ; and what they refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from helpers_clip import make_tiny, make_tiny_clip
from helpers_export import unchecked
from helpers_reference import loud
from helpers_train import write_crops
from helpers_weights import copy_for_torch
from PIL import Image
from torch import Tensor, nn

from dptr.cli.app import run
from dptr.config.model import ClipVisionConfig, DecoderConfig, FMUConfig, ModelConfig
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.data.augment import to_pixels
from dptr.dual.clip.families import FAMILIES
from dptr.dual.clip.vision_tower import tower_settings
from dptr.export import describe_numbers, export, parity
from dptr.export.graph import to_onnx
from dptr.export.quantize import quantize
from dptr.export.rounding import halve, round_weights
from dptr.inference.confidence import WordConfidence, apply_temperature
from dptr.inference.constraint import Constraint, make_constraint
from dptr.inference.onnx_backend import METADATA, OnnxModel, dump_metadata, seal
from dptr.inference.prediction import has_repeated_ending
from dptr.inference.reader import Reader
from dptr.inference.torch_backend import TorchModel, crop_probabilities_and_paths
from dptr.models.checkpoint import card_of, save_checkpoint
from dptr.models.decoders import DECODERS
from dptr.models.decoders.search import Guide, search
from dptr.models.layers import Encoder
from dptr.models.recognizer import Recognizer, build_decoder, build_recognizer
from dptr.synth import Renderer
from dptr.synth.source import RenderedWords
from dptr.text.charset import Charset, resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.files import digest
from dptr.utils.images import open_image
from dptr.utils.sizes import CropSizes
from dptr.weights import model_file

needs_clip = pytest.mark.skipif(
    not (find_spec("transformers") and find_spec("sentencepiece")), reason="the clip extra is not installed"
)
CHARSET = Charset("abcd", tuple("abcd"))
TOKENIZER = Tokenizer(CHARSET, 5)
SEEDS = {
    "parseq": 16,
    "parseq at once": 7,
    "nrtr": 24,
    "ctc": 1,
    "ctc over tokens": 1,
    "abinet": 3,
    "mdiff": 21,
}  # that read many words


def crops(count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 32, 3), dtype=np.uint8)


class Strips(Encoder):
    """A strip of four columns is a token: encoders take long to trace, and one is enough (what ships has one)."""

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.grid = 16, (1, 8)
        self.embed = nn.Sequential(nn.Linear(3 * 16 * 4, 16), nn.LayerNorm(16))

    def forward(self, pixels: Tensor) -> Tensor:
        strips = pixels.view(pixels.shape[0], 3, 16, 8, 4).permute(0, 3, 1, 2, 4)
        return 2 * self.embed(strips.flatten(2))  # loud, so that words differ


@dataclass
class Small:
    """A recognizer of random weights, large enough that words differ from crop to crop in letters and length."""

    kind: str
    card: dict[str, Any] = field(default_factory=dict)
    tokenizer = TOKENIZER
    size = CropSizes(16, 32)

    def __post_init__(self) -> None:
        name, _, at_once = self.kind.partition(" ")
        depth = 2 if self.kind == "parseq" else 1  # two layers show that the content stream has a cache too
        own = {"refinements": 1, "autoregressive": not at_once} if name == "parseq" else {}
        own |= {"path": "tokens"} if self.kind == "ctc over tokens" else {}
        decoder = DecoderConfig.of(kind=name, dim=16, depth=depth, heads=2, **own)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            built = build_decoder(ModelConfig(decoder=decoder, max_length=5), len(CHARSET))
            self.model = Recognizer(Strips(), None, loud(built, SEEDS[self.kind], 0.6)).eval()

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.model(to_pixels(pictures)).softmax(-1).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Small, Path]]:
    """By kind the model, and its graph in a file, traced with a batch of 2."""

    @cache
    def made(kind: str) -> tuple[Small, Path]:
        model, path = Small(kind), tmp_path_factory.mktemp("export") / "any.onnx"
        with unchecked():
            graph = to_onnx(model.model, CropSizes(16, 32))
        onnx.helper.set_model_props(
            graph, {METADATA: dump_metadata(kind, TOKENIZER, CropSizes(16, 32), {}, "", "float32", 1.0)}
        )
        path.write_bytes(seal(graph.SerializeToString()))
        return model, path

    return made


def test_all_decoders_are_exported_here() -> None:
    assert DECODERS.keys() <= SEEDS.keys()


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_file_reads_what_its_model_reads(kind: str, batch: int, exported) -> None:
    model, path = exported(kind)
    file = OnnxModel(path)
    pictures = crops(63)
    expected, found = (
        [
            word
            for start in range(0, 63, batch)
            for word in TOKENIZER.decode(each.probabilities(pictures[start:][:batch]))
        ]
        for each in (model, file)
    )
    assert [word.text for word in found] == [word.text for word in expected]
    for one, two in zip(expected, found, strict=True):
        assert two.confidence == pytest.approx(one.confidence, abs=parity.TOLERANCE)
        assert two.characters == pytest.approx(one.characters, abs=parity.TOLERANCE)
    words = {word.text for word in expected}
    assert len(words) > 8 and len(set(map(len, words))) > 2, "a model that reads little proves little"


def with_tower(made: Path, folder: Path) -> Path:
    """A recognizer's folder with the image tower of a tiny dual encoder, which resizes its crops."""
    tower = tower_settings(str(made))
    config = ModelConfig(
        encoder=ClipVisionConfig(height=16, width=64, tower=tower),
        fmu=FMUConfig(queries=6, heads=2),
        decoder=DecoderConfig.of(kind="ctc", dim=16, depth=1, heads=2),
        max_length=5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = loud(build_recognizer(config, len(CHARSET)), 1, 0.3)
    save_checkpoint(folder, "recognizer", model, config, CHARSET, {}, {})
    return folder


@needs_clip
@pytest.mark.parametrize(
    "family",
    ["clip", *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES if name not in ("clip", "siglip2"))],
)
def test_the_image_tower_of_a_dual_encoder_is_exported(family: str, tmp_path: Path, font_folder: Path) -> None:
    tower = make_tiny_clip(tmp_path / "clip", width=32) if family == "clip" else make_tiny(family, tmp_path / family)
    model = with_tower(tower, tmp_path / "model")
    data = write_crops(tmp_path / "crops", font_folder, ["ab", "dcba", "bad", "cab", "dd", "a", "cc", "bc"])
    with unchecked():
        parity, _ = export(model, tmp_path / "model.onnx", [data], 8)
    assert parity.holds()
    crops = np.random.default_rng(3).integers(0, 256, (5, 16, 64, 3), dtype=np.uint8)
    expected, found = (each.probabilities(crops) for each in (TorchModel(model), OnnxModel(tmp_path / "model.onnx")))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len(set(expected.argmax(-1).flatten().tolist())) > 2


@needs_clip
def test_a_tower_that_looks_at_each_picture_is_not_exported(tmp_path: Path, font_folder: Path) -> None:
    model = with_tower(make_tiny("siglip2", tmp_path / "naflex"), tmp_path / "model")
    data = write_crops(tmp_path / "crops", font_folder, ["ab", "dcba"])
    with unchecked(), pytest.raises(UserError, match=r"one batch size only .*NaFlex") as caught:
        export(model, tmp_path / "model.onnx", [data], 2)
    assert "\n" not in str(caught.value) and not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("kind", ["parseq", "nrtr"])
def test_decoding_with_a_cache_equals_decoding_without(kind: str, exported) -> None:
    """A step with what it keeps of the steps before it, against the whole word so far anew."""
    decoder = exported(kind)[0].model.decoder
    memory = decoder.project(torch.randn(9, 6, 16, generator=torch.Generator().manual_seed(0)))
    symbols = torch.randint(1, 5, (9, 5), generator=torch.Generator().manual_seed(1))
    inputs = torch.cat([torch.full((9, 1), decoder.bos), symbols], dim=1)
    causal, every = torch.ones(6, 6, dtype=torch.bool).tril(), slice(6)
    cache: list[torch.Tensor] = []
    with torch.no_grad():
        whole = (
            decoder.predict(inputs, every, every, memory, None, causal, causal)
            if kind == "parseq"
            else decoder.predict(inputs, memory, None, [])[0]
        )
        for place in range(6):
            logits, cache = decoder.advance(inputs[:, place : place + 1], memory, None, cache)
            torch.testing.assert_close(logits[:, 0], whole[:, place], atol=3e-5, rtol=1e-5)
    assert whole.argmax(-1).unique().numel() > 2


def test_left_to_right_is_a_loop_that_stops_with_the_longest_word(exported) -> None:
    """The graph holds one step; and it takes fewer where words are short."""
    for kind in ("parseq", "nrtr"):
        model, path = exported(kind)
        (choice,) = (node for node in onnx.load(path).graph.node if node.op_type == "If")
        for branch in choice.attribute:  # one searches, one reads freely
            assert [node.op_type for node in branch.g.node].count("Loop") == 1
        short = [i for i, word in enumerate(TOKENIZER.decode(model.probabilities(crops(63)))) if len(word.text) < 3]
        rows = OnnxModel(path).probabilities(crops(63)[short])
        uniform = np.isclose(rows[:, 5], 0.2).all() if kind == "nrtr" else True  # nrtr: rows never computed
        assert short and rows.shape[1:] == (6, 5) and uniform


def followed(pattern: str) -> Constraint:
    return make_constraint(CHARSET, TOKENIZER.max_length, pattern)


@pytest.mark.parametrize("kind", ["parseq", "nrtr"])
@pytest.mark.parametrize("width", [1, 5])
def test_a_file_searches_as_its_model_does(kind: str, width: int, exported) -> None:
    model, path = exported(kind)
    file = OnnxModel(path)
    assert file.searches == "prefixes"
    rules = replace(followed("[ab]c?[^a]{1,3}|d+").rules, temperature=1.7)
    guide = Guide(*map(torch.as_tensor, rules.arrays()))
    for count in (1, 9):
        batch = crops(count)
        with torch.no_grad():
            beam = search(model.model.decoder, model.model.memory(to_pixels(batch)), guide, width)
        hypotheses = file.search(batch, rules, width)
        assert np.array_equal(hypotheses.symbols, beam.symbols.numpy())
        for name in ("chances", "scores", "left"):
            np.testing.assert_allclose(getattr(hypotheses, name), getattr(beam, name).numpy(), rtol=1e-4, atol=1e-5)
        assert np.array_equal(hypotheses.ended, beam.states.numpy() == len(rules.next) - 1)
        assert width == 1 or np.isclose(hypotheses.cut, beam.cut.numpy(), rtol=1e-4).all()


@pytest.mark.parametrize("kind", ["ctc", "ctc over tokens"])
def test_a_file_holds_the_paths_of_its_model(kind: str, exported) -> None:
    model, path = exported(kind)
    file = OnnxModel(path)
    assert file.searches == "paths"
    with torch.no_grad():
        expected = model.model.decoder.predict(model.model.memory(to_pixels(crops(7))), None).softmax(-1).numpy()
    assert file.paths(crops(7)) == pytest.approx(expected, abs=1e-5)
    rows, paths = file.probabilities_and_paths(crops(7))
    assert np.array_equal(rows, file.probabilities(crops(7))) and np.array_equal(paths, file.paths(crops(7)))
    with torch.no_grad():
        own = crop_probabilities_and_paths(model.model, crops(7), torch.device("cpu"))
    assert isinstance(own, tuple)
    assert rows == pytest.approx(own[0], abs=1e-5) and paths == pytest.approx(own[1], abs=1e-5)


@pytest.mark.parametrize("kind", SEEDS)
def test_files_read_nothing_but_what_is_expected(kind: str, exported) -> None:
    _, path = exported(kind)
    for pattern in ("[ab]c?[^a]{1,3}|d+", "ab|[cd]{5}"):
        for prediction in Reader(path, pattern=pattern).predict_arrays(crops(16)):
            assert re.fullmatch(pattern, prediction.text) and 0 <= (prediction.outside or 0) <= 1


def test_files_without_a_search_are_read_by_position(shipped, words: np.ndarray, tmp_path: Path) -> None:
    """Those of earlier versions have one output."""
    graph = onnx.load(shipped)
    if len(graph.graph.output) > 1:
        pytest.skip("what ships searches")
    file = OnnxModel(shipped)
    assert file.searches == "positions"
    for prediction in Reader(shipped, pattern="[A-Z]{3}|[0-9]{2}").predict_arrays(words):
        assert re.fullmatch("[A-Z]{3}|[0-9]{2}", prediction.text)


def test_files_hold_no_weight_twice_and_nothing_of_this_machine(exported) -> None:
    for kind in ("parseq", "mdiff"):
        model, path = exported(kind)
        weights = sum(each.numel() for each in model.model.parameters())
        tensors = onnx.load(path).graph.initializer
        assert sum(np.prod(tensor.dims, dtype=int) for tensor in tensors if tensor.data_type == 1) <= weights * 1.05
        assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of every shape, labeled with something."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    lines = []
    for index, size in enumerate([(1, 1), (9, 3), (200, 20), (16, 640), *[(32, 8 * width) for width in range(1, 21)]]):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        lines.append(f"{index}.png\tword\n")
    (folder / "labels.tsv").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def shipped() -> Path:
    """The recognizer that ships, as ``scripts/ship.py`` had it exported."""
    return model_file("dptr-en", "model.onnx")


@pytest.fixture(scope="module")
def words(font_folder: Path) -> np.ndarray:
    """Rendered crops."""
    corpus = Corpus(CorpusConfig(sources=(SourceConfig(kind="pattern"),)), resolve_charset("94"), 25, 0)
    source = RenderedWords(corpus, Renderer(RenderConfig(fonts=(str(font_folder),)), 0))
    return np.stack([source.sample(index)[0] for index in range(64)])


@pytest.mark.parametrize("name", ["dptr-en", "dptr-en-tiny"])
def test_what_ships_is_the_export_of_its_weights_and_reads_alike(name: str, words: np.ndarray) -> None:
    file = OnnxModel(model_file(name, "model.onnx"))
    assert file.metadata["weights"] == digest(model_file(name, "model.safetensors"))
    result = parity.compare(TorchModel(name), file, words)
    assert result.crops == 64 and result.words > 40
    assert result.holds() and 0 < result.difference < 1e-4


@pytest.mark.slow
def test_the_command_exports_and_compares_on_rendered_words(tmp_path: Path, capsys) -> None:
    path = tmp_path / "en.onnx"
    assert run(["export", "--model", "dptr-en", "-o", str(path), "--crops", "64", "--int8", "static"]) == 0
    printed = capsys.readouterr().out
    assert "64 of 64 crops read alike" in printed and "int8 static: " in printed
    assert OnnxModel(path).metadata["numbers"] == "int8 static"
    assert run(["export", "--model", "dptr-en", "-o", str(path), "--crops", "64", "--half"]) == 0
    assert "64 of 64 crops read alike" in (printed := capsys.readouterr().out) and "float16 weights: " in printed
    assert OnnxModel(path).metadata["numbers"] == "float16 weights"


def test_pictures_that_cannot_be_opened_are_passed_over_and_said(data: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(data, tmp_path / "crops")
    (tmp_path / "crops" / "2.png").write_bytes(b"damaged")
    (tmp_path / "crops" / "3.png").unlink()
    arguments = ["export", "--model", "dptr-en-tiny", "--data", str(tmp_path / "crops"), "-o", str(tmp_path / "m.onnx")]
    assert run([*arguments, "--crops", "22"]) == 0
    told = capsys.readouterr()
    assert "dropped 2 (unreadable image)" in told.err and "22 of 22 crops read alike" in told.out
    assert run([*arguments, "--crops", "23"]) == 2
    assert "22 crops (2 unreadable image), 23 asked for" in capsys.readouterr().err


def test_metadata_holds_all_that_a_reader_needs(shipped) -> None:
    properties = {each.key: each.value for each in onnx.load(shipped).metadata_props}
    described = json.loads(properties[METADATA])
    reference = TorchModel("dptr-en")
    assert described["format"] == 1 and described["name"] == "dptr-en" and described["eos"] == 0
    assert described["charset"]["characters"] == "".join(reference.tokenizer.charset.characters)
    assert (described["height"], described["width"], described["max_length"]) == (32, 128, 25)
    assert described["preprocessing"]["mean"] == described["preprocessing"]["deviation"] == 127.5
    assert described["temperature"] == reference.temperature and described["numbers"] == "float32"
    wording = {"trained_on", "kind"}  # those of card.json are mended between exports
    cards = [described["card"], reference.card, card_of("dptr-en")]
    assert [{key: card[key] for key in card.keys() - wording} for card in cards] == 3 * [
        {key: card[key] for key in cards[0].keys() - wording} for card in cards[:1]
    ]


def test_reading_an_export_needs_no_torch(shipped, data: Path) -> None:
    """With everything blocked that the base install lacks: the same lines as with torch; and evaluation."""
    blocked = ("torch", "safetensors", "onnx", "cv2", "lmdb", "wordfreq", "fontTools", "scipy")
    code = (
        f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
        "from dptr import Reader\n"
        "from dptr.cli.app import run\n"
        "assert 'dptr.config.train' not in sys.modules, 'a quarter of a second of settings that reading needs not'\n"
        f"print(repr(Reader({str(shipped)!r}).read({str(data / '7.png')!r})))\n"
        f"sys.exit(run(['read', '--model', {str(shipped)!r}, {str(data)!r}])\n"
        f"    or run(['eval', '--model', {str(shipped)!r}, '--protocol', 'native', {str(data)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    reference = TorchModel("dptr-en")
    assert repr(Reader(shipped).read(data / "7.png")) == lines[0]
    for line in lines[1:25]:
        path, text, confidence = line.split("\t")
        views = np.stack(Reader(shipped).views(open_image(path)))
        rows = apply_temperature(reference.probabilities(views), reference.temperature)
        (expected, of_expected), *turned = zip(reference.tokenizer.decode(rows), rows, strict=True)
        for word, own in turned:
            possible = len(word.text) > 1 and (word.ended or not has_repeated_ending(word.text))
            if possible and word.confidence > expected.confidence:
                expected, of_expected = word, own
        calibrated = WordConfidence.from_card(reference.card, len(reference.tokenizer.charset))
        assert calibrated is not None and text == expected.text
        sure = calibrated.scale(calibrated.product(of_expected[: len(text) + 1]), len(text))
        assert float(confidence) == pytest.approx(sure, abs=1e-4)
    assert "native" in lines[-1]


def test_without_torch_a_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "recognizer"}')
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom dptr.cli.app import run\n"
        f"sys.exit(run(['read', '--model', {str(tmp_path)!r}, 'x.png']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "'.[train]'" in done.stderr


def test_a_folder_with_its_own_export_is_read_through_it(shipped, data: Path, tmp_path: Path) -> None:
    folder = copy_for_torch("dptr-en", tmp_path / "model")
    plain = Reader(folder)
    shutil.copy(shipped, folder / "model.onnx")
    reader = Reader(folder)
    assert isinstance(plain.backend, TorchModel) and isinstance(reader.backend, OnnxModel)
    paths = sorted(data.glob("*.png"))
    for one, two in zip(plain.read(paths), reader.read(paths), strict=True):
        assert one.text == two.text and one.confidence == pytest.approx(two.confidence, abs=1e-4)
        assert [p for _, p in one.characters] == pytest.approx([p for _, p in two.characters], abs=1e-4)


def broken(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Each weight of the largest matrix off by a little, as a faulty exporter might."""
    tensor = max(graph.graph.initializer, key=lambda each: np.prod(each.dims))
    values = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.01), tensor.name))
    return graph


def test_a_file_that_reads_otherwise_is_not_kept(shipped, data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    arguments = ["export", "--model", "dptr-en", "-o", str(tmp_path / "x.onnx"), "--data", str(data), "--crops", "8"]
    monkeypatch.setattr("dptr.export.to_onnx", lambda *_: broken(onnx.load(shipped)))
    assert run(arguments) == 2
    assert "not written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("dptr.export.to_onnx", lambda *_: onnx.load(shipped))
    assert run(arguments) == 0
    size = (tmp_path / "x.onnx").stat().st_size / 1e6
    printed = capsys.readouterr().out
    assert f"x.onnx\t{size:.2f} MB" in printed and "8 of 8 crops read alike" in printed


def test_an_export_is_replaced_by_the_next_and_nothing_else_is(
    shipped, data: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("dptr.export.to_onnx", lambda *_: onnx.load(shipped))
    file, link, pipe = (tmp_path / name for name in ("a.onnx", "link.onnx", "pipe.onnx"))
    command = ["export", "--model", "dptr-en", "--data", str(data), "--crops", "8", "-o"]
    assert run([*command, str(file)]) == 0
    before = file.stat().st_ino
    link.symlink_to(file)
    assert run([*command, str(link)]) == 0
    assert link.is_symlink() and file.stat().st_ino != before
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert run([*command, str(pipe)]) == 0
    reader.join(60)
    assert pipe.is_fifo() and onnx.load_from_string(read[0]).producer_name == "dptr"
    file.write_text("mine")
    for path in (file, link):
        assert run([*command, str(path)]) == 2
    assert link.is_symlink() and file.read_text() == "mine" and len(list(tmp_path.iterdir())) == 3


def test_parity_counts_what_was_planted() -> None:
    class Planted:
        tokenizer, card, size = TOKENIZER, dict[str, Any](), CropSizes(16, 32)

        def __init__(self, change: float, flipped: int, gap: float = 0.3, length: int = 3) -> None:
            self.change, self.flipped, self.first = change, flipped, [0.1, 0.45 + gap / 2, 0.45 - gap / 2, 0, 0]
            self.length = length

        def probabilities(self, pictures: np.ndarray) -> np.ndarray:
            rows = np.tile(np.float32([self.first, [0.9, 0.1, 0, 0, 0], [0, 0, 0, 1, 0]]), (len(pictures), 1, 1))
            marked = pictures[:, 0, 0, 0] < self.flipped
            rows[marked, 0, 1:3] = rows[marked, 0, 2:0:-1]
            rows[:, 1, 0] -= self.change  # the EOS
            rows[:, 2] = self.change  # after it: counts for nothing
            return rows[:, : self.length]

    pictures = np.zeros((70, 16, 32, 3), np.uint8)
    pictures[:, 0, 0, 0] = np.arange(70)
    same = parity.compare(Planted(0, 0), Planted(0.0005, 0), pictures)
    assert same.holds() and same.difference == pytest.approx(0.0005, abs=1e-6) and same.words == 1
    assert not parity.compare(Planted(0, 0), Planted(0.002, 0), pictures).holds()
    tied = parity.compare(Planted(0, 0, 5e-6), Planted(0, 4, 5e-6), pictures)
    assert (tied.different, tied.ties, tied.holds()) == (0, 4, True)
    assert (
        "70 of 70 crops read alike" in tied.describe()
        and "4 crops differ only where two characters are equally likely" in tied.describe()
    )
    near = parity.compare(Planted(0, 0, 5e-5), Planted(0, 4, 5e-5), pictures)
    assert (near.different, near.ties, near.holds()) == (4, 0, False)
    for length in (2, 3):  # the other's batch ended earlier
        flipped = parity.compare(Planted(0, 0), Planted(0, 4, length=length), pictures)
        assert flipped.different == 4 and not flipped.holds()


def whole(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with all weights in float32 again, as it was traced."""
    casts = {node.input[0]: node for node in graph.graph.node if node.input and node.input[0].endswith(".half")}
    for tensor in graph.graph.initializer:
        if tensor.name in casts:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name.removesuffix(".half")))
    for node in casts.values():
        graph.graph.node.remove(node)
    return graph


def test_only_files_that_compute_in_8_bits_lose_the_confidences_by_precision() -> None:
    card = {"name": "any", "confidence": {"exponent": 2.0}, "thresholds": {"n": 200, "0.99": [0.9, 0.5]}}
    for int8 in ("dynamic", "static"):
        assert describe_numbers(card, int8) == {"name": "any", "confidence": {"exponent": 2.0}}
    assert describe_numbers(card, "weights") == describe_numbers(card, None) == card


@pytest.mark.slow
def test_the_precision_of_a_file_in_8_bits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.onnx"
    assert run(["export", "--model", "dptr-en-tiny", "-o", str(path), "--crops", "8", "--int8", "dynamic"]) == 0
    assert "no confidences for --precision" in capsys.readouterr().err
    assert run(["read", str(path), "-m", str(path), "--precision", "0.99"]) == 2
    assert "names no confidence by precision" in (err := capsys.readouterr().err) and "dptr eval" in err


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_int8_is_smaller_and_reads_nearly_the_same(kind: str, shipped, words: np.ndarray, tmp_path: Path) -> None:
    graph = whole(onnx.load(shipped))
    small = quantize(graph, words[:32] if kind == "static" else None)
    onnx.helper.set_model_props(small, {each.key: each.value for each in graph.metadata_props})
    onnx.save(small, tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").stat().st_size < 0.6 * len(graph.SerializeToString())
    assert halve(small, exact=True).ByteSize() < 0.8 * shipped.stat().st_size
    result = parity.compare(OnnxModel(shipped), OnnxModel(tmp_path / "small.onnx"), words)
    assert result.crops - result.different > 32 and result.difference > 1e-4


def test_weights_of_8_bits_compute_as_before(shipped, words: np.ndarray, tmp_path: Path) -> None:
    """Half the size of 16 bits; each weight is off by half a step of its channel at most."""
    graph = whole(onnx.load(shipped))
    small = halve(round_weights(graph), exact=True)
    onnx.helper.set_model_props(small, {each.key: each.value for each in graph.metadata_props})
    onnx.save(small, tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").stat().st_size < 0.65 * shipped.stat().st_size
    result = parity.compare(OnnxModel(shipped), OnnxModel(tmp_path / "small.onnx"), words)
    assert result.crops - result.different > 60 and result.difference > 1e-4
    held = {each.name: onnx.numpy_helper.to_array(each) for each in small.graph.initializer}
    rounded = [name for name in held if name.endswith(".int8")]
    assert len(rounded) > 10
    for each in graph.graph.initializer:
        if f"{each.name}.int8" in rounded:
            scales = held[f"{each.name}.scales"]
            restored = held[f"{each.name}.int8"] * scales
            assert (np.abs(restored - onnx.numpy_helper.to_array(each)) <= 0.51 * scales).all()


@pytest.mark.parametrize("name", ["dptr-en", "dptr-en-tiny"])
def test_weights_of_16_bits_are_stored_so_and_nothing_changes(name: str, words: np.ndarray, tmp_path: Path) -> None:
    file = model_file(name, "model.onnx")
    assert file.stat().st_size < 1.1 * model_file(name, "model.safetensors").stat().st_size
    graph = whole(onnx.load(file))
    onnx.save(graph, tmp_path / "whole.onnx")
    assert (tmp_path / "whole.onnx").stat().st_size > 1.8 * file.stat().st_size
    read, same = (OnnxModel(path).probabilities(words) for path in (file, tmp_path / "whole.onnx"))
    assert np.array_equal(read, same)
    assert halve(graph, exact=True).ByteSize() == pytest.approx(file.stat().st_size, rel=0.01)


def test_weights_that_16_bits_cannot_hold_are_rounded_only_if_told(tmp_path: Path) -> None:
    values = {"exact": np.arange(512), "between": np.arange(512) + 2049.5, "beyond": np.full(512, 1e5), "few": [1] * 8}
    tensors = [onnx.numpy_helper.from_array(np.array(each, np.float32), name) for name, each in values.items()]
    graph = onnx.helper.make_graph([], "weights", [], [], tensors)
    model = onnx.helper.make_model(graph)
    kept, rounded = (
        {each.name for each in halve(model, exact).graph.initializer if each.data_type == onnx.TensorProto.FLOAT16}
        for exact in (True, False)
    )
    assert kept == {"exact.half"} and rounded == {"exact.half", "between.half"}


def test_a_file_says_how_much_pictures_are_stretched(tmp_path: Path) -> None:
    graph = onnx.load(model_file("dptr-en", "model.onnx"))
    for stretch, format in ((1.0, 1), (1.5, 2)):
        size = CropSizes(32, 128, 640, stretch=stretch)
        tokenizer = Tokenizer(resolve_charset("94"), 25)
        metadata = dump_metadata("any", tokenizer, size, {}, "", "float32", 1.0)
        assert json.loads(metadata)["format"] == format
        onnx.helper.set_model_props(graph, {METADATA: metadata})
        (tmp_path / "model.onnx").write_bytes(seal(graph.SerializeToString()))
        assert OnnxModel(tmp_path / "model.onnx").size == size


# --- what is refused --------------------------------------------------------------------------------------------------


def test_files_that_are_no_export_are_named(shipped, tmp_path: Path) -> None:
    whole = shipped.read_bytes()
    contents = {"half": whole[: len(whole) // 2], "text": b"not a graph", "empty": b""}
    for name, content in contents.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}\.onnx: not a whole ONNX file"):
            Reader(tmp_path / f"{name}.onnx")
    with pytest.raises(UserError, match=r"none\.onnx': no such file"):
        Reader(tmp_path / "none.onnx")
    other = onnx.load(shipped)
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="of another program"):
        Reader(tmp_path / "other.onnx")
    onnx.helper.set_model_props(other, {METADATA: '{"format": 99}'})
    onnx.save(other, tmp_path / "later.onnx")
    with pytest.raises(UserError, match="export format 99"):
        Reader(tmp_path / "later.onnx")
    described = json.loads(next(each.value for each in onnx.load(shipped).metadata_props if each.key == METADATA))
    for broken in (
        "{oops",
        "[1]",
        '{"format": 1}',
        "[" * 20_000,
        json.dumps({**described, "sizes": [[1]]}),
        json.dumps({**described, "stretch": "x"}),
    ):
        onnx.helper.set_model_props(other, {METADATA: broken})
        onnx.save(other, tmp_path / "broken.onnx")
        with pytest.raises(UserError, match=r"broken\.onnx: its metadata is damaged"):
            Reader(tmp_path / "broken.onnx")


def test_wrong_arguments_are_named(shipped, data: Path, tmp_path: Path) -> None:
    for device in ("abacus", "cuda:x"):
        with pytest.raises(UserError, match=f"device '{device}'"):
            Reader(shipped, device=device)
    with pytest.raises(UserError, match=r"let its name end in \.onnx"):
        export("dptr-en", tmp_path / "model.bin")
    with pytest.raises(UserError, match="24 crops, 25 asked for"):
        export("dptr-en", tmp_path / "model.onnx", [data], 25)
    assert run(["export", "--model", "dptr-en", "-o", str(tmp_path / "model.onnx"), "--int8", "four"]) == 2
    with pytest.raises(UserError, match="--half with --int8 static"):
        export("dptr-en", tmp_path / "model.onnx", int8="static", half=True)
