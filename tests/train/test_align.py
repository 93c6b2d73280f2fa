from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_train import VALIDATION, WORDS, Parts, records

from dptr.config import DualConfig
from dptr.dual import tells_apart
from dptr.dual.glyph import load_glyph
from dptr.errors import UserError
from dptr.files import read_json
from dptr.text.corpus import is_heldout
from dptr.train.align import align, spelled
from dptr.train.crops import draw, rendered_words


def test_alignment_learns_and_writes_the_best_encoder(parts: Parts, tmp_path: Path) -> None:
    recipe = parts.recipe(
        "align", "run.steps=80", "run.batch=16", "run.validate_every=40", "run.save_every=1000", "optim.ema=0",
        'corpus.sources=[{kind="pattern", patterns=["number"]}]', "optim.lr=1e-2",
    )  # fmt: skip
    model = align(recipe, tmp_path / "run")
    log = records(tmp_path / "run")
    for part in ("loss", "spell", "cosine", "ctc"):
        values = [record[part] for record in log if part in record]
        assert len(values) == 80
        assert sum(values[-10:]) < 0.75 * sum(values[:10]), part
    validated = [record for record in log if "validation_word_accuracy" in record]
    assert [record["step"] for record in validated] == [40, 80]
    assert validated[-1]["validation_slot_accuracy"] > 0.3
    dual = load_glyph(DualConfig(model=str(model)))
    assert (dual.dim, dual.image_size) == (16, (16, 32))
    assert tells_apart(dual, "a", "b")
    _, unseen, _ = rendered_words(recipe.corpus, recipe.render, recipe.glyph.encoder, dual.charset, 5, 0)
    index = {character: place + 1 for place, character in enumerate(dual.charset.characters)}
    with torch.no_grad():
        scores = spelled(dual.model, draw(unseen, VALIDATION), index, 5, torch.device("cpu"))
    (best,) = read_json(model / "card.json", "card")["results"]
    assert {name: best[name] for name in scores} == scores
    assert best["word_accuracy"] == max(record["validation_word_accuracy"] for record in validated)


def test_validation_words_and_fonts_are_unseen(parts: Parts, font_folder: Path, tmp_path: Path) -> None:
    recipe = parts.recipe("align")
    for seed in (0, 5):
        train, unseen, notes = rendered_words(
            recipe.corpus, recipe.render, recipe.glyph.encoder, load_glyph_charset(parts), 5, seed
        )
        assert {train.word(index).lower() for index in range(200)} == {w for w in WORDS if not is_heldout(w, 0.3)}
        assert {unseen.word(index).lower() for index in range(200)} == {w for w in WORDS if is_heldout(w, 0.3)}
        crops = draw(unseen, 4)
        assert crops.arrays.shape == (4, 16, 32, 3)
        if seed == 0:
            first = crops
    assert (crops.arrays == first.arrays).all() and crops.labels == first.labels  # whatever the run's seed
    assert notes[0].startswith("corpus, split train")


def load_glyph_charset(parts: Parts):
    return load_glyph(DualConfig(model=str(parts.folder / "glyph"))).charset


def test_held_out_fonts_where_the_recipe_trains_on_the_others(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = []

    class Index:
        def __init__(self, fonts: object, split: str):
            splits.append(split)

        def can_draw(self, text: str) -> bool:
            return text != "APPLE"

    monkeypatch.setattr("dptr.train.crops.FontIndex", Index)
    for split, expected in (("train", ["train", "heldout"]), ("all", ["all", "all"])):
        recipe = parts.recipe("align", f"render.font_split={split}", "corpus.upper=1", "corpus.title=0", "corpus.mixed=0")
        charset = load_glyph_charset(parts)
        _, _, notes = rendered_words(recipe.corpus, recipe.render, recipe.glyph.encoder, charset, 5, 0)
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
    assert "words left out: " in said and " of the first 5,000, no font draws it" in said
    assert "1 outside charset" in said or "outside charset" in said


def test_no_words_held_out_is_an_error_before_anything_is_written(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"heldout is 0, .*; set corpus\.heldout above 0"):
        align(parts.recipe("align", "corpus.heldout=0"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
