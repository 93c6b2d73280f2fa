"""String generators (``dptr.text.patterns.PATTERNS``) as a source of a corpus.

Generators whose strings never meet the rules of the corpus are left out.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from dptr.config.render import SourceConfig
from dptr.text.charset import check_label
from dptr.text.patterns import PATTERNS
from dptr.text.rules import Rules
from dptr.text.word_lists import count_drops
from dptr.utils.errors import UserError

NO_FIT = "pattern without a string that fits"

_TRIALS = 64  # draws from a pattern that decide whether it fits the charset and length at all
_MOST_REDRAWS = 2000  # per unit of the split's share


@dataclass(frozen=True)
class PatternList:
    """A source that draws from string generators without end.

    Attributes:
        name: for the log.
        patterns: keys of ``PATTERNS``, all equally likely.
        dropped: number of patterns left out, by reason.
    """

    name: str
    patterns: tuple[str, ...]
    dropped: dict[str, int]

    def draw(self, rng: np.random.Generator, rules: Rules) -> str:
        """Draw a string that meets the rules.

        Raises:
            UserError: no string meets them after 2,000 draws per unit of the split's share.
        """
        share = {"train": 1 - rules.heldout, "heldout": rules.heldout, "all": 1.0}[rules.split]
        for _ in range(int(_MOST_REDRAWS / share)):
            name = self.patterns[int(rng.random() * len(self.patterns))]
            string = PATTERNS[name](rng, rules.charset, rules.max_length)
            text, misfit = check_label(string, rules.charset, rules.max_length)
            if misfit is None and rules.is_in_split(text) and rules.is_within_limit(text):
                return text
        raise UserError(
            f"corpus patterns {', '.join(self.patterns)}: no string in split '{rules.split}' after "
            f"{int(_MOST_REDRAWS / share):,} draws; add the pattern 'random' or raise corpus.heldout"
        )

    def describe(self) -> str:
        """The patterns, and what was left out, for the log."""
        return f"{self.name}: {', '.join(self.patterns)}" + count_drops(self.dropped, "; left out: ", "")


def open_patterns(source: SourceConfig, rules: Rules) -> PatternList:
    """Open the patterns of a source that can draw strings that meet the rules.

    Raises:
        UserError: the source names no pattern, or an unknown one; no pattern has a string that meets the rules.
    """
    if not source.patterns:
        raise UserError("corpus source of kind pattern: no patterns; name some of " + ", ".join(PATTERNS))
    for name in source.patterns:
        if name not in PATTERNS:
            nearest = difflib.get_close_matches(name, PATTERNS, n=1, cutoff=0.4)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(PATTERNS)}"
            raise UserError(f"corpus pattern '{name}': unknown; {hint}")
    rng = np.random.Generator(np.random.Philox(key=0))
    fitting = tuple(name for name in source.patterns if _can_draw(name, rng, rules))
    left_out = len(source.patterns) - len(fitting)
    if not fitting:
        raise UserError(
            f"corpus patterns {', '.join(source.patterns)}: none fits {rules.describe()}; add the pattern 'random' or "
            "drop this source"
        )
    pattern_list = PatternList("pattern", fitting, {NO_FIT: left_out} if left_out else {})
    pattern_list.draw(rng, rules)  # refuses an empty split now, not in the middle of a training
    return pattern_list


def has_strings(name: str, rules: Rules) -> bool:
    """Whether a pattern draws a string that meets the rules."""
    rng = np.random.Generator(np.random.Philox(key=0))
    try:
        return _can_draw(name, rng, rules) and bool(PatternList(name, (name,), {}).draw(rng, rules))
    except UserError:
        return False


def _can_draw(name: str, rng: np.random.Generator, rules: Rules) -> bool:
    draws = (PATTERNS[name](rng, rules.charset, rules.max_length) for _ in range(_TRIALS))
    return any(rules.accepts(text) for text in draws)
