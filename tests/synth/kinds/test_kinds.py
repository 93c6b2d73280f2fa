"""Kinds of pictures: what all of them promise."""

from __future__ import annotations

import pickle
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dptr.config.effects import KIND_NAMES, PRESETS, Effects, change_effects
from dptr.config.load import load_recipe
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.size import CropSize
from dptr.config.train import SynthRecipe
from dptr.synth import EMBEDDED, FontIndex, Renderer, find_fonts
from dptr.synth.kinds import KINDS, Materials, choose_kind
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.patterns import PATTERNS
from dptr.utils.errors import UserError

SIZE = CropSize(height=32, width=64, max_width=320)
RANDOM = CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=("code", "number", "plate")),), heldout=0)
WORDS = ["Hello", "12.5", "STATION", "GRAND HOTEL", "a", "(x)", "-QF7", "www.example.com"]


@pytest.fixture(scope="module")
def fonts() -> FontIndex:
    return FontIndex(find_fonts([EMBEDDED]))


def make_renderer(fonts: FontIndex, seed: int = 0, preset: str = "signs", **effects: float) -> Renderer:
    return Renderer(RenderConfig(preset=preset, effects=effects), seed, fonts, SIZE)


def rendered(fonts: FontIndex, seed: int = 0, **effects: float) -> RenderedWords:
    return RenderedWords(Corpus(RANDOM, resolve_charset("94"), 25, seed), make_renderer(fonts, seed, **effects))


def test_every_kind_has_a_share_and_known_texts_fonts_and_effects(fonts: FontIndex) -> None:
    assert tuple(KINDS) == KIND_NAMES
    for name, kind in KINDS.items():
        assert set(kind.texts) <= {"word", "phrase", *PATTERNS}
        assert kind.fonts in ("", *fonts.styles)
        change_effects(Effects(), kind.effects)
        assert not set(kind.effects) & set(KIND_NAMES), name


def test_shares_are_those_of_the_settings(fonts: FontIndex) -> None:
    shares = {"empty": 0.1, "arc": 0.25, "display": 0.05}
    renderer = make_renderer(fonts, **shares)
    drawn = Counter(renderer.kind_of(index) for index in range(20_000))
    for name, share in {**shares, "": 0.6}.items():
        assert drawn[name] / 20_000 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 20_000))
    assert set(drawn) == {*shares, ""}
    assert {make_renderer(fonts).kind_of(index) for index in range(100)} == {""}
    assert [choose_kind(shares, fraction) for fraction in (0.0, 0.0999, 0.1001, 0.3499, 0.3501, 0.4001, 0.999)] == [
        "empty", "empty", "arc", "arc", "display", "", "",
    ]  # fmt: skip
    assert sum(PRESETS["mixed"].kinds.values()) == pytest.approx(0.5, abs=0.05)


def test_shares_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match=r"kinds \{'empty': 0.6, 'arc': 0.6\} take more than all crops"):
        load_recipe(SynthRecipe, None, ["render.effects.empty=0.6", "render.effects.arc=0.6"])
    with pytest.raises(UserError, match="unknown effect 'emtpy'; did you mean 'empty'"):
        load_recipe(SynthRecipe, None, ["render.effects.emtpy=0.6"])


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_is_a_pure_function_of_seed_and_index(fonts: FontIndex, name: str) -> None:
    source, again = rendered(fonts, **{name: 1.0}), rendered(fonts, **{name: 1.0})
    again = pickle.loads(pickle.dumps(again))
    forward = [source.sample(index) for index in range(12)]
    for index in reversed(range(12)):
        crop, word, stops = again.sample(index)
        np.testing.assert_array_equal(crop, forward[index][0])
        np.testing.assert_array_equal(stops, forward[index][2])
        assert word == forward[index][1] == again.word(index)
    assert len({crop.tobytes() for crop, _, _ in forward}) == 12
    other = rendered(fonts, seed=1, **{name: 1.0})
    assert not {other.sample(index)[0].tobytes() for index in range(12)} & {crop.tobytes() for crop, _, _ in forward}


@pytest.mark.parametrize("name", KINDS)
def test_crops_are_pictures_with_their_letters_in_bounds(fonts: FontIndex, name: str) -> None:
    source, flat = rendered(fonts, **{name: 1.0}), 0
    for index in range(60):
        crop, word, stops = source.sample(index)
        assert crop.dtype == np.uint8 and crop.shape[::2] == (32, 3) and 64 <= crop.shape[1] <= 320
        assert (word == "") == (name == "empty")
        assert stops.shape == (len(word), 2) and stops.dtype == np.float32
        flat += np.ptp(np.percentile(crop, (2, 98))) < 8
        if np.isfinite(stops).all() and word:
            assert (np.diff(stops.mean(1)) > 0).all() and stops.min() > -0.5 and stops.max() < 1.5
        else:
            assert np.isnan(stops).all()
    assert name == "empty" or flat == 0


@pytest.mark.parametrize("name", KINDS)
def test_every_text_can_be_drawn(fonts: FontIndex, name: str) -> None:
    """All letters of the largest ASCII charset, short and long texts; with and without spaces."""
    renderer = make_renderer(fonts, **{name: 1.0})
    texts = [char * count for char in string.digits + string.ascii_letters + string.punctuation for count in (1, 4)]
    for index, text in enumerate([*texts, *WORDS, "A" * 64, "TOTAL 12.50 x 3 (INCL. TAX)"]):
        crop, stops = renderer.render_with_stops(text, index)
        assert len(stops) == len(text) and np.ptp(crop) > 8, text


@pytest.mark.parametrize("name", [name for name in KINDS if name != "empty"])
def test_what_a_kind_draws_has_ink_in_its_box_and_a_ground_of_its_size(fonts: FontIndex, name: str) -> None:
    materials = Materials(np.full((4, 3), 128, np.float32), (), fonts)
    for index, text in enumerate(WORDS * 4):
        line = KINDS[name].draw(text, fonts.choose(text, 0.5), materials, np.random.default_rng(index))
        if line is None:
            assert name in ("arc", "emblem", "display")
            continue
        left, top, right, bottom = line.box
        inside = line.mask[top:bottom, left:right]
        assert (inside.shape[0], inside.shape[1]) == (bottom - top, right - left)
        assert inside.any() and len(line.stops) == len(text)
        assert line.ground is None or (line.ground.dtype == np.uint8 and line.ground.shape == (*line.mask.shape, 3))


def test_texts_are_those_of_their_kind(fonts: FontIndex) -> None:
    readings = {rendered(fonts, display=1.0).word(index) for index in range(300)}
    assert sum(any(map(str.isdigit, text)) for text in readings) > 0.7 * len(readings)
    assert {rendered(fonts, empty=1.0).word(index) for index in range(20)} == {""}
    half = rendered(fonts, empty=0.5)
    for index in range(50):
        assert (half.word(index) == "") == (half.renderer.kind_of(index) == "empty")


def test_an_empty_text_is_drawn_whatever_the_kind_and_a_text_is_drawn_in_empty_pictures(fonts: FontIndex) -> None:
    words, nothing = make_renderer(fonts), make_renderer(fonts, empty=1.0)
    assert words.can_draw("")
    np.testing.assert_array_equal(words.render("", 3), nothing.render("", 3))
    np.testing.assert_array_equal(words.render("Hello", 3), nothing.render("Hello", 3))


def test_the_mixture_renders_what_its_recipe_says(font_folder: Path) -> None:
    recipe = load_recipe(SynthRecipe, Path(__file__).parents[3] / "recipes/synth/mixed.toml")
    render = recipe.render.model_copy(update={"fonts": (str(font_folder),)})
    renderer = Renderer(render, recipe.seed)
    source = RenderedWords(Corpus(RANDOM, resolve_charset("94"), 25, 0), renderer)
    kinds = Counter(renderer.kind_of(index) for index in range(100))
    assert len(kinds) == len(KINDS) + 1
    for index in range(100):
        crop, word, _ = source.sample(index)
        assert crop.shape == (32, 128, 3) and (word == "") == (renderer.kind_of(index) == "empty")
