from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_train import VALIDATION, Parts, initialized, records, resolved_recipe
from torch import Tensor

from dptr.config.load import load_recipe
from dptr.config.model import GlyphDualConfig, PARSeqConfig
from dptr.config.train import AlignRecipe, CoTrainingConfig, FinetuneRecipe
from dptr.dual.glyph.model import GlyphModel, build_glyph, load_glyph, slot_symbols
from dptr.models.checkpoint import load_recognizer, open_checkpoint
from dptr.models.decoders import Decoder
from dptr.models.recognizer import build_recognizer
from dptr.synth.source import RenderedWords
from dptr.text.charset import Charset, resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.training.align import AlignTask, align
from dptr.training.co_training import build_co_trained_decoder, co_training_losses, decoder_accuracy, has_co_training
from dptr.training.resolve import resolve_align
from dptr.training.sources import draw, rendered_words
from dptr.utils.errors import UserError
from dptr.utils.files import read_json

PLAIN = PARSeqConfig(depth=1, heads=2, dropout=0.0, permutations=1)  # one order: its loss draws nothing


def both(parts: Parts, teach: CoTrainingConfig) -> tuple[GlyphModel, Decoder, Charset]:
    teach = teach.model_copy(update={"decoder": teach.decoder.model_copy(update={"dim": 16})})
    recipe = parts.recipe("align").model_copy(update={"co_training": teach})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, charset = build_glyph(recipe.glyph)
        decoder = build_co_trained_decoder(recipe, charset, None)
    assert decoder is not None
    return model, decoder, charset


def lessons(charset: Charset, words: list[str]) -> tuple[Tensor, Tensor]:
    index = {character: place + 1 for place, character in enumerate(charset.characters)}
    return slot_symbols(words, index, 5), torch.from_numpy(Tokenizer(charset, 5).encode(words))


def fitted(slots: Tensor, text: Tensor) -> Tensor:
    """The factor on text tokens that brings them nearest to the slots."""
    return torch.linalg.lstsq(text.detach().reshape(-1, 1), slots.detach().reshape(-1, 1)).solution.squeeze()


def test_words_to_spell_are_others_than_those_of_the_crops(parts: Parts) -> None:
    model, decoder, charset = both(parts, CoTrainingConfig(text=1, images=1, decoder=PLAIN))
    recipe = resolve_align(parts.recipe("align", "co_training.text=1")).recipe
    source, _, _ = rendered_words(recipe.corpus, recipe.render, recipe.glyph.encoder, charset, 5, recipe.run.seed, "")
    assert isinstance(source, RenderedWords)
    task = AlignTask(recipe, "run", charset, model, decoder, source, draw(source, 1), torch.device("cpu"))
    assert sum(task.corpus.word(index) == source.word(index) for index in range(200)) < 100


def test_a_word_with_its_own_residuals_is_its_crop(parts: Parts) -> None:
    """Each symbol stands in one slot only, so the one residual there is is its own."""
    teach = CoTrainingConfig(text=1, images=1, residuals=1, decoder=PLAIN)
    model, decoder, charset = both(parts, teach)
    symbols, targets = lessons(charset, ["cabde"])
    slots = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(0))
    losses = co_training_losses(
        decoder, model.text, slots, symbols, targets, symbols, targets, teach, torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(losses["text"], losses["images"])
    assert losses["text"] != decoder.loss(model.text(symbols), None, targets, torch.Generator())


def test_losses_are_the_decoders_own(parts: Parts) -> None:
    words, others = ["cab", "dab", "ab"], ["fade", "bead"]
    slots = torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for text, images in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        teach = CoTrainingConfig(text=text, images=images, decoder=PLAIN)
        model, decoder, charset = both(parts, teach)
        symbols, targets = lessons(charset, words)
        other_symbols, other_targets = lessons(charset, others)
        losses = co_training_losses(
            decoder, model.text, slots, symbols, targets, other_symbols, other_targets, teach, torch.Generator()
        )
        assert losses.keys() == {name for name, weight in (("text", text), ("images", images)) if weight}
        if text:
            scaled = fitted(slots, model.text(symbols)) * model.text(other_symbols)
            expected = decoder.loss(scaled, None, other_targets, torch.Generator())
            torch.testing.assert_close(losses["text"], expected)
            gradients = torch.autograd.grad(losses["text"], [slots, *model.parameters()], allow_unused=True)
            assert all(gradient is None for gradient in gradients)
        if images:
            torch.testing.assert_close(losses["images"], decoder.loss(slots, None, targets, torch.Generator()))
            assert torch.autograd.grad(losses["images"], slots)[0].abs().sum() > 0


def test_residuals_are_those_of_slots_of_the_same_symbol(parts: Parts) -> None:
    teach = CoTrainingConfig(text=1, residuals=0.5, decoder=PLAIN)
    model, decoder, charset = both(parts, teach)
    symbols, targets = lessons(charset, ["cab", "dab", "ab"])
    words, word_targets = lessons(charset, ["bazd"] * 40)
    slots = torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(0))
    seen = []

    def loss(memory: Tensor, mask: None, targets: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(memory)
        return memory.sum()

    decoder.loss = loss  # type: ignore[method-assign]
    co_training_losses(
        decoder, model.text, slots, symbols, targets, words, word_targets, teach, torch.Generator().manual_seed(1)
    )
    factor = fitted(slots, model.text(symbols))
    off = 0.5 * (slots - factor * model.text(symbols))
    moved = seen[0] - factor * model.text(words)
    distances = (moved[:, :, None] - off.flatten(0, 1)).abs().amax(-1)  # words, slots, rows of the batch
    assert (distances.min(-1).values < 1e-5).all()
    lent = symbols.flatten()[distances.argmin(-1)]  # the symbol whose residual each token got
    same = words != words[0, 2]
    assert (lent == words)[same].all()
    letters = set(symbols[symbols < symbols[0, 4]].tolist()) - {0}
    assert set(lent[~same].tolist()) == letters  # no slot of the batch shows z
    assert len(set(distances.argmin(-1)[:, 0].tolist())) == 3  # b is shown three times


def test_neither_is_no_decoder(parts: Parts) -> None:
    recipe = parts.recipe("align")
    assert not has_co_training(recipe.co_training)
    assert build_co_trained_decoder(recipe, resolve_charset("36"), None) is None


def test_a_taught_decoder_goes_on_in_stage_2(parts: Parts, tmp_path: Path) -> None:
    recipe: AlignRecipe = parts.recipe("teach", "optim.ema_decay=0", "optim.lr=1e-2", "run.validate_every=1")
    align(recipe, tmp_path / "run")
    validated = [line for line in records(tmp_path / "run") if "validation_read" in line]
    (best,) = read_json(tmp_path / "run" / "model" / "card.json", "card")["results"]
    assert (best["read"], best["word_accuracy"], best["slot_accuracy"]) == max(
        (line["validation_read"], line["validation_word_accuracy"], line["validation_slot_accuracy"])
        for line in validated
    )
    glyph = load_glyph(GlyphDualConfig(model=str(tmp_path / "run" / "model")))
    checkpoint = open_checkpoint(tmp_path / "run" / "decoder")
    assert (checkpoint.kind, checkpoint.dual["fingerprint"]) == ("decoder", glyph.fingerprint)
    with pytest.raises(UserError, match="a stage 1 decoder"):
        load_recognizer(tmp_path / "run" / "decoder")
    start = [f"init.glyph={tmp_path / 'run' / 'model'}", f"init.decoder={tmp_path / 'run' / 'decoder'}"]
    stage2, charset = resolved_recipe(load_recipe(FinetuneRecipe, None, start))
    model = build_recognizer(stage2.model, len(charset)).eval()
    messages = initialized(model, stage2, charset)
    assert not any(line.startswith("fresh") for line in messages)
    _, unseen, _ = rendered_words(recipe.corpus, recipe.render, recipe.glyph.encoder, charset, 5, 0, "")
    tokenizer, crops = Tokenizer(charset, 5), draw(unseen(), VALIDATION)
    with torch.no_grad():
        scored = decoder_accuracy(glyph.model, model.decoder, tokenizer, crops, torch.device("cpu"))
    assert scored == best["read"]


def test_learning_to_read_crops_alone(parts: Parts, tmp_path: Path) -> None:
    """The control: no text token is met, and the loss of reading falls."""
    recipe = parts.recipe(
        "teach", "co_training.text=0", "spell=0", "cosine=0", "run.steps=40", "run.batch_size=8", "optim.lr=1e-2",
        "run.validate_every=100",
    )  # fmt: skip
    align(recipe, tmp_path / "run")
    log = [line for line in records(tmp_path / "run") if "loss" in line]
    images = [line["images"] for line in log]
    assert sum(images[-5:]) < 0.8 * sum(images[:5])
    assert "text" not in log[0]
    for line in log[:3]:
        parts_ = 0.5 * line["ctc"] + line["columns"] + 0.5 * line["attention"] + 0.3 * line["counting"]
        assert line["loss"] == pytest.approx(parts_ + line["images"], rel=1e-4)


def test_a_start_must_know_all_characters(parts: Parts) -> None:
    recipe = parts.recipe(
        "teach", f"init.decoder={parts.folder / 'decoder'}", 'glyph.charset="94"', "co_training.decoder.dropout=0.1"
    )
    with pytest.raises(UserError, match=r"its charset lacks .*; pre-train a decoder with"):
        resolve_align(recipe)
    longer = parts.recipe("teach", f"init.decoder={parts.folder / 'decoder'}", "glyph.max_length=9")
    with pytest.raises(UserError, match=r"its max_length is 5, not glyph\.max_length = 9; set that, or pre-train"):
        resolve_align(longer)
    same = parts.recipe("teach", f"init.decoder={parts.folder / 'decoder'}")
    resolved = resolve_align(same)
    decoder = build_co_trained_decoder(resolved.recipe, resolved.charset, resolved.parts.decoder)
    assert decoder is not None
    kept = open_checkpoint(parts.folder / "decoder").tensors
    for name, tensor in decoder.state_dict().items():
        assert torch.equal(tensor, kept[f"decoder.{name}"]), name
