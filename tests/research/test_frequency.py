"""Ranks of words and shares of characters, counted by hand."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
from helpers_docs import ROOT


@pytest.fixture
def frequency(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "research" / "evidence"))
    return importlib.import_module("frequency")


def test_ranks_and_shares_are_those_of_running_text(frequency: ModuleType) -> None:
    """In ten words ``aab`` comes six times, ``ba`` three times, ``c`` once: 15 a, 9 b, 1 c."""
    found = frequency.count_words({"ba": 0.3, "aab": 0.6, "c": 0.1}, ranked=True)
    assert dict(found.ranks) == {"aab": 1, "ba": 2, "c": 3}
    assert dict(found.shares) == pytest.approx({"a": 15 / 25, "b": 9 / 25, "c": 1 / 25})


def test_a_word_is_counted_by_its_rank_and_by_its_rarest_character(frequency: ModuleType) -> None:
    found = frequency.Frequencies(
        {"ab": 1_000, "ac": 1_001, "ad": 10_001}, {"a": 0.9, "b": 0.01, "c": 0.005, "d": 0.0004}
    )
    assert frequency.bins("«AB!»", found) == ("the first 1,000", "1 % and more")
    assert frequency.bins("ac", found) == ("to 10,000", "0.1 to 1 %")
    assert frequency.bins("ad", found) == ("beyond", "below 0.1 %")
    assert frequency.bins("bd", found) == (frequency.UNLISTED, "below 0.1 %")
    assert frequency.bins("a7", found) == frequency.bins("...", found) == (frequency.UNLISTED, frequency.UNLISTED)


def test_the_table_has_each_crop_once_in_each_half(frequency: ModuleType) -> None:
    found = frequency.Frequencies({"ab": 1, "ad": 20_000}, {"a": 0.9, "b": 0.09, "d": 0.01})
    lines = frequency.table([("ab", "ab"), ("ac", "ab"), ("ad", "ad"), ("12", "12")], "de", found).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells == [
        ["rank of the word", "the first 1,000", "2", "50.0 %"],
        ["rank of the word", "beyond", "1", "100.0 %"],
        ["rank of the word", frequency.UNLISTED, "1", "100.0 %"],
        ["its rarest character", "1 % and more", "3", "66.7 %"],
        ["its rarest character", frequency.UNLISTED, "1", "100.0 %"],
    ]


def test_a_list_without_frequencies_has_no_ranks(frequency: ModuleType) -> None:
    assert not frequency.count_words({"ab": 0.5, "ac": 0.5}, ranked=False).ranks
    lines = frequency.table([("ab", "ab")], "de", frequency.Frequencies({}, {"a": 0.5, "b": 0.5})).splitlines()
    assert len(lines) == 3 and "rarest character" in lines[2]
