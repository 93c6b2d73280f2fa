"""Which recognizer reads a crop, by the scripts that it may show: no picture and no network is touched here.

A crop's scripts have probabilities (``dptr.inference.scripts``). Lines of one photograph vote for each other's. Where
two recognizers are likely enough, both read, and the surer one is kept. Where the likeliest script is one that no
installed recognizer reads, the reading counts as far as that is not so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dptr.text.scripts import NO_SCRIPT, SCRIPTS, is_odd

PLAUSIBLE = 0.05  # share of a crop's probability from which on a recognizer reads it beside the likeliest
MOST_READ = 2  # recognizers that read one crop
MOST_TRUSTED = 0.9  # confidence of what a recognizer of another script reads, which is calibrated for its own
ODD = 20.0
"""How much likelier a script that nobody reads is where the reading is odd. Measured: docs/evidence/scripts.md."""
LATIN, INSTALLED = 10.0, 3.0
"""How much likelier these scripts are before a crop is seen. Chosen on training crops (docs/evidence/scripts.md)."""
DOUBT = 1.0  # votes that these shares have beside those of the other lines
MOST_VOTES = 2.0  # of the other lines together
SHOWN = 0.5  # votes that it takes to say what lines of digits, or of Han alone, are
KANA_SHARE = 0.1  # of the votes for kana and Han, from which on Han is Japanese

_NAMES = tuple(SCRIPTS)
_HAN, _KANA = _NAMES.index("Han"), _NAMES.index("Kana")


@dataclass(frozen=True)
class Candidate:
    """A recognizer that may read a crop.

    Attributes:
        recognizer: its name.
        script: the likeliest of the scripts that it reads, or ``NO_SCRIPT``.
        share: 0 to 1, how likely the crop is of a script that it reads.
    """

    recognizer: str
    script: str
    share: float


@dataclass(frozen=True)
class Route:
    """Who reads a crop.

    Attributes:
        candidates: at least one, the likeliest first.
        unread: 0 to 1, how likely its script is one that no installed recognizer reads.
        missing: the likeliest of those scripts; "" if there is none.
    """

    candidates: tuple[Candidate, ...]
    unread: float = 0.0
    missing: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whose reading counts.

    Attributes:
        index: of its candidate.
        script: that of the crop, a key of ``SCRIPTS`` or ``NO_SCRIPT``.
        factor: 0 to 1, what its confidence is multiplied by, for the script may be one that nobody reads.
        missing: whether ``script`` is one that no installed recognizer reads.
    """

    index: int
    script: str
    factor: float = 1.0
    missing: bool = False


def route(probabilities: Float[np.ndarray, " scripts"], recognizers: Mapping[str, str], default: str) -> Route:
    """Who reads a crop.

    Args:
        probabilities: of ``dptr.inference.scripts.NAMES``, after ``weigh`` or ``vote``.
        recognizers: the one that reads a script, by script; scripts that none reads are missing.
        default: the recognizer of digits and signs, and of scripts that none reads.
    """
    shares: dict[str, float] = {default: float(probabilities[-1])}
    best: dict[str, tuple[float, str]] = {default: (float(probabilities[-1]), NO_SCRIPT)}
    unread, missing = 0.0, (0.0, "")
    for script, probability in zip(_NAMES, map(float, probabilities), strict=False):
        if script not in recognizers:
            unread += probability
            missing = (probability, script) if probability > missing[0] else missing
            continue
        name = recognizers[script]
        shares[name] = shares.get(name, 0.0) + probability
        best[name] = max(best.get(name, (0.0, script)), (probability, script))
    likely = sorted((name for name in shares if shares[name] >= PLAUSIBLE), key=lambda name: -shares[name])
    candidates = [Candidate(name, best[name][1], shares[name]) for name in likely[:MOST_READ] or [default]]
    return Route(tuple(candidates), unread, missing[1])


def choose_candidate(way: Route, confidences: Sequence[float], texts: Sequence[str] = ()) -> Verdict:
    """Whose reading counts: the likeliest of its script times the confidence of its reading, squared.

    A script that nobody reads is the likelier the less sure the reading is, and where it is odd
    (``dptr.text.scripts.is_odd``).

    Args:
        confidences: 0 to 1, calibrated, of each candidate's reading.
        texts: of each reading; none = none is odd.
    """
    pairs = zip(way.candidates, confidences, strict=True)
    index = int(np.argmax([each.share * confidence**2 for each, confidence in pairs]))
    read = way.candidates[index].share * confidences[index]
    lost = way.unread * (1 - min(confidences[index], MOST_TRUSTED))
    lost *= ODD if texts and is_odd(texts[index]) else 1.0
    factor = read / (read + lost) if read + lost else float(way.unread < way.candidates[index].share)
    if factor < 0.5:
        return Verdict(index, way.missing, factor, True)
    return Verdict(index, way.candidates[index].script, factor)


def weigh(
    seen: Float[np.ndarray, "crops scripts"], recognizers: Collection[str] = _NAMES
) -> Float[np.ndarray, "crops scripts"]:
    """The probabilities of crops, each by itself, where most are Latin and scripts with a recognizer are common.

    Args:
        seen: what the network says; it has seen as many crops of each script.
        recognizers: the scripts that an installed recognizer reads.
    """
    weighed = seen * np.append(_shares(recognizers), INSTALLED)
    return weighed / weighed.sum(1, keepdims=True)


def vote(
    seen: Float[np.ndarray, "lines scripts"], recognizers: Collection[str] = _NAMES
) -> Float[np.ndarray, "lines scripts"]:
    """The probabilities of the lines of one photograph, each with the votes of the others; of one line as ``weigh``.

    Lines of digits and signs are of the scripts with a recognizer that the other lines show. Han is Kana, which stands
    for Japanese, in photographs with lines of kana.

    Args:
        seen, recognizers: as for ``weigh``.
    """
    voted, seen = weigh(seen, recognizers), np.array(seen, float)
    kana, han = voted[:, _KANA].sum(), voted[:, _HAN].sum()
    if kana >= max(SHOWN, KANA_SHARE * (kana + han)):
        for rows in (voted, seen):
            rows[:, _KANA] += rows[:, _HAN]
            rows[:, _HAN] = 0.0
    prior = _shares(recognizers)
    prior *= DOUBT / prior.sum()
    known = np.isin(_NAMES, [*recognizers])
    own = voted.copy()
    for row, scripts, nothing in zip(voted, seen[:, :-1], own[:, -1], strict=True):
        votes = (own[:, :-1].sum(0) - row[:-1]).clip(0)
        votes *= min(1.0, MOST_VOTES / max(float(votes.sum()), 1e-9))
        weighed = scripts * (votes + prior)
        weighed *= (1 - nothing) / max(float(weighed.sum()), 1e-12)
        shown = votes * known
        spread = float(nothing) if shown.sum() >= SHOWN else 0.0
        row[:-1] = weighed + spread * shown / max(float(shown.sum()), 1e-9)
        row[-1] = nothing - spread
    return voted


def _shares(recognizers: Collection[str]) -> Float[np.ndarray, " scripts"]:
    """How much likelier scripts are than others before a crop is seen."""
    shares = np.where(np.isin(_NAMES, [*recognizers]), INSTALLED, 1.0)
    shares[_NAMES.index("Latin")] *= LATIN
    return shares
