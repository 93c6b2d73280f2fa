from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from helpers_train import STEPS, VALIDATION, WORDS, Parts, records

from dptr.config.model import GlyphDualConfig
from dptr.config.train import SynthRecipe
from dptr.dual.base import distinguishes
from dptr.dual.glyph.model import load_glyph
from dptr.synth.pack import Pack, write_pack
from dptr.synth.worker import make_source
from dptr.text.charset import Charset
from dptr.text.rules import is_heldout
from dptr.training.align import align, slot_accuracy
from dptr.training.sources import draw, rendered_words
from dptr.utils.errors import UserError
from dptr.utils.files import read_json


def charset_of(parts: Parts) -> Charset:
    return load_glyph(GlyphDualConfig(model=str(parts.folder / "glyph"))).charset


def test_alignment_learns_to_see(parts: Parts, tmp_path: Path) -> None:
    """Planted: two words that look nothing like each other. Who does not look at the crop cannot get below the entropy
    of the slots, three letters and EOS."""
    (tmp_path / "words.txt").write_text("lll\nmmm\njjj\n")
    assert [is_heldout(word, 0.3) for word in ("lll", "mmm", "jjj")] == [False, False, True]
    plain = ["render.preset=plain"]
    plain += [f"corpus.{style}=0" for style in ("upper", "title", "mixed", "punctuation")]
    recipe = parts.recipe(
        "align", "run.steps=60", "run.batch_size=16", "run.validate_every=30", "run.save_every=1000",
        "optim.ema_decay=0", "optim.lr=1e-2",
        "glyph.max_length=3", *plain, f'corpus.sources=[{{kind="file", path="{tmp_path}/words.txt"}}]',
    )  # fmt: skip
    align(recipe, tmp_path / "run")
    log = records(tmp_path / "run")
    for part in ("loss", "spell", "cosine", "ctc"):
        values = [record[part] for record in log if part in record]
        assert len(values) == 60
        assert sum(values[-10:]) < 0.5 * sum(values[:10]), part
    spell = [record["spell"] for record in log if "spell" in record]
    assert sum(spell[-10:]) / 10 < 0.5 * (3 / 4 * math.log(2))


def test_the_best_encoder_is_kept(parts: Parts, tmp_path: Path) -> None:
    recipe = parts.recipe("align", "optim.lr=1e-2", "optim.ema_decay=0", "run.validate_every=1")
    model = align(recipe, tmp_path / "run")
    validated = [record for record in records(tmp_path / "run") if "validation_word_accuracy" in record]
    assert [record["step"] for record in validated] == list(range(1, STEPS + 1))
    order = [(record["validation_word_accuracy"], record["validation_slot_accuracy"]) for record in validated]
    assert len(set(order)) > 2
    (best,) = read_json(model / "card.json", "card")["results"]
    assert best["step"] == 1 + order.index(max(order))
    dual = load_glyph(GlyphDualConfig(model=str(model)))
    assert (dual.dim, dual.image_size) == (16, (16, 32))
    assert distinguishes(dual, "a", "b")
    _, unseen, _ = rendered_words(recipe.corpus, recipe.render, recipe.glyph.encoder, dual.charset, 5, 0, "")
    index = {character: place + 1 for place, character in enumerate(dual.charset.characters)}
    scores = slot_accuracy(dual.model, draw(unseen(), VALIDATION), index, 5, torch.device("cpu"))
    assert scores == {name: best[name] for name in ("word_accuracy", "slot_accuracy")}


def test_validation_words_and_fonts_are_unseen(parts: Parts, font_folder: Path, tmp_path: Path) -> None:
    recipe = parts.recipe("align")
    for seed in (0, 5):
        train, unseen, notes = rendered_words(
            recipe.corpus, recipe.render, recipe.glyph.encoder, charset_of(parts), 5, seed, ""
        )
        assert {train.word(index).lower() for index in range(200)} == {w for w in WORDS if not is_heldout(w, 0.3)}
        assert {unseen().word(index).lower() for index in range(200)} == {w for w in WORDS if is_heldout(w, 0.3)}
        crops = draw(unseen(), 4)
        assert crops.arrays.shape == (4, 16, 32, 3)
        if seed == 0:
            first = crops
    assert (crops.arrays == first.arrays).all() and crops.labels == first.labels  # whatever the run's seed
    assert notes[0].startswith("corpus, split train")


def test_held_out_fonts_where_the_recipe_trains_on_the_others(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = []

    class Index:
        def __init__(self, fonts: object, split: str):
            splits.append(split)

        def can_draw(self, text: str) -> bool:
            return text != "APPLE"

    monkeypatch.setattr("dptr.training.sources.FontIndex", Index)
    for split, expected in (("train", ["train", "heldout"]), ("all", ["all", "all"])):
        recipe = parts.recipe(
            "align", f"render.font_split={split}", "corpus.upper=1", "corpus.title=0", "corpus.mixed=0"
        )
        charset = charset_of(parts)
        _, unseen, notes = rendered_words(recipe.corpus, recipe.render, recipe.glyph.encoder, charset, 5, 0, "")
        unseen()
        assert splits == expected
        splits.clear()
    assert len(notes) == 1


def test_words_that_no_font_draws_are_counted(parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "letters.txt").write_text("abcdefgh日")
    (tmp_path / "words.txt").write_text("bad\ncab\n日本\n日\nfab\ndab\ngab\nhad\nbag\nfad\n")
    recipe = parts.recipe(
        "align", f"glyph.charset={tmp_path / 'letters.txt'}", "run.steps=1", "corpus.punctuation=0",
        f'corpus.sources=[{{kind="file", path="{tmp_path / "words.txt"}"}}]',
    )  # fmt: skip
    align(recipe, tmp_path / "run")
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("words left out: ")]
    assert re.fullmatch(r"words left out: \d+ of the first 5,000, no font draws it", line)
    assert 1 <= int(line.split()[3]) < 5000
    assert "left out: outside charset 1" in said


def test_a_pack_stands_in_for_rendering(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    recipe = parts.recipe("align", f"pack={tmp_path / 'pack'}", "ramp=0")
    size = recipe.glyph.encoder.crop_size
    synth = SynthRecipe(
        charset=recipe.glyph.charset, max_length=5, size=size, corpus=recipe.corpus, render=recipe.render
    )
    write_pack(synth, 50, tmp_path / "pack")
    drawn = []
    monkeypatch.setattr(Pack, "sample", lambda packed, index: drawn.append(index) or make_source(synth).sample(index))
    align(recipe, tmp_path / "run")
    assert f"pack {tmp_path / 'pack'}: 50 rendered crops" in capsys.readouterr().err
    assert drawn == list(range(recipe.run.steps * recipe.run.batch_size))


def test_no_words_held_out_is_an_error_before_anything_is_written(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"heldout is 0, .*; set corpus\.heldout above 0"):
        align(parts.recipe("align", "corpus.heldout=0"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_alignment_goes_on_from_another_charset(parts: Parts, tmp_path: Path) -> None:
    """At a rate of nothing what it starts from is what it ends as."""
    start = parts.folder / "glyph"
    recipe = parts.recipe("align", f'init.glyph="{start}"', 'glyph.charset="latin"', "run.steps=1", "optim.lr=1e-12")
    model = align(recipe, tmp_path / "run")
    before, after = (load_glyph(GlyphDualConfig(model=str(folder))) for folder in (start, model))
    assert len(after.charset) > len(before.charset)
    for tower in ("encoder", "slots"):  # all that is learned; running statistics of batch norm moved
        pairs = zip(getattr(after.model, tower).parameters(), getattr(before.model, tower).parameters(), strict=True)
        assert all(torch.allclose(new, old, atol=1e-6) for new, old in pairs)
    assert read_json(model / "card.json", "card")["trained_on"] == ["rendered words", f"what {start} knows"]
