"""Scripts for a rented GPU: their recipes fit together, inputs are what training reads, FLOPs and peaks are right."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from itertools import chain
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
from dptr.config.model import FMUConfig, ModelConfig, PARSeqConfig, SVTRConfig
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.size import CropSize
from dptr.config.train import AlignRecipe, FinetuneRecipe, OptimConfig, PretrainRecipe, SynthRecipe
from dptr.data.labeled import open_labeled
from dptr.dual.base import load_dual
from dptr.inference.reader import Reader
from dptr.models.checkpoint import load_recognizer, save_checkpoint
from dptr.models.decoders.permutations import build_sequences, draw_permutations
from dptr.models.recognizer import build_recognizer
from dptr.synth import find_fonts
from dptr.synth.worker import make_source
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.tokenizer import Tokenizer
from dptr.training.optimizer import make_optimizer
from dptr.utils.errors import UserError
from dptr.utils.resize import to_array
from dptr.utils.sizes import CropSizes

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
bins_module, objective_module = sys.modules["bins"], sys.modules["objective"]
prepare, shelf_module = sys.modules["prepare"], sys.modules["shelf"]


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


SIZES = CropSizes(32, 128, 640, ((64, 64), (48, 96), (40, 112)))
ONE_SIZE = CropSizes(32, 128)
FEW_SIZES = {"height": 16, "width": 32, "max_width": 96, "sizes": ((32, 32),)}


def make_model(folder: Path, charset: str = "94+space", seed: int = 0, max_length: int = 12, **sizes: Any) -> str:
    """A tiny recognizer of random weights in a folder; of crops of 16x32 pixels, if nothing else is said."""
    config = ModelConfig(
        encoder=SVTRConfig(size="nano", **({"height": 16, "width": 32} | sizes)),
        decoder=PARSeqConfig(dim=16, depth=1, heads=2, permutations=4, dropout=0.0),
        fmu=FMUConfig(queries=8, heads=2),
        charset=charset,
        max_length=max_length,
    )
    characters = resolve_charset(charset)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_checkpoint(folder, "recognizer", build_recognizer(config, len(characters)), config, characters, {}, {})
    return str(folder)


def census(shapes: list[tuple[int, int]], lengths: list[int]) -> Any:
    return bins_module.Census(shapes, lengths, np.full(len(shapes), 1 / len(shapes)))


def drawn_census(sizes: CropSizes, count: int, seed: int, longest: int = 64) -> Any:
    """Crops about as wide as real ones, with words about as long as they are wide."""
    rng = np.random.default_rng(seed)
    aspects = np.exp(rng.normal(1.1, 0.7, count))
    lengths = rng.poisson(np.minimum(1.7 * aspects, longest)).clip(0, longest)
    return census([sizes.choose(float(aspect)) for aspect in aspects], lengths.tolist())


def test_every_size_and_length_has_a_bin_and_rows_are_the_batch() -> None:
    rendered, labeled = drawn_census(SIZES, 4000, 1), drawn_census(SIZES, 900, 2)
    demand = bins_module.Demand(1024, 0.1, 24, 100_000)
    plan = bins_module.plan_bins(SIZES, 64, rendered, labeled, demand)
    assert sum(bin.rows for bin in plan.bins) == 1024 and min(bin.rows for bin in plan.bins) >= 24
    assert sum(bin.labeled for bin in plan.bins) == pytest.approx(102.4, abs=1.0), "but for those that are too long"
    assert plan.homes.keys() == set(SIZES.every)
    for size, home in plan.homes.items():
        assert 1 <= home[1] / home[0] / (size[1] / size[0]) <= 4 / 3 + 1e-9, "stretched a little, never squeezed"
        longest = max(bin.longest for bin in plan.bins if bin.size == home)
        places = [plan.place(size, length) for length in range(longest + 1)]
        assert all(place is not None and plan.bins[place].size == home for place in places)
        assert plan.place(size, longest + 1) is None
    assert {(64, 64), (48, 96), (40, 112), (32, 128)} <= set(plan.homes.values())
    assert next(bin.longest for bin in plan.bins if bin.size == (32, 128)) == bins_module.SHORT
    assert list(chain(*plan.groups)) == list(range(len(plan.bins))), "those of a size side by side"
    placed = [plan.place(*crop) for crop in zip(rendered.sizes, rendered.lengths, strict=True)]
    assert placed.count(None) < 0.004 * 4000
    for number, bin in enumerate(plan.bins):
        assert bin.room > placed.count(number) / 4000 * 100_000, "room for as many of all crops"
        wanted = 921.6 * placed.count(number) / 4000 + bin.labeled
        assert wanted - 6 < bin.rows < wanted + 1 or bin.rows == 24, "all give some to those that get the least"
    with pytest.raises(UserError, match=r"--batch 64: \d+ bins of at least 24 crops"):
        bins_module.plan_bins(SIZES, 64, rendered, labeled, bins_module.Demand(64, 0.1, 24, 100_000))


def test_one_size_has_a_bin_of_short_words_and_one_of_long_ones() -> None:
    rendered = census([(32, 128)] * 100, [3] * 60 + [0] * 10 + [9] * 20 + [17] * 10)
    labeled = census([(32, 128)] * 10, [5] * 5 + [12] * 5)
    plan = bins_module.plan_bins(ONE_SIZE, 25, rendered, labeled, bins_module.Demand(100, 0.2, 4, 1000))
    assert [(bin.longest, bin.rows) for bin in plan.bins] == [(8, 66), (20, 34)]
    assert [bin.labeled for bin in plan.bins] == pytest.approx([10, 10])
    assert plan.rows == [[66, 34]] and plan.place((32, 128), 0) == 0 and plan.place((32, 128), 21) is None
    plan = bins_module.plan_bins(ONE_SIZE, 25, rendered, labeled, bins_module.Demand(100, 0.2, 40, 1000))
    assert [(bin.longest, bin.rows) for bin in plan.bins] == [(20, 100)], "too few long ones for two"


def test_crops_go_to_their_bin_with_its_pixels_and_targets() -> None:
    """A width between goes to the next wider one by dptr's own resize; a crop without text to the bin of its size."""
    rng = np.random.default_rng(3)
    shapes = [(64, 64)] * 4 + [(32, 128)] * 4 + [(32, 320)] * 4
    plan = bins_module.plan_bins(
        SIZES, 64, census(shapes, [2] * 12), census(shapes, [2] * 12), bins_module.Demand(30, 0.5, 4, 100)
    )
    tokenizer = Tokenizer(resolve_charset("94+space"), 64)
    words = ["", "a b", "Exit", "12 345 678"]
    given = [(64, 64), (32, 288), (32, 320), (64, 64)]
    crops = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in given]
    parcels, too_long = bins_module.sort_into_bins(plan, tokenizer, crops, words)
    assert too_long == [3], "ten characters, where the sample had two"
    found = {row: (parcel, place) for parcel in parcels for place, row in enumerate(parcel.rows)}
    for row, size in ((0, (64, 64)), (1, (32, 320)), (2, (32, 320))):
        parcel, place = found[row]
        assert plan.bins[parcel.number].size == size and parcel.targets.shape[1] == plan.bins[parcel.number].longest + 2
        np.testing.assert_array_equal(parcel.crops[place], to_array(Image.fromarray(crops[row]), *size))
        symbols = tokenizer.encode([words[row]])[0]
        assert parcel.targets[place].tolist() == [*symbols, *[tokenizer.pad] * (parcel.targets.shape[1] - len(symbols))]
    empty, place = found[0]
    assert empty.targets[place, :3].tolist() == [tokenizer.bos, tokenizer.eos, tokenizer.pad]


def test_labeled_crops_are_drawn_by_weight() -> None:
    """Each as often as its weight says, beside rendered ones in whole numbers that are right on average."""
    plan = bins_module.BinPlan((1, 1), 4, 10, 3.3, 6)
    pixels = np.arange(4, dtype=np.uint8).repeat(3).reshape(4, 1, 1, 3)
    parcel = bins_module.Parcel(0, [5, 1, 2, 0], pixels, np.arange(24).reshape(4, 6))
    weights = np.array([0.1, 0.4, 0.0, 9, 9, 0.5])  # of all crops: rows 5, 1, 2, 0 weigh 0.5, 0.4, 0, 0.1
    bin = shelf_module.make_bin(plan, parcel, weights, torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    assert bin.labeled_rows(generator) == 10 and len(bin.draw(10, generator)[0]) == 10, "nothing is rendered yet"
    bin.crops.fill_(200), bin.targets.fill_(7)
    bin.count = 2
    counts = [bin.labeled_rows(generator) for _ in range(2000)]
    assert set(counts) == {3, 4} and np.mean(counts) == pytest.approx(3.3, abs=0.05)
    crops, targets = (torch.cat(parts) for parts in zip(*(bin.draw(4, generator) for _ in range(2000)), strict=True))
    values = crops[:, 0, 0, 0].view(2000, 10)
    assert (values[:, 4:] == 200).all() and (targets.view(2000, 10, 6)[:, 4:] == 7).all()
    shares = torch.bincount(values[:, :4].flatten().long(), minlength=4) / 8000
    np.testing.assert_allclose(shares, [0.5, 0.4, 0.0, 0.1], atol=0.02)
    assert (targets.view(2000, 10, 6)[:, :4, 0] == 6 * values[:, :4].long()).all(), "with their own labels"
    bare = shelf_module.make_bin(plan, None, weights, torch.device("cpu"))
    assert bare.labeled_rows(generator) == 0 and bare.draw(0, generator)[0].shape == (10, 1, 1, 3)


BinWords = tuple[int, list[str]]  # of a bin: characters of the longest label, and words
ONE = {(16, 32): [(4, ["ab", "", "8"]), (12, ["chocolates", "photographs"])]}
SEVERAL = {**ONE, (32, 32): [(4, ["a", "Exit", ""])], (16, 96): [(12, ["two words"])]}


def distillation(folders: Sequence[str], words: dict[tuple[int, int], list[BinWords]]) -> tuple[Any, dict[str, Tensor]]:
    """The loss of two models, and a batch of ``words``, of each size by bin, on noise."""
    models = {
        name: load_recognizer(folder).model.train().requires_grad_(True)
        for name, folder in zip(("first", "second"), folders, strict=True)
    }
    tokenizer, tensors = load_recognizer(folders[0]).tokenizer, {}
    drawer = torch.Generator().manual_seed(4)
    rows = [[len(some) for _, some in bins] for bins in words.values()]
    for number, (limit, some) in enumerate(chain(*words.values())):
        targets = tokenizer.encode(some, full_length=True)[:, : limit + 2]
        tensors[f"targets-{number}"] = torch.from_numpy(targets)
        drawn = draw_permutations(limit, 4, torch.Generator().manual_seed(number))
        tensors |= objective_module.orders_as_tensors(build_sequences(drawn), number)
    for size, shape in enumerate(words):
        tensors[f"pixels-{size}"] = torch.randn(sum(rows[size]), 3, *shape, generator=drawer)
    return objective_module.Distillation(models, rows), tensors


@pytest.mark.parametrize(("sizes", "words"), [({}, ONE), (FEW_SIZES, SEVERAL)], ids=["one size", "several sizes"])
def test_the_loss_over_bins_is_that_of_each_bin_by_its_symbols(
    sizes: dict[str, Any], words: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``Recognizer.loss`` of each bin alone, of the same orders, weighed by its terms.

    And short words predict what they do when padded to the longest.
    """
    folder = make_model(tmp_path / "model", **sizes)
    objective, tensors = distillation((folder, folder), words)
    model = objective.models["first"].eval()
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    logits, wanted = objective.predictions("first", tensors)
    sums, counts = torch.zeros(()), 0
    pieces = [part for size, rows in enumerate(objective.rows) for part in tensors[f"pixels-{size}"].split(rows)]
    assert len(pieces) == len(list(chain(*words.values())))
    for number, pixels in enumerate(pieces):
        targets = tensors[f"targets-{number}"]
        terms = model.decoder.term_count(targets)
        sums = sums + terms * model.loss(pixels, targets, torch.Generator().manual_seed(number))
        counts += terms
    loss = F.cross_entropy(logits, wanted, ignore_index=model.decoder.pad)
    torch.testing.assert_close(loss, sums / counts)
    padded = torch.full((3, 14), model.decoder.pad)
    padded[:, :6] = tensors["targets-0"]
    orders = objective_module.orders_of(tensors, 0)
    torch.testing.assert_close(
        model.decoder.logits_in_orders(model.memory(pieces[0]), None, padded, orders)[0],
        logits[: 3 * len(orders.query)].view(3, len(orders.query), -1),
    )


def test_batch_norms_count_sizes_by_their_crops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After a step the running mean has moved a tenth of the way to that of all crops, whatever size came last."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    folder = make_model(tmp_path / "model", **FEW_SIZES)
    words = {(16, 32): [(4, ["ab"] * 6)], (16, 96): [(4, ["Exit"] * 2)]}
    objective, tensors = distillation((folder, folder), words)
    convolution, norm, _ = objective.models["first"].encoder.stem
    means = [convolution(tensors[f"pixels-{size}"]).mean((0, 2, 3)) for size in range(2)]
    objective.predictions("first", tensors)
    torch.testing.assert_close(norm.running_mean, 0.975 * 0.075 * means[0] + 0.025 * means[1])


def test_the_second_model_learns_from_the_first_in_the_same_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its loss is half its own and half the divergence from the first one's predictions; both fall."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    folders = [make_model(tmp_path / str(seed), seed=seed, **FEW_SIZES) for seed in range(2)]
    objective, tensors = distillation(folders, SEVERAL)
    pad = objective.decoder("first").pad
    with torch.no_grad():
        first, second = (objective.predictions(name, tensors) for name in objective.models)
    asked = first[1] != pad
    likely = first[0][asked].softmax(-1)
    divergence = (likely * (likely.log() - second[0][asked].log_softmax(-1))).sum() / asked.sum()
    alone = [F.cross_entropy(logits[asked], wanted[asked]).item() for logits, wanted in (first, second)]
    optimizer = make_optimizer([(objective, 1.0)], OptimConfig(lr=1e-2))
    found = []
    for _ in range(12):
        losses = objective(**tensors, generator=None)
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append([losses["loss_first"].item(), losses["loss_second"].item()])
        assert losses["loss"].item() == pytest.approx(sum(found[-1]))
    assert found[0] == pytest.approx([alone[0], (alone[1] + divergence.item()) / 2], rel=1e-4)
    assert found[-1][0] < 0.8 * found[0][0] and found[-1][1] < 0.8 * found[0][1]


def test_rendered_crops_lie_in_the_bin_of_their_size_and_length(font_folder: Path) -> None:
    """Each crop once, with its own word, whoever rendered it; what ends the rendering comes out."""
    tokenizer = Tokenizer(resolve_charset("94+space"), 12)
    patterns = CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=("random", "price")),), heldout=0)
    render = RenderConfig(fonts=(str(font_folder),), effects={"empty": 0.2})
    size = CropSize(**FEW_SIZES)
    recipe = SynthRecipe(charset="94+space", max_length=12, size=size, corpus=patterns, render=render)
    with shelf_module.start_pool(recipe, 2) as pool:
        counted = shelf_module.end_census(shelf_module.begin_census(pool, 120))
        demand = bins_module.Demand(40, 0.0, 4, 120)
        plan = bins_module.plan_bins(size, 12, counted, census([(16, 32)], [3]), demand)
        bins = [shelf_module.make_bin(each, None, np.zeros(0), torch.device("cpu")) for each in plan.bins]
        shelf = shelf_module.Shelf(bins, 120)
        shelf.start(pool, plan, tokenizer).join(120)
        shelf.check()
    assert shelf.count + shelf.too_long == 120 and shelf.without_room == 0 and shelf.too_long < 3
    assert f"{shelf.count} crops rendered ({shelf.too_long} too long" in str(shelf)
    source = make_source(recipe)
    held = {}
    for number, bin in enumerate(bins):
        for crop, targets in zip(bin.crops[: bin.count].numpy(), bin.targets[: bin.count].numpy(), strict=True):
            length = int((targets != tokenizer.pad).sum()) - 2
            held[crop.tobytes()] = number, targets[: length + 2].tolist()
    expected, lengths = {}, []
    for crop, word, _ in map(source.sample, range(120)):
        lengths.append(len(word))
        number = plan.place(crop.shape[:2], len(word))
        if number is not None:
            stretched = to_array(Image.fromarray(crop), *plan.bins[number].size)
            pixels = crop if crop.shape[:2] == plan.bins[number].size else stretched
            expected[pixels.tobytes()] = number, tokenizer.encode([word])[0].tolist()
    assert held == expected and len({number for number, _ in held.values()}) == len(bins)
    assert counted.lengths == lengths and 0 in lengths
    with shelf_module.start_pool(recipe.model_copy(update={"charset": "none such"}), 1) as pool:
        broken = shelf_module.Shelf(bins, 120)
        broken.start(pool, plan, tokenizer).join(120)
        with pytest.raises(UserError, match="none such"):
            broken.check()


@pytest.mark.parametrize("models", [["dptr-en"], ["a=MODEL", "a=MODEL"], ["a="]])
def test_models_are_named_once_each(models: list[str], tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    with pytest.raises(UserError, match="name each model once"):
        prepare.open_models([model.replace("MODEL", folder) for model in models])


def test_models_of_one_step_read_the_same_crops_and_characters(tmp_path: Path) -> None:
    one, other = (make_model(tmp_path / str(seed), seed=seed, **FEW_SIZES) for seed in range(2))
    assert list(prepare.open_models([f"a={one}", f"b={other}"])) == ["a", "b"]
    for name, differing, message in (
        ("sizes", {}, r"crops 16x32 \(32x32, 16x32 to 16x96\)"),
        ("charset", {"charset": "94", **FEW_SIZES}, "charset 0123"),
        ("length", {"max_length": 9, **FEW_SIZES}, r"max_length 9 \(12\)"),
    ):
        folder = make_model(tmp_path / name, **differing)
        with pytest.raises(UserError, match=message):
            prepare.open_models([f"a={one}", f"b={folder}"])


def make_inputs(folder: Path, fonts: Path) -> Path:
    """Inputs of tiny sets: words of several shapes, a line with spaces, one label that no model can write."""
    folder.mkdir()
    inputs.fonts(folder / "fonts.tar.xz", 0, [str(fonts)])
    inputs.words(folder / "words.gz")
    write_photographs(folder / "photographs", 3)
    for count, name in enumerate(prepare.SETS, 3):
        words = [f"w{number}" for number in range(count)] + ["two words", "photographs"]
        write_crops(folder / name / "train", fonts, words)
        write_crops(folder / name / "val", fonts, ["Exit", "21.5"])
    with (folder / "receipts/train/labels.tsv").open("a") as file:
        file.write("0.png\t€\n")
    return folder


def test_labeled_sets_weigh_the_root_of_their_size_or_what_is_said(tmp_path: Path, font_folder: Path) -> None:
    folder = make_inputs(tmp_path / "inputs", font_folder)
    loaded = load_recognizer(make_model(tmp_path / "model", **FEW_SIZES))
    config, charset = loaded.config, loaded.tokenizer.charset
    labeled = prepare.load_labeled(folder, [], config, charset)
    counts = np.sqrt(np.arange(len(prepare.SETS)) + 5)
    assert list(labeled.weights.values()) == pytest.approx(counts / counts.sum())
    assert "two words" in labeled.crops.labels and len(labeled.validation) == 2 * len(prepare.SETS)
    assert any("outside charset" in note for note in labeled.notes), "what is left out is told"
    drawn = prepare.crop_weights(labeled.crops, labeled.weights)
    of_set = np.bincount(labeled.crops.sources, weights=drawn)
    assert of_set == pytest.approx(list(labeled.weights.values())) and drawn.sum() == pytest.approx(1)
    told = prepare.load_labeled(folder, [f"{name}=1" for name in prepare.SETS[1:]] + ["iiit5k=2"], config, charset)
    assert told.weights["iiit5k"] == pytest.approx(2 / 8) and told.weights["ic15"] == pytest.approx(1 / 8)
    for wrong in ("ic15", "ic15=0", "ic14=1", "ic15=x"):
        with pytest.raises(UserError, match=f"--set-weights {wrong}: not NAME=WEIGHT"):
            prepare.load_labeled(folder, [wrong], config, charset)


@pytest.mark.slow
@pytest.mark.parametrize(("charset", "sizes"), [("94", {}), ("94+space", FEW_SIZES)], ids=["one size", "several sizes"])
def test_a_resident_run_trains_goes_on_and_saves(
    charset: str, sizes: dict[str, Any], tmp_path: Path, font_folder: Path
) -> None:
    """The script as a program on a processor, two models; interrupted, it goes on; other settings are refused."""
    folder = make_inputs(tmp_path / "inputs", font_folder)
    models = [f"{name}={make_model(tmp_path / name, charset, seed, **sizes)}" for seed, name in enumerate("ab")]
    out = tmp_path / "out"
    command = [
        sys.executable, str(ROOT / "research/gpu/resident.py"), "--inputs", str(folder), "--work", str(tmp_path / "w"),
        "--out", str(out), "--model", models[0], "--model", models[1], "--device", "cpu", "--workers", "1",
        "--batch", "48", "--least", "2", "--labeled", "0.25", "--most", "400", "--sample", "150", "--validate", "4",
        "--save", "2", "--set", "render.font_split=all", "--recipe", "mixed" if sizes else "signs", "--seconds", "25",
    ]  # fmt: skip
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while first.poll() is None and not list(out.glob("state*")) and time.monotonic() < began + 120:
        time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    told, error = first.communicate(timeout=120)
    assert first.returncode == 130 and "--resume goes on" in error, told + error
    refused = subprocess.run([*command[:-1], "40", "--resume"], capture_output=True, text=True, timeout=300)
    assert refused.returncode == 2 and "run.seconds was 25" in refused.stderr
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "goes on after step" in again.stdout + again.stderr
    for name in "ab":
        result = load_recognizer(out / name).card["results"][0]
        assert result["n"] == 2 * len(prepare.SETS) and result.keys() >= {"word_accuracy", *prepare.SETS}
        readings = Reader(out / name).read([str(folder / "ic15/val/0.png"), np.zeros((64, 64, 3), np.uint8)])
        assert len(readings) == 2 and all(0 <= reading.confidence <= 1 for reading in readings)


def test_validation_crops_are_those_that_released_models_have_not_seen(tmp_path: Path, font_folder: Path) -> None:
    for name, count in (("iiit5k", 30), ("ic15", 50), ("displays", 40)):
        write_crops(tmp_path / name, font_folder, [f"{name[0]}{number}" for number in range(count)])
    (tmp_path / "ic15/labels.tsv").write_text((tmp_path / "ic15/labels.tsv").read_text().replace("i7\n", "ß\n"))
    sets = {name: open_labeled(tmp_path / name) for name in ("iiit5k", "ic15", "displays")}
    held = inputs.held_out(sets)
    rows = [("iiit5k", row) for row in range(30)] + [("ic15", row) for row in range(50) if row != 7]
    order = np.random.Generator(np.random.Philox(key=[0, 0])).permutation(79)
    assert {(name, row) for name in ("iiit5k", "ic15") for row in held[name]} == {rows[place] for place in order[:8]}
    digests = [hashlib.sha256((tmp_path / "displays" / f"{row}.png").read_bytes()).hexdigest() for row in range(40)]
    assert held["displays"] == {row for row, digest in enumerate(digests) if int(digest[:8], 16) / 2**32 < 0.1}
    with pytest.raises(UserError, match="held out together"):
        inputs.held_out({"ic15": sets["ic15"]})


@pytest.mark.skipif("DPTR_DATA" not in os.environ, reason="DPTR_DATA names no folder with the labeled sets")
def test_as_many_validation_crops_as_the_cards_say() -> None:
    sets = {name: open_labeled(Path(os.environ["DPTR_DATA"]) / name / "train") for name in prepare.SETS}
    assert [len(rows) for rows in inputs.held_out(sets).values()] == [189, 457, 828, 240, 101, 122, 67]


def test_models_are_taken_along_in_half_precision(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", **FEW_SIZES)
    assert inputs.model(f"tiny={folder}", tmp_path / "models") == "tiny"
    before, after = (load_recognizer(each) for each in (folder, tmp_path / "models/tiny"))
    assert before.config == after.config and before.tokenizer.charset == after.tokenizer.charset
    for name, tensor in before.model.state_dict().items():
        torch.testing.assert_close(after.model.state_dict()[name], tensor.half().to(tensor.dtype))
    with pytest.raises(UserError, match="not NAME=FOLDER"):
        inputs.model(folder, tmp_path / "models")


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
    for index, size in enumerate([(300, 100), (60, 20), (80, 160)]):
        Image.new("RGB", size).save(source / f"{index}.jpg")
    (source / "labels.tsv").write_text("0.jpg\tGroß\n1.jpg\tb c\n2.jpg\t|\n", encoding="utf-8")
    assert inputs.crops(open_labeled(source), out, {2, 0, 1}) == 3
    dataset = open_labeled(out)
    assert [dataset.label(index) for index in range(3)] == ["Groß", "b c", "|"]
    assert [dataset.image(index).size for index in range(3)] == [(192, 64), (60, 20), (64, 128)]
    assert inputs.photographs(source, tmp_path / "photographs") == 3
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
