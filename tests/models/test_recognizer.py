"""Encoder, FMU and decoder put together, and parts that do not fit."""

from __future__ import annotations

import math
from importlib.util import find_spec

import pytest
import torch
from helpers_reference import loud

from dptr.config.model import DecoderConfig, EncoderConfig, FMUConfig, ModelConfig, TowerConfig
from dptr.models.decoders import DECODERS
from dptr.models.decoders.parseq import PARSeq
from dptr.models.recognizer import ENCODERS, Recognizer, build_encoder, build_recognizer
from dptr.text.charset import resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError

SMALL = {"svtr": {"size": "nano"}, "vit": {"size": "tiny"}, "ppocr": {"max_width": 0}}
TOWER = TowerConfig(
    vision={
        "model_type": "clip_vision_model", "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
    },
    projection=20,
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.3, 0.4),
)  # fmt: skip
KINDS = [kind for kind in ENCODERS if kind != "clip-vision" or find_spec("transformers")]
TOKENIZER = Tokenizer(resolve_charset("36"), 5)


def config(kind: str = "svtr", queries: int = 6, dim: int = 16, heads: int = 2, decoder: str = "parseq") -> ModelConfig:
    own = {"tower": TOWER} if kind == "clip-vision" else SMALL[kind]
    return ModelConfig(
        encoder=EncoderConfig.of(kind=kind, height=16, width=32, **own),
        fmu=FMUConfig(queries=queries, heads=2),
        decoder=DecoderConfig.of(kind=decoder, dim=dim, depth=1, heads=heads, dropout=0.0),
        charset="36",
        max_length=5,
    )


def build(model: ModelConfig, seed: int = 0) -> Recognizer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        scale = 0.02 if model.encoder.kind == "ppocr" else 0.1  # without batch norms, more saturates its hard sigmoids
        return loud(build_recognizer(model, 36), seed, scale)


def pixels(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 16, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_parts_follow_each_other(kind):
    model = build(config(kind)).eval()
    tokens = model.encoder(pixels(3))
    assert tokens.shape == (3, model.encoder.leading + math.prod(model.encoder.grid), model.encoder.dim)
    memory = model.fmu(tokens, model.encoder.grid)
    assert memory.shape == (3, 6, 16)
    assert torch.equal(model(pixels(3)), model.decoder.decode(memory, None))
    targets = torch.from_numpy(TOKENIZER.encode(["ab", "c", "12345"]))
    draw = [torch.Generator().manual_seed(2) for _ in range(2)]
    assert torch.equal(model.loss(pixels(3), targets, draw[0]), model.decoder.loss(memory, None, targets, draw[1]))


@torch.no_grad()
def test_without_an_fmu_the_decoder_sees_the_image_tokens():
    model = build(config(queries=0, dim=128)).eval()
    assert model.fmu is None
    assert torch.equal(model.memory(pixels(2)), model.encoder(pixels(2)))
    assert torch.equal(model(pixels(2)), model.decoder.decode(model.encoder(pixels(2)), None))


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reaches_every_parameter(kind):
    model = build(config(kind))
    targets = torch.from_numpy(TOKENIZER.encode(["ab", "c", "12345"]))
    model.loss(pixels(3), targets, torch.Generator().manual_seed(2)).backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_one_crop_alone_equals_the_crop_in_a_batch(kind):
    model = build(config(kind)).eval()
    together = TOKENIZER.decode(model(pixels(12)).softmax(-1).numpy())
    assert len({word.text for word in together}) > 1
    for crop, word in zip(pixels(12), together, strict=True):
        alone = TOKENIZER.decode(model(crop[None]).softmax(-1).numpy())[0]
        assert alone.text == word.text
        assert alone.confidence == pytest.approx(word.confidence, rel=1e-3)


def test_the_default_generator_draws_the_weights():
    def drawn(seed: int) -> dict[str, torch.Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build_recognizer(config(), 36).state_dict()

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn_ones = [name for name in first if name.endswith("weight") and first[name].ndim > 1]
    assert drawn_ones and not any(torch.equal(first[name], other[name]) for name in drawn_ones)


class Greedy(PARSeq):
    """A decoder that needs two memory tokens for each character, as CTC on the memory itself would."""

    def min_memory(self, max_length: int) -> int:
        return 2 * max_length - 1


@pytest.fixture
def greedy(monkeypatch):
    def make(config: DecoderConfig, characters: int, max_length: int) -> Greedy:
        return Greedy(characters, max_length, config.dim, config.depth, config.heads)

    monkeypatch.setitem(DECODERS, "greedy", make)


@pytest.mark.usefixtures("greedy")
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"queries": 8, "decoder": "greedy"}, ["fmu.queries = 8", "'greedy' needs 9", "model.fmu.queries=9"]),
        ({"queries": 0, "decoder": "greedy", "dim": 128}, ["8 image tokens", "'greedy' needs 9"]),
        ({"queries": 0, "dim": 16}, ["encoder width 128, decoder width 16", "model.decoder.dim=128"]),
        ({"decoder": "parsec"}, ["'parsec'", "parseq"]),
        ({"heads": 3}, ["decoder: ", "16", "3 heads"]),
    ],
)
def test_parts_that_do_not_fit_are_refused(settings, named):
    with pytest.raises(UserError) as caught:
        build_recognizer(config(**settings), 36)
    message = str(caught.value)
    assert all(part in message for part in named) and "\n" not in message


@pytest.mark.usefixtures("greedy")
def test_just_enough_memory_is_enough():
    assert build_recognizer(config(queries=9, decoder="greedy"), 36)(pixels(1)).shape[2] == 37
    bare = config(queries=0, dim=128, decoder="greedy")
    bare = bare.model_copy(update={"encoder": bare.encoder.model_copy(update={"width": 36})})
    assert build_recognizer(bare, 36).encoder.grid == (1, 9)


def test_fmu_heads_must_divide_the_width():
    whole = config()
    with pytest.raises(UserError, match=r"fmu: .*16.*3"):
        build_recognizer(whole.model_copy(update={"fmu": FMUConfig(queries=6, heads=3)}), 36)


@pytest.mark.parametrize(
    ("encoder", "named"),
    [
        ({"kind": "vitt"}, ["encoder.kind = 'vitt'", "vit, svtr"]),
        ({"kind": "svtr", "size": "nano", "height": 24}, ["encoder: ", "24x128"]),
        ({"kind": "vit", "size": "tiny", "width": 100}, ["encoder: ", "32x100"]),
        ({"kind": "clip-vision"}, ["without the settings of a tower", "model.encoder.model"]),
    ],
)
def test_encoders_that_cannot_be_are_refused(encoder, named):
    with pytest.raises(UserError) as caught:
        build_encoder(EncoderConfig.of(**encoder))
    assert all(part in str(caught.value) for part in named) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "encoder",
    [
        {"kind": "vit", "size": "tiny", "height": 16, "width": 32},  # four rows of patches
        {"kind": "svtr", "size": "nano", "height": 32, "width": 128, "sizes": [[48, 96]]},
    ],
)
def test_a_path_is_one_row_of_tokens(encoder: dict) -> None:
    """CTC would read the second row behind the first."""
    built = EncoderConfig.of(**encoder)
    decoder = DecoderConfig.of(kind="ctc", path="tokens", dim=build_encoder(built).dim)
    with pytest.raises(UserError, match=r"path is one row of image tokens.*set model.encoder.kind=ppocr"):
        build_recognizer(ModelConfig(encoder=built, decoder=decoder, fmu=FMUConfig(queries=0), max_length=5), 3)
