"""A word list, rendered: the decoder learns it, the image side is untouched, other words are remembered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_train import DOMAIN, WORDS, Parts, records

from dptr.config.model import ModelConfig
from dptr.config.train import AdaptRecipe
from dptr.data.augment import to_pixels
from dptr.data.sources import Sample
from dptr.models.checkpoint import load_recognizer, open_checkpoint, save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.training import adapt as module
from dptr.training.adapt import Features, FeatureSets, adapt, decoder_accuracy, pad_memory, prepare_features
from dptr.utils.errors import UserError
from dptr.utils.files import read_json
from dptr.utils.tensors import load_tensors


def planted(words: list[str], count: int, seed: int) -> Features:
    """Slots that tell their letter, each in a way of its own place, and some noise: eyes that see."""
    letters = torch.randn(6, 128, 16, generator=torch.Generator().manual_seed(0))
    chosen = [words[row % len(words)] for row in range(count)]
    rows = [[ord(letter) for letter in word.ljust(6)] for word in chosen]
    memory = letters[torch.arange(6), torch.tensor(rows)]
    return Features(
        (memory + 0.2 * torch.randn(memory.shape, generator=torch.Generator().manual_seed(seed))).half(), chosen
    )


def test_the_decoder_learns_the_words_and_nothing_else_changes(parts: Parts, tmp_path: Path, monkeypatch) -> None:
    features = FeatureSets(
        planted(DOMAIN, 64, 1), planted(WORDS[:9], 64, 2), planted(DOMAIN, 24, 3), planted(WORDS, 36, 4)
    )
    monkeypatch.setattr(module, "prepare_features", lambda *arguments: (features, []))
    recipe = parts.recipe(
        "adapt", "run.steps=150", "run.batch_size=16", "run.validate_every=50", "run.save_every=1000", "optim.lr=1e-2",
        "optim.ema_decay=0", "max_accuracy_loss=1",
    )  # fmt: skip
    out = adapt(recipe, tmp_path / "run")
    log = [line for line in records(tmp_path / "run") if "validation_domain" in line]
    assert log[0]["step"] == 0 and log[0]["validation_domain"] == 0
    assert max(line["validation_domain"] for line in log) > 0.5  # pictures that were not trained on
    before, after = (open_checkpoint(folder) for folder in (parts.folder / "recognizer", out))
    changed = {name for name, tensor in after.tensors.items() if not torch.equal(tensor, before.tensors[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)
    assert after.config == before.config and after.charset == before.charset


def test_the_memory_is_what_the_image_side_makes_of_the_pictures(parts: Parts) -> None:
    """Seen once and kept as float16, in the order of the words."""
    recipe = parts.recipe("adapt")
    loaded = load_recognizer(recipe.init.model)
    features, notes = prepare_features(recipe, loaded)
    assert set(features.domain_training.words) <= set(DOMAIN) and set(features.domain_validation.words) <= set(DOMAIN)
    assert set(features.language_training.words) <= set(WORDS) and not set(features.language_validation.words) & set(
        features.language_training.words
    )
    assert (len(features.domain_training.words), len(features.language_training.words)) == (12, 16)
    assert any("12 pictures of them, 16 of others" in note for note in notes)
    source = module.rendered_words(
        recipe.corpus, recipe.render, loaded.config.encoder, loaded.tokenizer.charset, 5, recipe.run.seed, ""
    )[0]
    for row in (0, 7, 15):
        crop, word, _ = source.sample(row)
        with torch.no_grad():
            memory = loaded.model.eval().memory(to_pixels(crop[None]))
        assert word == features.language_training.words[row]
        torch.testing.assert_close(features.language_training.memory[row].float(), memory[0], atol=2e-3, rtol=2e-3)


def test_crops_of_several_widths_are_seen_as_they_are_alone(parts: Parts) -> None:
    config = open_checkpoint(parts.folder / "recognizer").config.model_dump()
    config["encoder"]["max_width"] = 64
    model = build_recognizer(ModelConfig.model_validate(config), 36).eval()
    rng = np.random.default_rng(0)
    crops = {f"w{i}": rng.integers(0, 256, (16, width, 3), dtype=np.uint8) for i, width in enumerate((32, 64, 32, 64))}

    class Four:
        def sample(self, index: int) -> Sample:
            return crops[f"w{index}"], f"w{index}", np.zeros((2, 2), np.float32)

        def word(self, index: int) -> str:
            return f"w{index}"

    counted: list[int] = []
    seen = module.encode_words(model, Four(), 4, counted.append)
    assert sorted(seen.words) == sorted(crops) and sum(counted) == 4
    for row, word in enumerate(seen.words):
        torch.testing.assert_close(seen.memory[row], module._encode(model, crops[word][None])[0], atol=2e-3, rtol=2e-3)


def test_every_sample_is_shown_once_an_epoch() -> None:
    seen = Features(torch.arange(10)[:, None, None], [str(number) for number in range(10)])
    rows = [row for step in range(10) for row in seen.shuffled_rows(step * 3, 3, seed=5)]
    epochs = [rows[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and epochs[0] != epochs[1]


def test_of_states_that_forget_little_the_one_that_reads_most_is_kept(
    parts: Parts, tmp_path: Path, monkeypatch, capsys
) -> None:
    # domain, others; once at step 0, then for each way of a step
    validations = [
        [(0.2, 0.60)],
        [(0.5, 0.58), (0.3, 0.585), (0.25, 0.60), (0.2, 0.60)],
        [(0.4, 0.595), (0.3, 0.60), (0.4, 0.60), (0.2, 0.60)],
        [(0.6, 0.58), (0.45, 0.592), (0.3, 0.61), (0.2, 0.60)],
        [(0.9, 0.589), (0.6, 0.589), (0.45, 0.61), (0.2, 0.60)],
    ]
    messages = iter([score for step in validations for way in step for score in way])
    monkeypatch.setattr(module, "decoder_accuracy", lambda *arguments: next(messages))
    recipe = parts.recipe("adapt", "run.steps=4", "run.validate_every=1", "max_accuracy_loss=0.01")
    card = read_json(adapt(recipe, tmp_path / "run") / "card.json", "card")
    found = [(result["step"], result["way"], result["word_accuracy"]) for result in card["results"]]
    assert found == [(3, 0.75, 0.45), (3, 0.75, 0.592)]
    assert card["adapted_to"] == ["domain.txt"]
    printed = capsys.readouterr().err
    assert printed.count("not kept: that is more than max_accuracy_loss=0.01 below 60.0%") == 5
    assert "step 3: 75% of the way: reads 45.0%" in printed


def test_confidences_by_precision_of_the_recognizer_before_are_not_passed_on(parts: Parts, tmp_path: Path) -> None:
    """They were measured on its own readings."""
    shutil.copytree(parts.folder / "recognizer", tmp_path / "before")
    card = read_json(tmp_path / "before" / "card.json", "card")
    own = {**card, "thresholds": {"n": 200, "0.99": [0.9, 0.5]}, "confidence": {"exponent": 2.0, "counted_as": ""}}
    (tmp_path / "before" / "card.json").write_text(json.dumps(own))
    recipe = parts.recipe("adapt", f"init.model={json.dumps(str(tmp_path / 'before'))}", "run.steps=1")
    card = read_json(adapt(recipe, tmp_path / "run") / "card.json", "card")
    assert "thresholds" not in card and card["confidence"]["exponent"] == 2


def test_the_decoder_that_is_kept_lies_between_the_one_before_and_the_trained_one(
    parts: Parts, tmp_path: Path, monkeypatch
) -> None:
    messages = iter([0.2, 0.6, 0.5, 0.6, 0.9, 0.6, 0.5, 0.6, 0.4, 0.6])  # three quarters of the way are best
    monkeypatch.setattr(module, "decoder_accuracy", lambda *arguments: next(messages))
    recipe = parts.recipe("adapt", "run.steps=2", "run.validate_every=2", "run.save_every=2", "optim.ema_decay=0")
    out = tmp_path / "run"
    before, kept = load_recognizer(parts.folder / "recognizer").model, load_recognizer(adapt(recipe, out)).model
    last = load_tensors(out / "state" / "step-000000002" / "tensors.safetensors", "state")
    for name, tensor in kept.decoder.state_dict().items():
        first, end = before.decoder.state_dict()[name], last[f"model.decoder.{name}"]
        torch.testing.assert_close(tensor, first + 0.75 * (end - first))
    assert any(
        (tensor - last[f"model.decoder.{name}"]).abs().max() > 1e-6
        for name, tensor in kept.decoder.state_dict().items()
    )


def test_reading_from_memory_is_reading(parts: Parts) -> None:
    """``decoder_accuracy`` counts what the recognizer writes for the pictures themselves."""
    loaded = load_recognizer(parts.folder / "recognizer")
    pixels = torch.rand(5, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        memory = loaded.model.eval().memory(pixels)
        found = loaded.tokenizer.decode(loaded.model(pixels).softmax(-1).numpy())
    words = [one.text for one in found]
    assert decoder_accuracy(loaded.model.decoder, Features(memory, words), loaded.tokenizer) == 1
    assert decoder_accuracy(loaded.model.decoder, Features(memory, ["?", *words[1:]]), loaded.tokenizer) == 0.8


def test_what_cannot_be_adapted_is_refused(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no words; pass --text"):
        adapt(parts.recipe("adapt", "text=[]"), tmp_path / "run")
    (tmp_path / "long.txt").write_text("longerthanfive\n")
    with pytest.raises(UserError, match=r"long\.txt"):
        adapt(parts.recipe("adapt", f'text=["{tmp_path / "long.txt"}"]'), tmp_path / "run")
    with pytest.raises(UserError, match="decoder"):
        adapt(parts.recipe("adapt", f'init.model="{parts.folder / "decoder"}"'), tmp_path / "run")


@pytest.mark.parametrize("decoder", [{"kind": "ctc", "path": "tokens"}, {"kind": "nrtr", "heads": 2}])
def test_memories_of_several_lengths_are_read_as_each_alone(decoder: dict, parts: Parts, tmp_path: Path) -> None:
    """Without an FMU a crop has as many tokens as it is wide; in a batch the shorter ones are padded and masked."""
    checkpoint = open_checkpoint(parts.folder / "recognizer")
    config = checkpoint.config.model_dump()
    config["fmu"]["queries"], config["encoder"]["max_width"] = 0, 64
    config["decoder"] = {"dim": 128, "depth": 1, "dropout": 0.0, **decoder}
    wide, charset = ModelConfig.model_validate(config), checkpoint.charset
    model = build_recognizer(wide, len(charset))
    save_checkpoint(tmp_path / "wide", "recognizer", model, wide, charset, {}, {})
    generator = torch.Generator().manual_seed(0)
    memories = [torch.randn(length, 128, generator=generator) for length in (8, 16, 12, 16)]
    tokenizer = Tokenizer(charset, 5)
    targets = torch.from_numpy(tokenizer.encode(["ab", "c", "cab", ""]))
    loss = module.AdaptObjective(model.decoder.eval())
    padded, mask = pad_memory(memories, torch.device("cpu"))
    together = loss(padded, targets, generator, mask)["loss"] * model.decoder.term_count(targets)
    alone = [
        loss(memory[None], row[None], generator)["loss"] * model.decoder.term_count(row[None])
        for memory, row in zip(memories, targets, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone).sum())
    adapted = adapt(parts.recipe("adapt", f'init.model="{tmp_path / "wide"}"', "run.steps=2"), tmp_path / "run")
    assert open_checkpoint(adapted).config == wide


def test_a_recognizer_that_writes_spaces_learns_lines(tmp_path: Path) -> None:
    """Without spaces it learns words, and what is left of a line of a word and a number is the word."""
    (tmp_path / "streets.txt").write_text("Rue Foch 12\nAm Ring 4\n", encoding="utf-8")
    recipe = AdaptRecipe(text=(str(tmp_path / "streets.txt"),))
    drawn = {}
    for charset in ("94", "94+space"):
        corpus = module.domain_corpus(recipe, Tokenizer(resolve_charset(charset), 25), 0)
        drawn[charset] = {corpus.word(index) for index in range(50)}
        assert ("number taken as a count 2" in corpus.describe()) == (charset == "94")
    assert drawn == {"94": {"Rue", "Foch", "Am", "Ring"}, "94+space": {"Rue Foch 12", "Am Ring 4"}}
