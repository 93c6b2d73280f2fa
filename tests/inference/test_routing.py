"""Who reads a crop, from the probabilities of its scripts alone."""

from __future__ import annotations

import numpy as np
import pytest

from dptr.inference.routing import (
    PLAUSIBLE,
    Candidate,
    Route,
    Verdict,
    choose_candidate,
    compare_japanese,
    route,
    vote,
    weigh,
)
from dptr.inference.scripts import NAMES
from dptr.text.scripts import NO_SCRIPT

READERS = {"Latin": "latin", "Cyrillic": "cyrillic", "Han": "chinese", "Kana": "japanese"}


def seen(**shares: float) -> np.ndarray:
    """Probabilities of scripts; what is left is of nothing."""
    row = np.array([shares.get(name, 0.0) for name in NAMES])
    row[-1] += 1 - row.sum()
    return row


def test_a_clear_crop_has_one_candidate() -> None:
    assert route(seen(Cyrillic=0.97, Latin=0.03), READERS, "latin") == Route((Candidate("cyrillic", "Cyrillic", 0.97),))


def test_three_likely_recognizers_read_and_a_fourth_does_not() -> None:
    way = route(seen(Latin=0.3, Cyrillic=0.4, Greek=0.1, Kana=0.2), {**READERS, "Greek": "greek"}, "latin")
    assert [each.recognizer for each in way.candidates] == ["cyrillic", "latin", "japanese"]
    assert PLAUSIBLE < 0.1


def test_shares_of_scripts_of_one_recognizer_add_up() -> None:
    way = route(seen(Cyrillic=0.4, Greek=0.35, Latin=0.25), {**READERS, "Greek": "cyrillic"}, "latin")
    first = way.candidates[0]
    assert (first.recognizer, first.script) == ("cyrillic", "Cyrillic") and first.share == pytest.approx(0.75)


def test_nothing_goes_to_the_default() -> None:
    way = route(seen(), READERS, "latin")
    assert way == Route((Candidate("latin", NO_SCRIPT, 1.0),))
    assert choose_candidate(way, [0.0]) == Verdict(0, NO_SCRIPT, 1.0)


def test_an_odd_reading_is_of_a_script_that_none_reads() -> None:
    way = route(seen(Cyrillic=0.35, Latin=0.65), {"Latin": "latin"}, "latin")
    plain = choose_candidate(way, [0.78], ["MARKET"])
    assert plain == choose_candidate(way, [0.78]) and not plain.missing
    odd = choose_candidate(way, [0.78], ["BOCbMOMY"])
    assert odd.missing and odd.script == "Cyrillic" and odd.factor == pytest.approx(0.507 / (0.507 + 20 * 0.077))
    known = route(seen(Cyrillic=0.01, Latin=0.99), {"Latin": "latin"}, "latin")
    assert not choose_candidate(known, [0.9], ["iPhone"]).missing
    both = route(seen(Cyrillic=0.35, Latin=0.65), READERS, "latin")
    assert choose_candidate(both, [0.78, 0.9], ["BOCbMOMY", "ВОСЬМОМУ"]).factor == 1.0


def test_a_script_that_none_reads_is_missing_and_its_reading_worth_nothing() -> None:
    way = route(seen(Thai=0.6, Lao=0.38, Latin=0.02), READERS, "latin")
    assert [each.recognizer for each in way.candidates] == ["latin"] and way.missing == "Thai"
    assert way.unread == pytest.approx(0.98)
    verdict = choose_candidate(way, [0.4])
    assert verdict.missing and verdict.script == "Thai" and verdict.factor < 0.02
    assert choose_candidate(way, [1.0]).missing  # recognizers are sure of what they do not know, too
    sure = route(seen(Thai=1.0), READERS, "latin")
    assert choose_candidate(sure, [1.0]).missing and choose_candidate(sure, [1.0]).factor == 0


def test_a_sure_reading_outweighs_a_doubtful_script_that_none_reads() -> None:
    way = route(seen(Greek=0.6, Latin=0.4), READERS, "latin")
    assert choose_candidate(way, [0.98]).script == "Latin" and not choose_candidate(way, [0.98]).missing
    assert choose_candidate(way, [0.2]) == Verdict(0, "Greek", pytest.approx(0.08 / 0.56), True)


def test_the_surer_of_two_counts_by_share_and_confidence() -> None:
    way = Route((Candidate("latin", "Latin", 0.6), Candidate("cyrillic", "Cyrillic", 0.4)))
    assert choose_candidate(way, [0.9, 0.9]) == Verdict(0, "Latin", 1.0)
    assert choose_candidate(way, [0.7, 0.9]) == Verdict(1, "Cyrillic", 1.0)
    assert choose_candidate(way, [0.87, 0.9]).index == 0  # 0.6 * 0.87 ** 9 > 0.4 * 0.9 ** 9
    assert choose_candidate(way, [0.85, 0.9]).index == 1  # 0.6 * 0.85 ** 9 < 0.4 * 0.9 ** 9
    assert choose_candidate(way, [0.0, 0.0]).index == 0


def test_lines_of_shared_letters_follow_the_others() -> None:
    doubtful = seen(Latin=0.5, Cyrillic=0.5)
    voted = vote(np.array([doubtful, seen(Cyrillic=0.99, Latin=0.01), seen(Cyrillic=0.9)]), READERS)
    assert route(voted[0], READERS, "latin").candidates[0].recognizer == "cyrillic"
    assert route(weigh(doubtful[None], READERS)[0], READERS, "latin").candidates[0].recognizer == "latin"
    assert np.allclose(voted.sum(1), 1)
    assert np.allclose(vote(doubtful[None], READERS), weigh(doubtful[None], READERS))


def test_latin_and_scripts_with_a_recognizer_are_common() -> None:
    (row,) = weigh(seen(Latin=0.1, Cyrillic=0.2, Greek=0.5, none=0.2)[None], READERS)
    wanted = {"Latin": 3.0, "Cyrillic": 0.6, "Greek": 0.5, "none": 0.6}
    assert {name: row[NAMES.index(name)] for name in wanted} == pytest.approx(
        {name: share / sum(wanted.values()) for name, share in wanted.items()}
    )


def test_a_clear_line_of_another_script_stays_likely_enough_to_be_read() -> None:
    voted = vote(np.array([seen(Cyrillic=0.99, Latin=0.01), *[seen(Latin=0.99, Cyrillic=0.01)] * 200]), READERS)
    names = {each.recognizer for each in route(voted[0], READERS, "latin").candidates}
    assert names == {"cyrillic", "latin"}
    surer = vote(np.array([seen(Cyrillic=0.9999, Latin=0.0001), *[seen(Latin=1.0)] * 200]), READERS)
    assert route(surer[0], READERS, "latin").candidates[0].recognizer == "cyrillic"


def test_digits_follow_the_lines_that_somebody_reads() -> None:
    digits = seen()
    beside = vote(np.array([digits, seen(Cyrillic=1.0)]), READERS)
    assert route(beside[0], READERS, "latin").candidates[0].recognizer == "cyrillic"
    unread = route(vote(np.array([digits, seen(Thai=1.0)]), READERS)[0], READERS, "latin")
    assert unread.candidates == (Candidate("latin", NO_SCRIPT, 1.0),) and unread.unread == 0


def test_han_is_japanese_beside_kana_and_chinese_without() -> None:
    han, kana = seen(Han=0.98), seen(Kana=0.9, Han=0.1)
    assert route(vote(np.array([han, han]))[0], READERS, "latin").candidates[0].recognizer == "chinese"
    for row in vote(np.array([kana, han, han, seen(Kana=0.1, Han=0.9)])):
        assert route(row, READERS, "latin").candidates[0].recognizer == "japanese"
    many = vote(np.array([seen(Kana=0.6, Han=0.4), *[seen(Han=1.0)] * 20]))  # one doubtful line of many
    assert route(many[3], READERS, "latin").candidates[0].recognizer == "chinese"


def test_a_word_of_han_alone_is_read_by_both() -> None:
    han = seen(Han=0.98)
    names = [each.recognizer for each in route(han, READERS, "latin").candidates]
    assert names == ["chinese", "japanese"]
    assert route(han, {"Latin": "latin", "Han": "japanese", "Kana": "japanese"}, "latin").candidates == (
        Candidate("japanese", "Han", 0.98),
    )
    both = route(han, READERS, "latin")
    assert choose_candidate(both, [0.5, 0.9]) == Verdict(1, "Han", 1.0)
    assert choose_candidate(both, [0.9, 0.9]).index == 0


def test_the_more_lines_of_han_without_kana_the_less_they_are_japanese() -> None:
    lines = np.array([seen(Han=1.0)] * 6)
    assert [compare_japanese(vote(lines[:count])) for count in (1, 2, 6)] == pytest.approx([1 / 4, 1 / 16, 1 / 4096])
    ways = [route(vote(lines)[0], READERS, "latin", compare_japanese(vote(lines[:count]))) for count in (1, 6)]
    assert [len(way.candidates) for way in ways] == [2, 1]


def test_no_lines_have_no_votes() -> None:
    assert vote(np.zeros((0, len(NAMES)))).shape == (0, len(NAMES))
