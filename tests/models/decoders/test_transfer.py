"""Every decoder from stage 1 to stage 2: what moves with its character, what moves as it is, what stays fresh."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_reference import loud

from dptr.config.model import DecoderConfig, FMUConfig, ModelConfig, SVTRConfig
from dptr.models.checkpoint import open_checkpoint, save_checkpoint, transfer
from dptr.models.decoders import DECODERS
from dptr.models.recognizer import Recognizer, build_decoder, build_recognizer
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

OLD = Charset("old", tuple("abcΩ"))


@pytest.fixture(params=DECODERS)
def config(request) -> ModelConfig:
    return ModelConfig(
        encoder=SVTRConfig(size="nano", height=16, width=32),
        fmu=FMUConfig(queries=6, heads=2),
        decoder=DecoderConfig.of(kind=request.param, dim=16, depth=1, heads=2),
        max_length=5,
    )


def stage_one(config: ModelConfig, folder: Path):
    """A stage 1 decoder with nothing at its initial value, and its checkpoint."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = loud(build_decoder(config, len(OLD)), 0, 0.3).eval()
    save_checkpoint(folder, "decoder", decoder, config, OLD, {"name": "glyph"}, {})
    return decoder, open_checkpoint(folder)


def recognizer(config: ModelConfig, charset: Charset) -> Recognizer:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return loud(build_recognizer(config, len(charset)), 1, 0.3).eval()


@pytest.mark.parametrize("characters", ["abcΩ", "Ωcab", "xaybcΩz", "cΩ", "xyz"])
def test_rows_move_with_their_character_and_the_rest_as_it_is(tmp_path, config, characters):
    """All but the rows of new characters comes from stage 1; encoder and FMU are left alone."""
    charset = Charset("new", tuple(characters))
    source, checkpoint = stage_one(config, tmp_path / "stage1")
    model, before = recognizer(config, charset), recognizer(config, charset).state_dict()
    fresh, fitted = transfer(model.decoder, checkpoint, charset)
    assert fitted == []
    assert fresh == [character for character in characters if character not in OLD.characters]
    per_character, old = model.decoder.per_character(), source.state_dict()
    names = {chars: ["EOS", *chars.characters, "BOS", "PAD"] for chars in (OLD, charset)}
    for name, tensor in model.state_dict().items():
        part, _, inner = name.partition(".")
        if part != "decoder":
            assert torch.equal(tensor, before[name]), name
        elif inner not in per_character:
            assert torch.equal(tensor, old[inner]) and not torch.equal(tensor, before[name]), name
        else:
            rows = dict(zip(names[OLD], old[inner], strict=False))
            for row, symbol in enumerate(names[charset][: len(tensor)]):
                assert torch.equal(tensor[row], before[name][row] if symbol in fresh else rows[symbol]), (name, symbol)


@torch.no_grad()
def test_a_reordered_charset_reads_the_same(tmp_path, config):
    charset = Charset("new", tuple("Ωcab"))
    source, checkpoint = stage_one(config, tmp_path / "stage1")
    decoder = recognizer(config, charset).decoder
    transfer(decoder, checkpoint, charset)
    memory = 3 * torch.randn(32, 6, 16, generator=torch.Generator().manual_seed(2))
    words = [
        [word.text for word in Tokenizer(each, 5).decode(part.decode(memory, None).softmax(-1).numpy())]
        for each, part in ((OLD, source), (charset, decoder))
    ]
    assert words[0] == words[1]
    assert len(set(words[0])) > 4
