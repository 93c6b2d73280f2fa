"""Scripts for a rented GPU: their recipes fit together, inputs are what training reads, FLOPs and peaks are right."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fontTools.ttLib import TTFont
from helpers_train import write_crops, write_photographs
from PIL import Image
from torch import Tensor

from dptr.config.load import load_recipe
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.train import AlignRecipe, FinetuneRecipe, OptimConfig, PretrainRecipe, SynthRecipe
from dptr.data.labeled import open_labelled
from dptr.dual.base import load_dual
from dptr.models.checkpoint import load_recognizer
from dptr.models.decoders.parseq import draw_permutations, in_sequence
from dptr.synth import find_fonts
from dptr.synth.worker import make_source
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.training.optimizer import make_optimizer
from dptr.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gpu_{name}", ROOT / "research" / "gpu" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


sys.path.append(str(ROOT / "research" / "gpu"))  # where scripts find their own modules
inputs, resident, throughput = script("inputs"), script("resident"), script("throughput")
objective_module = sys.modules["objective"]


def test_recipes_of_the_three_stages_fit_together() -> None:
    text = load_recipe(PretrainRecipe, ROOT / "research/recipes/gpu/pretrain-en.toml")
    direct = load_recipe(AlignRecipe, ROOT / "research/recipes/gpu/direct-en.toml")
    tuned = load_recipe(FinetuneRecipe, ROOT / "research/recipes/gpu/finetune-en.toml")
    assert text.run.batch_size == direct.run.batch_size == tuned.run.batch_size == 512
    assert {recipe.run.precision for recipe in (text, direct, tuned)} == {"bf16"}
    assert direct.glyph.dim == load_dual(text.dual).dim, "stage 1 sees glyph-en's text tokens"
    kept = {"depth", "heads", "kind", "dropout"}
    assert text.model.decoder.model_dump(include=kept) == direct.co_training.decoder.model_dump(include=kept)
    assert direct.co_training.decoder == tuned.model.decoder


def test_the_shell_scripts_are_some() -> None:
    for name in ("train-en", "evidence", "pieces"):
        subprocess.run(["bash", "-n", str(ROOT / f"research/gpu/{name}.sh")], check=True)


def test_a_gpu_that_is_not_known_needs_its_peak() -> None:
    assert throughput.known_peak("NVIDIA H100 80GB HBM3") == throughput.known_peak("NVIDIA H200") == 989
    assert throughput.known_peak("NVIDIA H100 PCIe") == 756
    with pytest.raises(UserError, match=r"'Abacus': .*--peak"):
        throughput.known_peak("Abacus")


def test_flops_of_a_step_are_three_times_those_of_reading_forward() -> None:
    """Backward has two products for each of forward: by the input and by the weight (none by the pixels)."""
    options = argparse.Namespace(batch=0, dry=True)
    model, step, batch, flops = throughput.prepared("paper", 2, "eager", torch.device("cpu"), options)
    pixels = torch.randn(batch, 3, 32, 128)
    targets = throughput.drawn_targets(throughput.Tokenizer(resolve_charset("94"), 25), batch)[0]
    model.requires_grad_(False)
    with throughput.sdpa_kernel(throughput.SDPBackend.MATH):
        _, forward = throughput.count_flops(lambda x: model.loss(x, targets, torch.Generator().manual_seed(0)), pixels)
    model.requires_grad_(True)
    patches = 2 * batch * 128 * (3 * 4 * 8) * model.encoder.dim  # their product by the input is not needed
    assert flops == pytest.approx(3 * forward - patches, rel=1e-3)
    losses = [step(number) for number in range(6 * throughput.BATCHES + 1)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0], "of the same batch"


def distillation(folders: tuple[str, str], words: list[str], limits: tuple[int, ...]) -> tuple[Any, dict[str, Tensor]]:
    """The loss of two models, and a batch of ``words`` (shortest bins first) on noise."""
    drawer = torch.Generator().manual_seed(4)
    models = {
        name: load_recognizer(folder).model.train().requires_grad_(True)
        for name, folder in zip(("first", "second"), folders, strict=True)
    }
    tokenizer, tensors, rows, least = load_recognizer(folders[0]).tokenizer, {}, [], 0
    for number, limit in enumerate(limits):
        some = [word for word in words if least < len(word) <= limit]
        least = limit
        tensors[f"targets-{number}"] = resident.encoded(tokenizer, some, limit)
        tensors |= resident.orders_as_tensors(in_sequence(draw_permutations(limit, 4, drawer)), number)
        rows.append(len(some))
    tensors["pixels"] = torch.randn(sum(rows), 3, 32, 128, generator=drawer)
    return resident.Distillation(models, rows), tensors


def test_words_by_length_are_asked_what_a_whole_batch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded apart, short words predict what they do among long ones; and the loss is the decoder's own."""
    words = ["ab", "Exit", "8", "chocolates", "photographs"]
    objective, tensors = distillation(("dptr-en-tiny", "dptr-en-tiny"), words, (4, 25))
    model = objective.models["first"].eval()
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    logits, wanted = objective.predictions("first", tensors["pixels"], tensors)
    memory = model.memory(tensors["pixels"])
    assert objective.rows == [3, 2]
    sums, counts = torch.zeros(()), 0
    for number, rows in enumerate((slice(3), slice(3, 5))):
        orders = objective_module.orders_of(tensors, number)
        apart, asked = model.decoder.ordered(memory[rows], None, tensors[f"targets-{number}"], orders)
        chosen = asked != model.decoder.pad
        sums = sums + F.cross_entropy(apart[chosen], asked[chosen], reduction="sum")
        counts += int(chosen.sum())
    loss = F.cross_entropy(logits, wanted, ignore_index=model.decoder.pad)
    torch.testing.assert_close(loss, sums / counts)
    padded = torch.full((3, 27), model.decoder.pad)
    padded[:, :6] = tensors["targets-0"]
    orders = objective_module.orders_of(tensors, 0)
    torch.testing.assert_close(
        model.decoder.ordered(memory[:3], None, padded, orders)[0], logits[: 3 * len(orders.query)].view(3, -1, 95)
    )


def test_the_second_model_learns_from_the_first_in_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss is half its own and half the divergence from the first one's predictions; both fall."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    objective, tensors = distillation(("dptr-en-tiny", "dptr-en"), ["Exit", "chocolates"], (4, 25))
    pad = objective.decoder("first").pad
    with torch.no_grad():
        first, second = (objective.predictions(name, tensors["pixels"], tensors) for name in objective.models)
    asked = first[1] != pad
    likely = first[0][asked].softmax(-1)
    divergence = (likely * (likely.log() - second[0][asked].log_softmax(-1))).sum() / asked.sum()
    alone = [F.cross_entropy(logits[asked], wanted[asked]).item() for logits, wanted in (first, second)]
    optimizer = make_optimizer([(objective, 1.0)], OptimConfig(lr=1e-3))
    found = []
    for _ in range(7):
        losses = objective(**tensors, generator=None)
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append([losses["loss_first"].item(), losses["loss_second"].item()])
        assert losses["loss"].item() == pytest.approx(sum(found[-1]))
    assert found[0] == pytest.approx([alone[0], (alone[1] + divergence.item()) / 2], rel=1e-4)
    assert found[-1][0] < found[0][0] / 2 and found[-1][1] < found[0][1] / 2


def test_rendered_crops_lie_with_words_of_their_length(font_folder: Path) -> None:
    """Each crop once, with its own word, whoever rendered it; what ends the rendering comes out."""
    tokenizer = load_recognizer("dptr-en-tiny").tokenizer
    patterns = CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=("random", "price")),), heldout=0)
    recipe = SynthRecipe(charset="94", corpus=patterns, render=RenderConfig(fonts=(str(font_folder),)))
    room = 200
    bins = [
        resident.Bin(limit, *(torch.zeros(0),) * 2, torch.zeros(room, 32, 128, 3, dtype=torch.uint8), targets, (0, 0))
        for limit, targets in ((4, torch.zeros(room, 6).long()), (25, torch.zeros(room, 27).long()))
    ]
    shelf = resident.Shelf(bins, 120)
    shelf.start(recipe, tokenizer, 2).join(120)
    shelf.check()
    assert shelf.count == 120 and shelf.left_out == 0
    source = make_source(recipe)
    held = {}
    for bin in bins:
        for crop, targets in zip(bin.crops[: bin.count], bin.targets[: bin.count], strict=True):
            word = "".join(
                tokenizer.charset.characters[symbol - 1] for symbol in targets[1:].tolist() if 0 < symbol < 95
            )
            assert (len(word) <= 4) == (bin is bins[0])
            held[crop.numpy().tobytes()] = word
    assert held == {crop.tobytes(): word for crop, word, _ in map(source.sample, range(120))}
    broken = resident.Shelf(bins, 120)
    broken.start(recipe.model_copy(update={"charset": "none such"}), tokenizer, 2).join(120)
    with pytest.raises(UserError, match="none such"):
        broken.check()


@pytest.mark.parametrize("models", [["dptr-en"], ["a=dptr-en", "a=dptr-en-tiny"], ["a="]])
def test_models_are_named_once_each(models: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name each model once"):
        resident.open_models(models)


@pytest.mark.slow
def test_a_resident_run_trains_goes_on_and_saves(tmp_path: Path, font_folder: Path) -> None:
    """The script as a program on a processor, two models; a run of other settings does not go on with it."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    inputs.fonts(folder / "fonts.tar.xz", 0, [str(font_folder)])
    inputs.words(folder / "words.gz")
    write_photographs(folder / "photographs", 3)
    for part in resident.TRAIN:
        write_crops(folder / part, font_folder, [f"word{number}" for number in range(40)] + ["photographs"] * 20)
    command = [
        sys.executable, str(ROOT / "research/gpu/resident.py"), "--inputs", str(folder), "--work", str(tmp_path / "w"),
        "--out", str(tmp_path / "out"), "--model", "a=dptr-en", "--model", "b=dptr-en-tiny", "--device", "cpu",
        "--workers", "1", "--batch", "16", "--labelled", "0.25", "--most", "400", "--validate", "4", "--save", "4",
        "--set", "render.font_split=all", "--seconds", "15",
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stderr
    for name in ("a", "b"):
        assert load_recognizer(tmp_path / "out" / name).card["results"][0]["n"] == 12
    again = subprocess.run([*command[:-1], "40", "--resume"], capture_output=True, text=True, timeout=600)
    assert again.returncode == 2 and "run.seconds was 15" in again.stderr


def test_inputs_are_what_training_reads(tmp_path: Path, font_folder: Path) -> None:
    assert inputs.fonts(tmp_path / "fonts.tar.xz", 0, [str(font_folder)]) == 1
    with tarfile.open(tmp_path / "fonts.tar.xz") as archive:
        archive.extractall(tmp_path / "fonts", filter="data")
    (cut,) = (tmp_path / "fonts").iterdir()
    before, after = TTFont(next(font_folder.iterdir())), TTFont(cut)
    characters = resolve_charset("94").characters
    assert set(after.getBestCmap()) == {ord(each) for each in (*characters, " ")} < set(before.getBestCmap())
    assert find_fonts([tmp_path / "fonts"])[0].group == find_fonts([font_folder])[0].group, "held-out fonts stay so"


def test_pictures_are_reduced_and_labels_kept(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for index, size in enumerate([(300, 100), (60, 20)]):
        Image.new("RGB", size).save(source / f"{index}.jpg")
    (source / "labels.tsv").write_text("0.jpg\tGroß\n1.jpg\tb c\n", encoding="utf-8")
    assert inputs.crops(source, out) == 2
    dataset = open_labelled(out)
    assert [dataset.label(index) for index in range(2)] == ["Groß", "b c"]
    assert [dataset.image(index).size for index in range(2)] == [(120, 40), (60, 20)]
    assert inputs.photographs(source, tmp_path / "photographs") == 2
    assert Image.open(tmp_path / "photographs" / "0.jpg").size == (300, 100)


def test_the_word_file_weighs_words_as_wordfreq_does(tmp_path: Path) -> None:
    pytest.importorskip("wordfreq")
    inputs.words(tmp_path / "words.gz")
    charset = resolve_charset("94")
    sources = [SourceConfig(kind="wordfreq"), SourceConfig(kind="file", path=str(tmp_path / "words.gz"))]
    plain = {"upper": 0, "title": 0, "mixed": 0, "punctuation": 0}
    lists = [Corpus(CorpusConfig(sources=(source,), **plain), charset, 25, 0).sources[0] for source in sources]
    shares = []
    for held in lists:
        weights = np.diff(held.cumulative, prepend=0)
        shares.append(dict(zip(held.words, weights, strict=True)))
    assert shares[0].keys() == shares[1].keys()
    apart = sum(abs(shares[0][word] - shares[1][word]) for word in shares[0]) / 2
    assert apart < 0.1, "total variation"
