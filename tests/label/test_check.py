"""A sample of the words that were accepted unseen tells how many are wrong, with limits that hold."""

from __future__ import annotations

import json
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
from helpers_label import SIZE, make_words, proposal, save_photo

from dptr.cli.app import run
from dptr.label.check import MOST, draw, limits, summarize, waiting
from dptr.label.export import export_crops
from dptr.label.item import Conflict, Proposal
from dptr.label.store import Store
from dptr.utils.errors import UserError


def make_sure(folder: Path, count: int) -> Store:
    store = Store(folder / "set")
    store.add(save_photo(folder / "a.png"), 1, SIZE, [proposal(f"word{n}", 0.995, "sure") for n in range(count)])
    return store


def test_a_sample_is_random_seeded_and_goes_on_without_repeating(tmp_path: Path) -> None:
    one, two, other = (make_sure(tmp_path / name, 200) for name in ("one", "two", "other"))
    assert summarize(one) is None and waiting(one) == []
    for store, seed in ((one, 5), (two, 5), (other, 6)):
        draw(store, 20, seed)
    drawn = [item.id for item in waiting(one)]
    assert drawn == [item.id for item in waiting(two)] != [item.id for item in waiting(other)]
    assert drawn != sorted(drawn) and len({*drawn}) == 20
    draw(one, 30, 99)  # the seed of the first draw stays
    further = [item.id for item in waiting(one)]
    assert further[:20] == drawn and len({*further}) == 50 and summarize(one).seed == 5  # type: ignore[union-attr]
    draw(one, 1000)
    assert len({item.id for item in waiting(one)}) == 200
    with pytest.raises(UserError, match="no more word was accepted unseen"):
        draw(one, 1)
    with pytest.raises(UserError, match="are drawn at most"):
        draw(two, MOST)


def test_what_is_corrected_counts_as_wrong_and_what_is_illegible_as_nothing(tmp_path: Path) -> None:
    store = make_sure(tmp_path, 100)
    draw(store, 10)
    right, wrong, illegible, gone, changed, *_ = waiting(store)
    store.change(right.id, 1, right.text, "labeled")
    store.change(wrong.id, 1, "other", "labeled")
    store.change(illegible.id, 1, state="illegible")
    store.remove(gone.id, 1)
    store.change(changed.id, 1, outline=changed.outline, reading=("read otherwise", 0.3))  # is not looked at yet
    found = summarize(store)
    assert found is not None
    assert (found.right, found.wrong, found.illegible, found.drawn, found.population) == (1, 2, 1, 10, 100)
    assert found.share == 2 / 3 and found.low < 2 / 3 < found.high
    assert [item.id for item in waiting(store)] == [item.id for item in store.some([w.id for w in waiting(store)])]
    assert len(waiting(store)) == 6
    outside = next(item for item in store.items("sure", limit=100) if item not in waiting(store))
    store.change(outside.id, 1, "chosen, not drawn", "labeled")
    assert summarize(store).wrong == 2 and summarize(store).population == 99  # type: ignore[union-attr]


def add_sure(store: Store, folder: Path, count: int, text: str) -> None:
    path = save_photo(folder / f"{text}.png")
    store.add(path, 1, SIZE, [proposal(text, 0.995, "sure") for _ in range(count)])


def look(store: Store) -> None:
    """Somebody finds all words ``bad`` wrong, and all others right."""
    for item in waiting(store):
        store.change(item.id, item.version, "other" if item.text == "bad" else item.text, "labeled")


@pytest.mark.parametrize("read", ["cafe\u0301", "two  words", "\u0627\u0653", "a\u00a0b"], ids=ascii)
def test_what_is_accepted_as_it_was_read_is_right(tmp_path: Path, read: str) -> None:
    """A label is kept in NFC and with single spaces; recognizers write otherwise."""
    store = Store(tmp_path / "set")
    store.add(save_photo(tmp_path / "a.png"), 1, SIZE, [proposal(read, 1.0, "sure")])
    draw(store, 1)
    (word,) = waiting(store)
    changed = store.change(word.id, 1, word.text, "labeled")
    assert changed.text == changed.proposed
    found = summarize(store)
    assert found is not None and (found.right, found.wrong) == (1, 0)


def test_a_word_that_is_brought_back_is_the_one_that_was_drawn(tmp_path: Path) -> None:
    store = make_sure(tmp_path, 40)
    draw(store, 10)
    before = summarize(store)
    word = waiting(store)[3]
    gone = store.remove(word.id, 1)
    assert summarize(store).wrong == 1  # type: ignore[union-attr]
    back = store.add_word(1, Proposal(gone.outline, gone.text, gone.confidence, "sure"), (gone.id, gone.version))
    assert (back.id, back.version) == (word.id, 2) and summarize(store) == before
    with pytest.raises(Conflict):
        store.change(word.id, 1, "of before", "labeled")
    for taken in (word.id, 41):
        with pytest.raises(UserError, match=f"word {taken}: was not taken away"):
            store.add_word(1, Proposal(gone.outline, "x", 0.5), (taken, 1))
    assert store.add_word(1, Proposal(gone.outline, "new", 0.5)).id == 41


def test_words_that_are_added_later_count_as_much_as_the_first_ones(tmp_path: Path) -> None:
    shares, held = [], 0
    for seed in range(12):
        store = Store(tmp_path / str(seed))
        add_sure(store, tmp_path, 300, "good")
        draw(store, 30, seed)
        look(store)
        add_sure(store, tmp_path, 300, "bad")  # half of all are wrong now
        found = draw(store, 30)
        look(store)
        found = summarize(store)  # type: ignore[assignment]
        assert found.drawn + found.apart == 60 and found.population == 600
        shares.append(found.share)
        held += found.low <= 0.5 <= found.high
    assert abs(np.mean(shares) - 0.5) < 0.08 and held >= 10


def test_a_sample_does_not_tell_of_words_that_came_after_it(tmp_path: Path) -> None:
    store = make_sure(tmp_path, 100)
    draw(store, 20)
    look(store)
    before = summarize(store)
    assert before is not None and (before.drawn, before.apart, before.right) == (20, 0, 20)
    add_sure(store, tmp_path, 1000, "bad")
    after = summarize(store)
    assert after is not None and after.apart > 10 and after.high > 0.5 and after.drawn + after.apart == 20
    assert f"{after.apart} more do not count, for words came since" in after.describe()
    draw(store, MOST - 20)
    assert summarize(store).apart == 0  # type: ignore[union-attr]


def exact(wrong: int, checked: int, population: int) -> tuple[float, float]:
    """By counting all cases with fractions."""

    def chance(each: int, bad: int) -> Fraction:
        return Fraction(comb(bad, each) * comb(population - bad, checked - each), comb(population, checked))

    kept = [
        bad
        for bad in range(population + 1)
        if sum(chance(each, bad) for each in range(wrong + 1)) >= Fraction(1, 40)
        and sum(chance(each, bad) for each in range(wrong, checked + 1)) >= Fraction(1, 40)
    ]
    return kept[0] / population, kept[-1] / population


@pytest.mark.parametrize(("checked", "population"), [(1, 1), (1, 30), (7, 7), (7, 40), (20, 60), (39, 40)])
def test_limits_are_those_of_counting_all_cases(checked: int, population: int) -> None:
    for wrong in range(checked + 1):
        assert limits(wrong, checked, population) == exact(wrong, checked, population), wrong


def test_limits_of_large_sets_and_of_none() -> None:
    assert limits(0, 0, 10) == (0, 1)
    assert limits(3, 50, 50) == (3 / 50, 3 / 50)  # all were looked at
    assert limits(0, 50, 10**6) == pytest.approx((0, 1 - 0.025 ** (1 / 50)), abs=1e-4)  # Clopper and Pearson, 1934
    low, high = limits(40, 2000, 10**6)
    assert low < 0.02 < high and high - low < 0.014


def test_limits_hold_the_true_share_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        low, high = limits(int(rng.hypergeometric(30, 970, 60)), 60, 1000)
        held += low <= 0.03 <= high
    assert held >= 285


def test_the_estimate_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_words(tmp_path, 5)
    for item in store.each():
        store.change(item.id, 1, state="sure")
    draw(store, 3)
    assert "none of 3 drawn words checked" in summarize(store).describe()  # type: ignore[union-attr]
    first, second, _ = waiting(store)
    store.change(first.id, 2, first.text, "labeled")
    store.change(second.id, 2, "wrong", "labeled")
    store.close()
    for style in ("labels.tsv", "label-studio"):
        assert run(["label", "-o", str(tmp_path / "set"), "--export", style]) == 0
        assert "1 of 2 checked words wrong, 50.0 % (between 20.0 and 80.0 %" in capsys.readouterr().err
    (record,) = (tmp_path / "set" / "labeled").glob("*.json")
    told = json.loads(record.read_text())["checked"]
    assert (told["wrong"], told["right"], told["population"], told["seed"]) == (1, 1, 5, 0)


def test_an_export_without_a_sample_says_nothing_of_one(tmp_path: Path) -> None:
    from dptr.data.report import DropReport

    export_crops(make_words(tmp_path, 2), tmp_path / "out", DropReport())
    (record,) = (tmp_path / "out").glob("*.json")
    assert "checked" not in json.loads(record.read_text())
