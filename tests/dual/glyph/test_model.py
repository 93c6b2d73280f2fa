"""The embedded dual encoder: tokens, slots and losses against independent computations; files damaged in every way."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from helpers_reference import loud, norm
from torch import Tensor

from dptr.config.model import DualConfig, GlyphConfig, GlyphDualConfig, SVTRConfig
from dptr.config.train import AlignRecipe
from dptr.dual.base import DualEncoder, load_dual
from dptr.dual.glyph.losses import alignment_loss, position_losses, sample_symbols
from dptr.dual.glyph.model import (
    GlyphDual,
    GlyphModel,
    build_glyph,
    calibrated,
    load_glyph,
    save_glyph,
    slot_symbols,
)
from dptr.text.charset import Charset, resolve_charset
from dptr.utils.errors import UserError

ABC = Charset("abc", ("a", "b"))
INDEX = {"a": 1, "b": 2}
CONFIG = GlyphConfig(dim=16, encoder=SVTRConfig(size="nano", height=32, width=16), heads=2, max_length=3)
PAD = 3  # the symbol after EOS 0, a 1, b 2


def build(seed: int = 0) -> GlyphModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loud(GlyphModel(CONFIG, 2), seed).eval()


@pytest.fixture(scope="module")
def model() -> GlyphModel:
    return build()


@pytest.fixture(scope="module")
def dual(model) -> GlyphDual:
    return GlyphDual(build(), ABC, CONFIG, "test", "00")


def pixels(count: int) -> Tensor:
    return torch.rand(count, 3, 32, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def reference_token(model: GlyphModel, symbol: int, slot: int) -> Tensor:
    """LN(character embedding + position embedding)."""
    return norm(model.text.norm, model.text.symbols.weight[symbol] + model.text.positions.weight[slot])


# --- text -------------------------------------------------------------------------------------------------------------


def test_slot_symbols():
    """Characters, EOS, and PAD in all slots that are left; the longest word still has its EOS."""
    assert slot_symbols(["ab", "", "bba"], INDEX, 3).tolist() == [[1, 2, 0, 3], [0, 3, 3, 3], [2, 2, 1, 0]]
    assert slot_symbols([], INDEX, 3).shape == (0, 4)


@torch.no_grad()
def test_text_tokens_equal_an_independent_computation(model, dual):
    tokens, mask = dual.encode_text(["ab", "", "bba"])
    assert mask.shape == (3, 4) and mask.all()  # PAD slots too: an image does not tell which of its slots they are
    for row, symbols in enumerate([[1, 2, 0, PAD], [0, PAD, PAD, PAD], [2, 2, 1, 0]]):
        for slot, symbol in enumerate(symbols):
            torch.testing.assert_close(tokens[row, slot], reference_token(model, symbol, slot), atol=1e-6, rtol=1e-5)


def test_a_word_alone_equals_the_word_in_a_batch(dual):
    words = ["ab", "", "bba", "a"]
    tokens, _ = dual.encode_text(words)
    for word, row in zip(words, tokens, strict=True):
        assert torch.equal(dual.encode_text([word])[0][0], row)


def test_tokens_know_case_and_order():
    dual = GlyphDual(loud(GlyphModel(CONFIG, 4)), Charset("aAbB", tuple("aAbB")), CONFIG, "test", "00")
    tokens = dual.encode_text(["ab", "aB", "ba"])[0]
    assert torch.equal(tokens[0, 0], tokens[1, 0]) and not torch.allclose(tokens[0, 1], tokens[1, 1])
    assert not torch.allclose(tokens[0, :2], tokens[2, :2].flip(0))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["ab", "abc"], ["'abc'", "'c'", "charset"]),
        (["ab", "a\nb"], ["'a\\nb'", "'\\n'"]),
        (["abab"], ["'abab'", "4 characters", "holds 3", "glyph.max_length"]),
    ],
)
def test_words_that_do_not_fit_are_refused(dual, words, named):
    with pytest.raises(UserError) as caught:
        dual.encode_text(words)
    assert all(part in str(caught.value) for part in named) and "\n" not in str(caught.value)


# --- images -----------------------------------------------------------------------------------------------------------


def test_the_contract(dual):
    assert isinstance(dual, DualEncoder)
    assert (dual.kind, dual.dim, dual.image_size) == ("glyph", 16, (32, 16))
    assert dual.to("cpu") is dual
    tokens = dual.encode_image(pixels(2))
    assert tokens.shape == (2, 4, 16) and tokens.dtype == torch.float32
    assert not tokens.requires_grad and not dual.encode_text(["a"])[0].requires_grad
    assert not dual.model.training and not any(parameter.requires_grad for parameter in dual.model.parameters())


@torch.no_grad()
def test_image_tokens_are_the_slots_of_the_encoder(model, dual):
    assert torch.equal(dual.encode_image(pixels(3)), model.slots(*model.encoder.with_grid(pixels(3))))
    torch.testing.assert_close(dual.encode_image(pixels(3)[1:2]), dual.encode_image(pixels(3))[1:2])


# --- alignment --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_alignment_parts_equal_an_independent_computation(model):
    words, padding = ["ab", "", "bba"], 0.25
    symbols = slot_symbols(words, INDEX, 3)
    weights = AlignRecipe(ctc=0.5, cosine=2.0, padding=padding, columns=3.0, attention=4.0, counting=5.0)
    loss, parts, _ = alignment_loss(model, pixels(3), symbols, unknown(3), weights, torch.Generator())
    slots = model.slots(*model.encoder.with_grid(pixels(3)))
    spell, cosine, total = 0.0, 0.0, 0.0
    for row in range(3):
        for slot in range(4):
            own = int(symbols[row, slot])
            weight = padding if own == PAD else 1.0
            fits = torch.stack([model.scale * slots[row, slot] @ reference_token(model, s, slot) for s in range(4)])
            token, seen = reference_token(model, own, slot), slots[row, slot]
            spell += weight * float(fits.exp().sum().log() - fits[own])
            cosine += weight * float(1 - token @ seen / (token.norm() * seen.norm()))
            total += weight
    assert total == 3 + 1 + 4 + (1 + 3) * padding
    assert float(parts["spell"]) == pytest.approx(spell / total, rel=1e-5)
    assert float(parts["cosine"]) == pytest.approx(cosine / total, rel=1e-5)
    factors = {"spell": 1.0, "cosine": 2.0, "ctc": 0.5, "columns": 3.0, "attention": 4.0, "counting": 5.0}
    assert float(loss) == pytest.approx(sum(factors[name] * float(part) for name, part in parts.items()), rel=1e-6)
    assert parts["columns"] == parts["attention"] == 0  # nobody knows where the letters stand


def test_symbols_of_a_large_charset_are_drawn():
    generator = torch.Generator().manual_seed(0)
    symbols = torch.tensor([[7, 90, 0, 101], [7, 55, 41, 0]])
    assert sample_symbols(symbols, 102, 0, generator) is None and sample_symbols(symbols, 102, 102, generator) is None
    seen = torch.zeros(102)
    for _ in range(2000):
        among = sample_symbols(symbols, 102, 20, generator)
        assert among.tolist() == sorted(set(among.tolist())) and len(among) <= 20 + 6
        assert {0, 7, 41, 55, 90, 101} <= set(among.tolist())
        seen[among] += 1
    others = [symbol for symbol in range(102) if symbol not in (0, 7, 41, 55, 90, 101)]
    expected = 1 - (1 - 1 / 102) ** 20
    assert (seen[others] / 2000 - expected).abs().max() < 0.035  # 4 standard errors


@torch.no_grad()
def test_losses_over_drawn_symbols_are_those_of_a_model_that_knows_no_others():
    """Every part, by a model whose tables hold the drawn rows alone."""
    torch.manual_seed(0)
    large = loud(GlyphModel(CONFIG, 60), 3).eval()
    symbols = torch.tensor([[5, 60, 0, 61], [33, 0, 61, 61]])
    stops = torch.tensor([[[0.0, 0.4], [0.4, 1.0], [math.nan] * 2], [[0.1, 0.8], [math.nan] * 2, [math.nan] * 2]])
    recipe = AlignRecipe(negatives=9)
    drawn, parts, _ = alignment_loss(large, pixels(2), symbols, stops, recipe, torch.Generator().manual_seed(4))
    among = sample_symbols(symbols, 62, 9, torch.Generator().manual_seed(4))
    small = GlyphModel(CONFIG, len(among) - 2).eval()
    state = large.state_dict()
    state["text.symbols.weight"] = state["text.symbols.weight"][among]
    for head in ("ctc", "letters"):
        state |= {f"{head}.{part}": state[f"{head}.{part}"][among[:-1]] for part in ("weight", "bias")}
    small.load_state_dict(state)
    own = torch.tensor([[among.tolist().index(symbol) for symbol in row] for row in symbols.tolist()])
    whole, wanted, _ = alignment_loss(small, pixels(2), own, stops, AlignRecipe(), torch.Generator())
    torch.testing.assert_close(parts, wanted)
    torch.testing.assert_close(drawn, whole)
    assert min(parts.values()) > 0


def unknown(count: int) -> Tensor:
    return torch.full((count, 3, 2), math.nan)


def test_places_equal_a_plain_computation():
    """Six columns, middles at 1/12, 3/12, ...; places known, too narrow to cover a middle, unknown."""
    generator = torch.Generator().manual_seed(5)
    letters, looks = torch.randn(3, 6, 3, generator=generator), torch.rand(3, 4, 6, generator=generator)
    density = torch.rand(3, 6, generator=generator)
    words = ["ab", "b", "bba"]
    places = [[(0.05, 0.4), (0.4, 0.9)], [(0.51, 0.56)], []]
    stops = unknown(3)
    for row, known in enumerate(places):
        stops[row, : len(known)] = torch.tensor(known).view(-1, 2)
    standing = [[1, 1, 2, 2, 2, 0], [0, 0, 0, 2, 0, 0]]
    columns = [
        -float(letters[row, column].log_softmax(-1)[symbol])
        for row, symbols in enumerate(standing)
        for column, symbol in enumerate(symbols)
    ]
    attention = [looks[0, 0, :2].sum(), looks[0, 1, 2:5].sum(), looks[1, 0, 3]]
    errors = []
    for row in range(2):
        for column in range(6):
            middle = (column + 0.5) / 6
            passed = sum(min(max((middle - begin) / (end - begin), 0), 1) for begin, end in places[row])
            counted = float(density[row, :column].sum() + density[row, column] / 2)
            errors.append(abs(counted - passed))
    whole = sum(abs(float(density[row].sum()) - len(word)) for row, word in enumerate(words)) / 3
    losses = position_losses(letters, looks, density, slot_symbols(words, INDEX, 3), torch.tensor([2, 1, 3]), stops)
    assert float(losses["columns"]) == pytest.approx(sum(columns) / 12, rel=1e-5)
    assert float(losses["attention"]) == pytest.approx(-sum(math.log(seen + 1e-3) for seen in attention) / 3, rel=1e-5)
    assert float(losses["counting"]) == pytest.approx(sum(errors) / 18 + 0.1 * whole, rel=1e-5)


def collapse(path: tuple[int, ...]) -> list[int]:
    """Graves et al. 2006, section 3.1: repeats merged, then blanks (0) removed."""
    return [symbol for symbol, _ in itertools.groupby(path) if symbol]


@torch.no_grad()
def test_ctc_equals_the_sum_over_all_alignments(model):
    """Four columns, two characters and a blank: 81 paths. Each word's loss is divided by its length, at least 1."""
    words = ["ab", "", "bba", "b"]
    symbols = slot_symbols(words, INDEX, 3)
    _, parts, _ = alignment_loss(model, pixels(4), symbols, unknown(4), AlignRecipe(), torch.Generator())
    maps = model.encoder(pixels(4))  # 4 columns
    losses = []
    for row, word in enumerate(words):
        columns = [maps[row, column] for column in range(4)]
        logits = [model.ctc.weight @ column + model.ctc.bias for column in columns]
        chances = [values.exp() / values.exp().sum() for values in logits]
        target = [INDEX[character] for character in word]
        chance = sum(
            math.prod(float(chances[column][symbol]) for column, symbol in enumerate(path))
            for path in itertools.product(range(3), repeat=4)
            if collapse(path) == target
        )
        losses.append(-math.log(chance) / max(1, len(word)))
    assert float(parts["ctc"]) == pytest.approx(sum(losses) / 4, rel=1e-4)


def test_gradient_reaches_every_parameter():
    model = build()
    stops = torch.tensor([[0.1, 0.4], [0.4, 0.8], [0.8, 1.0]]).expand(3, 3, 2)
    symbols = slot_symbols(["aba", "aab", "bba"], INDEX, 3)
    loss, parts, _ = alignment_loss(model.train(), pixels(3), symbols, stops, AlignRecipe(), torch.Generator())
    loss.backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []
    assert not any(part.requires_grad for part in parts.values())


def test_a_word_that_no_alignment_fits_costs_no_ctc(model):
    """Eight equal letters need fifteen columns: infinite by the formula, left out so that training goes on."""
    config = CONFIG.model_copy(update={"max_length": 8})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wide = GlyphModel(config, 2)
    symbols = slot_symbols(["aaaaaaaa"], INDEX, 8)
    loss, parts, _ = alignment_loss(
        wide, pixels(1), symbols, torch.full((1, 8, 2), math.nan), AlignRecipe(), torch.Generator()
    )
    assert float(parts["ctc"]) == 0 and torch.isfinite(loss)


# --- files ------------------------------------------------------------------------------------------------------------


def saved(folder, half=False):
    save_glyph(folder / "model", build(), ABC, CONFIG, {"name": "test"}, half)
    return folder / "model"


def config_of(folder) -> DualConfig:
    return GlyphDualConfig(model=str(folder))


def test_round_trip(tmp_path, dual):
    state = torch.get_rng_state()
    loaded = load_dual(config_of(saved(tmp_path)))
    assert torch.equal(torch.get_rng_state(), state)
    assert (loaded.charset, loaded.config, loaded.dim) == (ABC, CONFIG, 16)
    assert torch.equal(loaded.encode_text(["ab"])[0], dual.encode_text(["ab"])[0])
    torch.testing.assert_close(loaded.encode_image(pixels(2)), dual.encode_image(pixels(2)), atol=1e-6, rtol=1e-6)
    assert not loaded.model.training


def test_round_trip_in_half(tmp_path, dual):
    folder = saved(tmp_path, half=True)
    loaded = load_glyph(config_of(folder))
    text, image = loaded.encode_text(["ab"])[0], loaded.encode_image(pixels(2))
    assert text.dtype == image.dtype == torch.float32
    torch.testing.assert_close(text, dual.encode_text(["ab"])[0], atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(image, dual.encode_image(pixels(2)), atol=2e-2, rtol=2e-2)
    assert not torch.equal(text, dual.encode_text(["ab"])[0])
    whole = saved(tmp_path / "whole")
    assert (folder / "model.safetensors").stat().st_size < 0.6 * (whole / "model.safetensors").stat().st_size


def test_fingerprint_follows_the_weights(tmp_path):
    first, again = (load_glyph(config_of(saved(tmp_path / name))).fingerprint for name in ("a", "b"))
    save_glyph(tmp_path / "c", build(1), ABC, CONFIG, {})
    assert first == again != load_glyph(config_of(tmp_path / "c")).fingerprint


def test_build_resolves_the_charset():
    model, charset = build_glyph(CONFIG.model_copy(update={"charset": "36"}))
    assert charset == resolve_charset("36") and model.text.symbols.num_embeddings == 38


def edit(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_config(folder):
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes()[:-20])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "config.json").unlink(), ["neither a shipped name nor", "dptr align"]),
        (lambda folder: (folder / "config.json").write_text("[1]"), ["config.json", "damaged"]),
        (cut_config, ["config.json", "not valid JSON"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["model.safetensors"]),
        (cut, ["model.safetensors", "not a whole safetensors file"]),
        (edit(kind="recognizer"), ["kind 'recognizer'", "dptr align"]),
        (edit(format=99), ["format 99", "format 1"]),
        (edit(glyph={"dim": 24, "width": 3}), ["config.json", "width"]),
        (edit(glyph=7), ["config.json"]),
        (edit(charset={"name": "abc"}), ["config.json", "characters"]),
        (edit(charset={"name": "abc", "characters": "aa"}), ["'a' appears twice"]),
        (edit(charset={"name": "abc", "characters": "abc"}), ["text.symbols.weight", "(4, 16)", "(5, 16)"]),
        (edit(glyph=CONFIG.model_copy(update={"dim": 24}).model_dump(mode="json")), ["16", "24"]),
    ],
)
def test_damaged_files_are_refused_in_a_line(tmp_path, damage, named):
    folder = saved(tmp_path)
    damage(folder)
    with pytest.raises(UserError) as caught:
        load_glyph(config_of(folder))
    message = str(caught.value)
    assert all(part in message for part in [*named, str(folder)]) and "\n" not in message


def test_calibrated_text_tokens_are_as_long_as_slots():
    model = build()
    generator = torch.Generator().manual_seed(0)
    symbols = torch.randint(4, (50, 4), generator=generator)
    noise = torch.randn(50, 4, 16, generator=generator)
    text = model.text(symbols)
    across = noise - (noise * text).sum((2,), keepdim=True) / text.square().sum(2, keepdim=True) * text
    slots = 0.4 * text + across
    fitted = calibrated(model, slots, symbols)
    torch.testing.assert_close(fitted.text(symbols), 0.4 * text)
    torch.testing.assert_close(fitted.slot_logits(slots), model.slot_logits(slots))
    assert torch.equal(model.text(symbols), text)
    for name, tensor in fitted.slots.state_dict().items():
        assert torch.equal(tensor, model.slots.state_dict()[name]), name
