"""Slots of other words: those that are chosen, what stands behind a word, and words that cannot be composed."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from helpers_train import Parts

from dptr.models.checkpoint import load_recognizer
from dptr.training import slots
from dptr.training.adapt import adapt, prepare_features
from dptr.training.slots import LARGEST_DIFFERENCE, LENGTH, NEIGHBOR, SECOND_NEIGHBOR, SlotBank
from dptr.utils.errors import UserError
from dptr.utils.files import read_json


def numbered(words: list[str], queries: int = 8) -> torch.Tensor:
    """Slot (row, place) holds row and place, so that it says where it came from."""
    rows, places = torch.meshgrid(torch.arange(len(words)), torch.arange(queries), indexing="ij")
    return torch.stack([rows, places], dim=-1).half()


def cost(word: str, place: int, other: str) -> float:
    """As the module's page says it, letter by letter."""
    total = LENGTH * min(abs(len(word) - len(other)), LARGEST_DIFFERENCE)
    for offset, weight in ((-2, SECOND_NEIGHBOR), (-1, NEIGHBOR), (1, NEIGHBOR), (2, SECOND_NEIGHBOR)):
        mine, theirs = (
            text[place + offset : place + offset + 1] if place + offset >= 0 else "" for text in (word, other)
        )
        total += weight * (mine != theirs)
    return total


def test_each_slot_is_the_cheapest_with_its_character_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "JITTER", 0.0)
    words = ["".join(letters) for length in (2, 3, 4) for letters in itertools.product("abc", repeat=length)]
    rng = np.random.default_rng(0)
    others = [words[row] for row in rng.permutation(len(words))[:50]]
    bank = SlotBank(numbered(others), others)
    composed = 0
    for word in set(words) - set(others):
        if bank.find_gap(word):
            continue
        composed += 1
        memory = bank.compose(word, rng)
        for place, character in enumerate(word):
            row, from_place = (int(value) for value in memory[place])
            candidates = [other for other in others if other[place : place + 1] == character]
            assert from_place == place and others[row] in candidates
            assert cost(word, place, others[row]) == pytest.approx(min(cost(word, place, each) for each in candidates))
    assert composed > 50


def test_behind_the_word_stand_the_slots_of_a_word_as_long() -> None:
    others = ["abcd", "xyc", "uvwc", "longer", "zz"]
    bank = SlotBank(numbered(others), others)
    for seed in range(20):
        memory = bank.compose("abc", np.random.default_rng(seed))
        assert {int(row) for row in memory[3:, 0]} == {1}  # the only word of three characters
        assert [int(place) for place in memory[:, 1]] == list(range(8))


def test_a_word_borrows_from_other_pictures_each_time() -> None:
    others = ["ab"] * 30
    bank = SlotBank(numbered(others), others)
    rng = np.random.default_rng(0)
    rows = {int(bank.compose("ab", rng)[0, 0]) for _ in range(50)}
    assert len(rows) > 15


@pytest.mark.parametrize(
    ("word", "gap"),
    [
        ("ax", "no picture of another word shows 'x' as character 2"),
        ("ba", "no picture of another word shows 'b' as character 1"),
        ("abc", "no picture shows a word of 3 characters"),
    ],
)
def test_what_the_pictures_lack_is_named(word: str, gap: str) -> None:
    bank = SlotBank(numbered(["ab", "cbcd"]), ["ab", "cbcd"])
    assert bank.find_gap("ab") == "" and bank.find_gap(word) == gap
    with pytest.raises(ValueError, match=gap):
        bank.compose(word, np.random.default_rng(0))


def test_no_word_of_the_text_is_rendered(parts: Parts, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text's words are composed, those that cannot be are counted, and the card says how they were validated."""
    text = tmp_path / "text.txt"
    text.write_text("grape\nqqqqq\n")  # a training word, whose slots are there, and one that no picture can lend
    monkeypatch.setattr("dptr.training.adapt.render_domain", lambda *arguments: pytest.fail("rendered"))
    settings = (f"text={json.dumps([str(text)])}", "method=slots", "language_crops=64", "run.steps=1")
    recipe = parts.recipe("adapt", *settings)
    features, notes = prepare_features(recipe, load_recognizer(recipe.init.model))
    language = features.language_training
    for memory, word in zip(features.domain_training.memory, features.domain_training.words, strict=True):
        assert word == "grape"
        for place, character in enumerate(word):
            lenders = [one for one, other in zip(language.memory, language.words, strict=True)
                       if other[place : place + 1] == character]  # fmt: skip
            assert any(torch.equal(memory[place], lender[place]) for lender in lenders)
    assert any("left out, such as 'qqqqq': no picture of another word shows 'q' as character" in note for note in notes)
    card = read_json(adapt(recipe, tmp_path / "run") / "card.json", "card")
    assert card["results"][0]["data"] == "words to learn, composed of slots"


def test_slots_want_an_fmu_and_words_that_they_can_compose(parts: Parts, tmp_path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("qqqqq\n")
    with pytest.raises(UserError, match=r"none of them can be composed of slots; 'qqqqq': no picture"):
        adapt(parts.recipe("adapt", f"text={json.dumps([str(text)])}", "method=slots"), tmp_path / "run")
    with pytest.raises(UserError, match=r"method = 'slots' with dptr-latin: it has no FMU"):
        adapt(parts.recipe("adapt", "method=slots", "init.model=dptr-latin"), tmp_path / "other")
