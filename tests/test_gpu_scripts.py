"""Scripts for a rented GPU: their recipes fit together, inputs are what training reads, FLOPs and peaks are right."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from fontTools.ttLib import TTFont
from PIL import Image

from dptr.config import AlignRecipe, CorpusConfig, FinetuneRecipe, PretrainRecipe, SourceConfig
from dptr.data.datasets import open_labelled
from dptr.data.synth import find_fonts
from dptr.dual import load_dual
from dptr.errors import UserError
from dptr.recipe_file import load_recipe
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gpu_{name}", ROOT / "scripts" / "gpu" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


inputs, throughput = script("inputs"), script("throughput")


def test_recipes_of_the_three_stages_fit_together() -> None:
    text = load_recipe(PretrainRecipe, ROOT / "recipes/gpu/pretrain-en.toml")
    direct = load_recipe(AlignRecipe, ROOT / "recipes/gpu/direct-en.toml")
    tuned = load_recipe(FinetuneRecipe, ROOT / "recipes/gpu/finetune-en.toml")
    assert text.run.batch == direct.run.batch == tuned.run.batch == 512
    assert {recipe.run.precision for recipe in (text, direct, tuned)} == {"bf16"}
    assert direct.glyph.dim == load_dual(text.dual).dim, "stage 1 sees glyph-en's text tokens"
    kept = {"depth", "heads", "kind", "dropout"}
    assert text.model.decoder.model_dump(include=kept) == direct.teach.decoder.model_dump(include=kept)
    assert direct.teach.decoder == tuned.model.decoder


def test_the_shell_script_is_one() -> None:
    subprocess.run(["bash", "-n", str(ROOT / "scripts/gpu/train-en.sh")], check=True)


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
    first = step(0)
    assert np.isfinite(first) and step(throughput.BATCHES) < first


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
