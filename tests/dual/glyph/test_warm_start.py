from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dptr.config.model import GlyphConfig, GlyphDualConfig, SVTRConfig
from dptr.config.train import AlignRecipe
from dptr.dual.glyph.model import GlyphDual, GlyphModel, build_glyph, load_glyph, save_glyph
from dptr.dual.glyph.warm_start import warm_start
from dptr.text.charset import Charset
from dptr.training.resolve import resolve_align
from dptr.utils.errors import UserError

SMALL = GlyphConfig(dim=16, heads=2, max_length=5, charset="36", encoder=SVTRConfig(size="nano", height=16, width=32))


@pytest.fixture
def before(tmp_path: Path) -> tuple[str, GlyphModel, Charset]:
    torch.manual_seed(0)
    model, charset = build_glyph(SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    save_glyph(tmp_path / "before", model, charset, SMALL, {})
    return str(tmp_path / "before"), model.eval(), charset


def opened(name: str) -> GlyphDual:
    return load_glyph(GlyphDualConfig(model=name))


def test_shared_characters_keep_what_was_learned(before: tuple[str, GlyphModel, Charset]) -> None:
    name, old, old_charset = before
    charset = Charset("some", tuple("яz7aж"))  # other order, two unknown, most left out
    torch.manual_seed(1)
    model = GlyphModel(SMALL, len(charset)).eval()
    fresh = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    (messages,) = warm_start(model, charset, opened(name))
    assert messages == f"starts from {name}: 3 of 5 characters are known to it"
    pixels = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        (tokens, slots), (old_tokens, old_slots) = model.image_tokens(pixels), old.image_tokens(pixels)
        scores, old_scores = model.slot_logits(slots), old.slot_logits(old_slots)
        columns, old_columns = model.column_logits(tokens), old.column_logits(old_tokens)
    assert torch.equal(tokens, old_tokens) and torch.equal(slots, old_slots)
    places = {"z": 2, "7": 3, "a": 4}
    for character, place in places.items():
        there = old_charset.characters.index(character) + 1
        torch.testing.assert_close(scores[..., place], old_scores[..., there])
        torch.testing.assert_close(columns[..., place], old_columns[..., there])
    torch.testing.assert_close(scores[..., 0], old_scores[..., 0])  # EOS
    torch.testing.assert_close(scores[..., -1], old_scores[..., -1])  # PAD
    torch.testing.assert_close(columns[..., 0], old_columns[..., 0])  # blank
    for place in (1, 5):
        for key in ("text.symbols.weight", "ctc.weight", "ctc.bias", "letters.weight", "letters.bias"):
            assert torch.equal(model.state_dict()[key][place], fresh[key][place]), key


def test_longer_words_keep_the_first_places(before: tuple[str, GlyphModel, Charset]) -> None:
    name, old, charset = before
    model = GlyphModel(SMALL.model_copy(update={"max_length": 8}), len(charset)).eval()
    messages = warm_start(model, charset, opened(name))
    assert messages[1] == "slots.queries: 6 to 9 rows, the first 6 kept, the others made like them"
    for key in ("text.positions.weight", "slots.queries"):
        rows, old_rows = (state[key].reshape(-1, 16) for state in (model.state_dict(), old.state_dict()))
        assert torch.equal(rows[:6], old_rows) and len(rows) == 9


def test_settings_come_along_and_the_recipe_stands_above_them(before: tuple[str, GlyphModel, Charset]) -> None:
    name, _, _ = before
    recipe = resolve_align(AlignRecipe.model_validate({"init": {"glyph": name}, "glyph": {"charset": "ru"}})).recipe
    assert recipe.glyph == SMALL.model_copy(update={"charset": "ru"})
    assert recipe.corpus.sources[0].language == "ru"
    start = {"init": {"glyph": name}}
    assert resolve_align(AlignRecipe.model_validate(start)).recipe.glyph == SMALL
    for more, ramp in (({}, 0), ({"ramp": 0.3}, 0.3)):
        assert resolve_align(AlignRecipe.model_validate({**start, **more})).recipe.ramp == ramp
    assert resolve_align(AlignRecipe()).recipe.ramp > 0


@pytest.mark.parametrize("other", [{"dim": 32}, {"layers": 2}])
def test_other_widths_are_told(before: tuple[str, GlyphModel, Charset], other: dict[str, int]) -> None:
    name, _, charset = before
    with pytest.raises(UserError, match="use the settings that they were trained with"):
        warm_start(GlyphModel(SMALL.model_copy(update=other), len(charset)), charset, opened(name))


def test_a_start_that_is_none_is_told() -> None:
    with pytest.raises(UserError, match="neither a shipped name nor a folder"):
        resolve_align(AlignRecipe.model_validate({"init": {"glyph": "nowhere"}}))
