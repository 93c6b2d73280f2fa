from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_clip import make_tiny_clip
from helpers_train import Parts, contents, records
from torch import Tensor

from dptr.config.model import GlyphDualConfig
from dptr.config.train import ORPConfig
from dptr.dual.glyph.model import load_glyph
from dptr.dual.orp.bank import load_bank
from dptr.dual.orp.perturb import perturb
from dptr.models.checkpoint import open_checkpoint, transfer
from dptr.models.recognizer import build_decoder
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.rules import is_heldout
from dptr.text.tokenizer import Tokenizer
from dptr.training.pretrain import make_perturbation, open_bank, pretrain, spelling_accuracy, validation_words
from dptr.training.resolve import resolve_pretrain
from dptr.training.trainer import step_generator
from dptr.utils.errors import UserError
from dptr.utils.files import read_json

RANDOM_STRINGS = 'corpus.sources=[{kind="pattern", patterns=["random"]}]'


def glyph_of(parts: Parts) -> Any:
    return load_glyph(GlyphDualConfig(model=str(parts.folder / "glyph")))


def test_stage_1_learns_to_spell(parts: Parts, tmp_path: Path) -> None:
    """Planted: tokens that say which character stands where. Words never trained on are spelled rightly, from the
    checkpoint alone, and from another word's tokens it is that other word that is read."""
    (tmp_path / "letters.txt").write_text("abcdef")
    recipe = parts.recipe(
        "pretrain", f"model.charset={tmp_path / 'letters.txt'}", "model.max_length=4", RANDOM_STRINGS, "run.steps=150",
        "run.batch_size=32", "run.validate_every=75", "run.save_every=1000", "optim.lr=2e-2", "optim.ema_decay=0",
        "model.decoder.dropout=0",
    )  # fmt: skip
    model = pretrain(recipe, tmp_path / "run")
    charset = resolve_charset(recipe.model.charset)
    decoder = build_decoder(recipe.model, len(charset))
    tokenizer, dual = Tokenizer(charset, 4), glyph_of(parts)
    words = [word for word in validation_words(recipe, charset)["held_out_words"] if len(word) == 4]
    assert len(words) > 5 and all(is_heldout(word, 0.3) for word in words)
    decoder.eval().requires_grad_(False)
    assert spelling_accuracy(decoder, dual.encode_text, tokenizer, words) < 0.2
    transfer(decoder, open_checkpoint(model), charset)
    assert spelling_accuracy(decoder, dual.encode_text, tokenizer, words) == 1.0
    assert (
        spelling_accuracy(decoder, lambda some: dual.encode_text([word[::-1] for word in some]), tokenizer, words) < 0.3
    )
    scores = read_json(model / "card.json", "card")["results"]
    assert {score["data"]: score["word_accuracy"] for score in scores} == {"held_out_words": 1.0, "random_strings": 1.0}
    losses = [record["loss"] for record in records(tmp_path / "run") if "loss" in record]
    assert sum(losses[-10:]) / 10 < 0.2 * losses[0]


@pytest.mark.parametrize("strength", [0.0, 0.4])
def test_the_first_loss_is_what_the_hand_computes(strength: float, parts: Parts, tmp_path: Path) -> None:
    recipe = parts.recipe(
        "pretrain", f"orp.strength={strength}", "run.steps=1", "bucket=1", "orp.positions=shared", "decomposition="
    )
    pretrain(recipe, tmp_path / "run")
    charset = resolve_charset("36")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = build_decoder(recipe.model, len(charset))
    corpus = Corpus(recipe.corpus, charset, 5, 0)
    words = [corpus.word(index) for index in range(4)]
    dual = glyph_of(parts)
    with step_generator(0, 0) as generator:
        memory, mask = dual.encode_text(words)
        if strength:
            memory = perturb(memory, mask, load_bank(recipe.orp.bank), strength, generator, "shared")
        loss = decoder.loss(memory, mask, torch.from_numpy(Tokenizer(charset, 5).encode(words)), generator)
    assert records(tmp_path / "run")[0] == {"step": 1, "loss": loss.item()}


def test_photographs_without_replacement_need_a_bank_as_large_as_a_batch(parts: Parts) -> None:
    bank = open_bank(ORPConfig(bank=str(parts.folder / "bank.safetensors")), glyph_of(parts))
    config = ORPConfig(bank="photographs", replacement=False)
    make_perturbation(config, bank, 120)
    with pytest.raises(UserError, match=r"bank photographs holds 120 images, fewer than run.batch_size = 121"):
        make_perturbation(config, bank, 121)
    symbols = parts.recipe("pretrain", "orp.replacement=false", "orp.positions=symbols")
    with pytest.raises(UserError, match="each token draws a residual of its own"):
        resolve_pretrain(symbols)


def test_without_orp_no_bank_is_looked_for(parts: Parts) -> None:
    dual = glyph_of(parts)
    assert open_bank(ORPConfig(strength=0, bank="nowhere"), dual) is None
    found = open_bank(ORPConfig(bank=str(parts.folder / "bank.safetensors")), dual)
    assert found is not None and len(found.tokens) == 120


def test_a_missing_bank_is_named_with_the_command_that_makes_it(parts: Parts, tmp_path: Path) -> None:
    tower = parts.folder / "glyph"
    for bank in ("nowhere", "photographs"):
        with pytest.raises(UserError) as caught:
            pretrain(parts.recipe("pretrain", f"orp.bank={bank}"), tmp_path / "run")
        assert str(caught.value) == (
            f"orp.bank = '{bank}': neither a file nor {tower / bank}.safetensors, and orp.strength is 0.1; make one "
            f"with 'dptr bank --images PHOTOGRAPHS --dual glyph --model {tower} -o FILE' and pass "
            "--set orp.bank=FILE, or switch ORP off with --set orp.strength=0"
        )
    assert not (tmp_path / "run").exists()


def test_a_bank_beside_the_dual_encoder_is_found(parts: Parts, tmp_path: Path) -> None:
    tower = tmp_path / "tower"
    tower.mkdir()
    for name in ("config.json", "card.json", "model.safetensors"):
        (tower / name).symlink_to(parts.folder / "glyph" / name)
    for name in ("photographs", "residuals"):
        (tower / f"{name}.safetensors").symlink_to(parts.folder / "bank.safetensors")
    for config in (ORPConfig(), ORPConfig(bank="residuals", positions="aligned")):
        found = open_bank(config, load_glyph(GlyphDualConfig(model=str(tower))))
        assert found is not None and len(found.tokens) == 120


def test_widths_must_agree(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^decoder width 32, tokens of .* 16: .*; set model\.decoder\.dim=16$"):
        pretrain(parts.recipe("pretrain", "model.decoder.dim=32"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Deaf:
    """A dual encoder whose text side lower-cases, as CLIP's does."""

    kind, name, dim, fingerprint, image_size = "glyph", "deaf", 16, "ff", (16, 32)

    def to(self, device: object) -> Deaf:
        return self

    def encode_text(self, words: list[str]) -> tuple[Tensor, Tensor]:
        symbols = torch.tensor([[ord(sign) for sign in word.lower().ljust(5)] for word in words])
        return torch.sin(symbols[..., None] * torch.arange(1.0, 17.0)), symbols != ord(" ")

    def encode_image(self, pixels: Tensor) -> Tensor:
        raise AssertionError("stage 1 sees no image")


@pytest.mark.parametrize(("charset", "deaf", "warned"), [("62", True, True), ("36", True, False), ("62", False, False)])
def test_a_text_side_that_cannot_tell_case_is_warned_about(
    charset: str, deaf: bool, warned: bool, parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = parts.recipe("pretrain", f'model.charset="{charset}"', "orp.strength=0", "run.steps=1", "corpus.upper=0",
                          "corpus.title=0", "corpus.mixed=0", "corpus.punctuation=0")  # fmt: skip
    dual: Any = Deaf()
    if not deaf:
        dual.encode_text = lambda words: (
            torch.tensor([[[float(ord(sign))] * 16 for sign in word.ljust(5)] for word in words]),
            torch.ones(len(words), 5, dtype=torch.bool),
        )
    pretrain(recipe, tmp_path / "run", dual=dual)
    said = capsys.readouterr().err
    assert ("warning: this dual encoder's text side does not tell 'A' from 'a'" in said) == warned


def test_the_checkpoint_names_its_teacher_and_leaves_it_out(parts: Parts, tmp_path: Path) -> None:
    model = pretrain(parts.recipe("pretrain", "run.steps=1"), tmp_path / "run")
    checkpoint = open_checkpoint(model)
    tower = str(parts.folder / "glyph")
    assert checkpoint.dual == {"kind": "glyph", "name": tower, "fingerprint": glyph_of(parts).fingerprint}
    assert checkpoint.kind == "decoder"
    assert all(name.startswith("decoder.") for name in checkpoint.tensors)
    assert not any(name.endswith((".pt", ".pth", ".bin", ".pkl")) for name in contents(tmp_path / "run"))


def test_nothing_held_out_leaves_random_strings_to_validate_on(parts: Parts) -> None:
    nothing = parts.recipe("pretrain", "corpus.heldout=0")
    assert list(validation_words(nothing, resolve_charset("36"))) == ["random_strings"]
    words = validation_words(parts.recipe("pretrain"), resolve_charset("36"))
    assert all(len(set(some)) == len(some) > 0 for some in words.values())
    assert all(is_heldout(word, 0.3) for word in words["held_out_words"])


def test_text_tokens_on_disk_change_losses_by_rounding_alone(parts: Parts, tmp_path: Path) -> None:
    """Those of a first run with the folder, which fills it, are to the bit those of a second, which finds it full."""
    tower = make_tiny_clip(tmp_path / "clip", width=16)
    settings = ["dual.kind=clip", f"dual.model={tower}", "orp.strength=0", "run.tensorboard=false"]
    losses: dict[str, list[float]] = {}
    for name in ("plain", "first", "second"):
        cache = [] if name == "plain" else [f"dual.cache={tmp_path / 'cache'}"]
        recipe = parts.recipe("pretrain", *settings, *cache)
        pretrain(recipe, tmp_path / name)
        losses[name] = [record["loss"] for record in records(tmp_path / name) if "loss" in record]
    assert len(set(losses["plain"])) == 12
    assert losses["first"] == losses["second"] == pytest.approx(losses["plain"], rel=1e-3)
    assert losses["first"] != losses["plain"]
