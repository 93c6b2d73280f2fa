"""The choice of the recognizer that reads a crop, from the probabilities of its scripts.

The probabilities come from ``dptr.inference.scripts``; lines of one photograph vote for each other's. If several
recognizers are likely, each reads, and the more confident reading is kept. The confidence is lowered by the probability
that the crop shows a script that no installed recognizer reads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dptr.text.scripts import NO_SCRIPT, SCRIPTS, is_odd

PLAUSIBLE = 0.05  # least probability of a recognizer's scripts for it to read a crop
MOST_READ = 3  # recognizers that read one crop at most
POWER = 9.0
"""Exponent of the confidence in the choice between readings. Chosen on training crops (docs/evidence/scripts.md)."""
MOST_TRUSTED = 0.9  # cap of a confidence where the script may be another, for which it is not calibrated
ODD = 20.0
"""Factor on the probability of unread scripts if the reading is odd. Measured: docs/evidence/scripts.md."""
LATIN, INSTALLED = 10.0, 3.0
"""Prior weights of Latin, and of scripts with a recognizer. Chosen on training crops (docs/evidence/scripts.md)."""
HAN_ALONE = 0.25
"""How likely Japanese is, beside Chinese, for a word or line of Han alone. Chosen on training crops, too."""
DOUBT = 1.0  # votes of the prior in addition to those of the other lines
MOST_VOTES = 2.0  # cap on the votes of the other lines together
SHOWN = 0.5  # least votes that decide the script of lines of digits, or of Han alone
KANA_SHARE = 0.1  # least share of kana among the votes for kana and Han, with which Han is Japanese

_NAMES = tuple(SCRIPTS)
_HAN, _KANA = _NAMES.index("Han"), _NAMES.index("Kana")


@dataclass(frozen=True)
class Candidate:
    """A recognizer that may read a crop.

    Attributes:
        recognizer: its name.
        script: the crop's likeliest among the scripts that it reads, or ``NO_SCRIPT``.
        share: 0 to 1, the probability that the crop has a script that it reads.
    """

    recognizer: str
    script: str
    share: float


@dataclass(frozen=True)
class Route:
    """The candidates to read a crop.

    Attributes:
        candidates: at least one, the likeliest first.
        unread: 0 to 1, the probability that no installed recognizer reads the crop's script.
        missing: the likeliest script without a recognizer; "" if there is none.
    """

    candidates: tuple[Candidate, ...]
    unread: float = 0.0
    missing: str = ""


@dataclass(frozen=True)
class Verdict:
    """The chosen reading of a crop.

    Attributes:
        index: of its candidate.
        script: of the crop, a key of ``SCRIPTS`` or ``NO_SCRIPT``.
        factor: 0 to 1, on its confidence, since the script may be one that no recognizer reads.
        missing: whether no installed recognizer reads ``script``.
    """

    index: int
    script: str
    factor: float = 1.0
    missing: bool = False


def route(
    probabilities: Float[np.ndarray, " scripts"],
    recognizers: Mapping[str, str],
    default: str,
    japanese: float = HAN_ALONE,
) -> Route:
    """The route of a crop.

    Where Chinese and Japanese have a recognizer each, both may read Han.

    Args:
        probabilities: of ``dptr.inference.scripts.NAMES``, after ``weigh`` or ``vote``.
        recognizers: names by script; scripts without a recognizer are missing.
        default: the recognizer of digits and signs, and of scripts without a recognizer.
        japanese: 0 to 1, how much less likely Japanese is than Chinese where Han stands alone.
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
    if {"Han", "Kana"} <= {*recognizers} and recognizers["Han"] != recognizers["Kana"]:
        name, han = recognizers["Kana"], japanese * float(probabilities[_HAN])
        shares[name] += han
        best[name] = max(best[name], (han, "Han"))
    likely = sorted((name for name in shares if shares[name] >= PLAUSIBLE), key=lambda name: -shares[name])
    candidates = [Candidate(name, best[name][1], shares[name]) for name in likely[:MOST_READ] or [default]]
    return Route(tuple(candidates), unread, missing[1])


def choose_candidate(way: Route, confidences: Sequence[float], texts: Sequence[str] = ()) -> Verdict:
    """Choose the reading with the largest ``share`` times confidence to the power of ``POWER``.

    A low confidence or an odd reading (``dptr.text.scripts.is_odd``) raises the probability of a script that no
    recognizer reads.

    Args:
        confidences: of each candidate's reading, 0 to 1, calibrated.
        texts: of each reading; empty = do not test for odd readings.
    """
    pairs = zip(way.candidates, confidences, strict=True)
    index = int(np.argmax([each.share * confidence**POWER for each, confidence in pairs]))
    read_weight = way.candidates[index].share * confidences[index]
    unread_weight = way.unread * (1 - min(confidences[index], MOST_TRUSTED))
    unread_weight *= ODD if texts and is_odd(texts[index]) else 1.0
    factor = (
        read_weight / (read_weight + unread_weight)
        if read_weight + unread_weight
        else float(way.unread < way.candidates[index].share)
    )
    if factor < 0.5:
        return Verdict(index, way.missing, factor, True)
    return Verdict(index, way.candidates[index].script, factor)


def weigh(
    seen: Float[np.ndarray, "crops scripts"], recognizers: Collection[str] = _NAMES
) -> Float[np.ndarray, "crops scripts"]:
    """Apply the prior to probabilities of independent crops: Latin and scripts with a recognizer are common.

    Args:
        seen: probabilities of the network, which was trained on equally many crops of each script.
        recognizers: the scripts that an installed recognizer reads.
    """
    weighed = seen * np.append(_shares(recognizers), INSTALLED)
    return weighed / weighed.sum(1, keepdims=True)


def vote(
    seen: Float[np.ndarray, "lines scripts"], recognizers: Collection[str] = _NAMES
) -> Float[np.ndarray, "lines scripts"]:
    """The script probabilities of the lines of one photograph, given each other's votes.

    Those of a single line are as in ``weigh``. Lines of digits and signs get the scripts of the other lines, as far as
    these have a recognizer. In photographs with lines of kana, Han becomes Kana, which stands for Japanese.

    Args:
        seen, recognizers: see ``weigh``.
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
    initial = voted.copy()
    for row, scripts, nothing in zip(voted, seen[:, :-1], initial[:, -1], strict=True):
        votes = (initial[:, :-1].sum(0) - row[:-1]).clip(0)
        votes *= min(1.0, MOST_VOTES / max(float(votes.sum()), 1e-9))
        weighed = scripts * (votes + prior)
        weighed *= (1 - nothing) / max(float(weighed.sum()), 1e-12)
        read_votes = votes * known
        reassigned = float(nothing) if read_votes.sum() >= SHOWN else 0.0
        row[:-1] = weighed + reassigned * read_votes / max(float(read_votes.sum()), 1e-9)
        row[-1] = nothing - reassigned
    return voted


def compare_japanese(voted: Float[np.ndarray, "lines scripts"]) -> float:
    """How much less likely Japanese is than Chinese, 0 to 1, for lines of Han in a photograph that shows no kana.

    Args:
        voted: from ``vote``.
    """
    return float(HAN_ALONE ** max(1.0, voted[:, _HAN].sum()))


def _shares(recognizers: Collection[str]) -> Float[np.ndarray, " scripts"]:
    """Prior weights of scripts."""
    shares = np.where(np.isin(_NAMES, [*recognizers]), INSTALLED, 1.0)
    shares[_NAMES.index("Latin")] *= LATIN
    return shares
