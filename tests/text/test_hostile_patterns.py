"""Expressions that would take a machine are refused in a line, before they take time or memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from dptr.inference.constraint import make_constraint
from dptr.text.automaton import STEPS, Nondeterministic, TooLarge, determinize
from dptr.text.charset import Charset
from dptr.text.regular import compile_expression
from dptr.utils.errors import UserError

CHARSET = Charset(
    "many", tuple(chr(0x4E00 + number) for number in range(300)) + tuple("abcdefghijklmnopqrstuvwxyz0123456789")
)
LONGEST = 64

HOSTILE = {
    ".*a.{12}": "too large",  # 2^13 states, each with an edge for each character: 14 GB before there was a limit
    "(.*[a-m].{6}|.*[n-z].{7})": "ways to write its words",
    "(a{1000}){19}": "shortest words have 19000 characters, the model reads 64",
    "(" * 249 + "a" + ")" * 249: "groups within each other",
    "(a?){999}" * 40: "too large",
}
LARGE = [
    "[^,]{1,1000}",
    ".*a.*b.*",
    "(a|b)*a(a|b){8}",
    "([A-Z]{1,30} ?){1,4}|[a-z]+",
    "(.*a){20}",
    "(a{0,900}){0,20}",
    "(.{0,30}){0,600}",
    ".{0,64}" * 60,
]  # of the last two, the second took a minute before there was a limit


@pytest.mark.parametrize("pattern", HOSTILE, ids=lambda pattern: pattern[:24])
def test_hostile_patterns_are_refused_soon(pattern: str) -> None:
    begun = time.thread_time()
    with pytest.raises(UserError, match=HOSTILE[pattern]) as refused:
        make_constraint(CHARSET, LONGEST, pattern)
    assert len(str(refused.value).splitlines()) == 1
    assert time.thread_time() - begun < 15  # 1 to 2 on the machine that CI runs on


def test_a_refused_pattern_has_taken_little_memory() -> None:
    tracemalloc.start()
    with pytest.raises(UserError):
        make_constraint(CHARSET, LONGEST, ".*a.{10}")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200_000_000


@pytest.mark.parametrize("pattern", LARGE, ids=lambda pattern: pattern[:24])
def test_large_patterns_that_can_be_read_are_taken(pattern: str) -> None:
    begun = time.thread_time()
    assert len(make_constraint(CHARSET, LONGEST, pattern).trellis) > 1
    assert time.thread_time() - begun < 15


def test_words_that_are_too_long_take_no_states() -> None:
    free = compile_expression("[ab]{1,100}", CHARSET)
    short = compile_expression("[ab]{1,100}", CHARSET, longest=5)
    assert (len(free.accepting), len(short.accepting)) == (101, 6)
    for length in range(6):
        word = [1 + CHARSET.index("a")] * length
        assert free.accepts(word) == short.accepts(word)
    looped = compile_expression("(ab)*", CHARSET, longest=3)
    a, b = (1 + CHARSET.index(each) for each in "ab")
    assert looped.accepts([]) and looped.accepts([a, b]) and not looped.accepts([a, b, a])


def test_work_is_counted() -> None:
    automaton = Nondeterministic()
    states = [automaton.add_state() for _ in range(3)]
    automaton.masks[states[0]].append((0b10, states[1]))
    automaton.silent[states[1]].append(states[2])
    made = determinize(automaton, states[0], states[2])
    assert made.accepts([1]) and 0 < STEPS - automaton.steps < 100
    automaton.steps = 3
    with pytest.raises(TooLarge):
        determinize(automaton, states[0], states[2])
    automaton.steps = STEPS
    assert len(determinize(automaton, states[0], states[2], longest=0).accepting) == 0
    assert automaton.shortest(states[0], states[2]) == 1 and automaton.shortest(states[2], states[0]) is None
    assert np.array_equal(made.accepting, [False, True])
