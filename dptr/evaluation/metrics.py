"""Word accuracy, 1-NED, CER, and calibration error; and the protocols for the comparison of words.

A *protocol* folds truth and prediction before they are compared. ``dptr.evaluation.evaluate`` leaves out, and counts,
truths that fold to nothing. A prediction that folds to nothing is wrong. An empty label can stand for a picture without
text (``allow_empty``); then only an empty prediction is right.

Edits are counted in extended grapheme clusters (``dptr.text.unicode.graphemes``): a wrong vowel sign makes one
character wrong, as a wrong accent does. Without combining marks, as in ASCII, Chinese or Greek, these are code points.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from dptr.text.charset import WIDTHS, Charset, normalize_label, resolve_charset
from dptr.text.languages import LANGUAGES
from dptr.text.unicode import graphemes, script
from dptr.utils.errors import UserError

Pairs = Sequence[tuple[str, str]]  # (prediction, truth), both folded

_SIGNS_36 = frozenset(string.digits + string.ascii_lowercase)
_SIGNS_62 = frozenset(string.digits + string.ascii_letters)
_SIGNS_94 = frozenset(string.digits + string.ascii_letters + string.punctuation)


def _fold_to(text: str, signs: frozenset[str]) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if sign in signs)


def fold_36(text: str) -> str:
    """Fold to digits and lower-case letters; accents and case are removed, other characters dropped.

    This is the field's usual protocol, with the folding of PARSeq's published code (NFKD, ASCII, ``CharsetAdapter``).
    """
    return _fold_to(unicodedata.normalize("NFKD", text).lower(), _SIGNS_36)


def fold_62(text: str) -> str:
    """Fold to digits and letters with case; accents are removed, other characters dropped."""
    return _fold_to(text, _SIGNS_62)


def fold_letters(text: str) -> str:
    """Fold to letters and digits of any script, with accents; case is removed, other characters dropped."""
    signs = normalize_label(text).lower()
    kept = "".join(sign for sign in signs if unicodedata.category(sign)[0] in "LMN")
    return normalize_label(re.sub("i\u0307+", "i", kept))  # Python lower-cases İ to i with a dot above


def fold_94(text: str) -> str:
    """Fold to printable ASCII with case and punctuation; accents are removed, other characters dropped."""
    return _fold_to(text, _SIGNS_94)


PROTOCOLS: dict[str, Callable[[str], str]] = {
    "36": fold_36,
    "62": fold_62,
    "94": fold_94,
    "letters": fold_letters,
    "native": normalize_label,  # NFC, whitespace removed: the label as it stands, in any language
    "line": partial(normalize_label, spaces=True),  # the same with a space between words
    "lower": lambda text: normalize_label(text.lower()),  # native without case, as OpenOCR's RecMetric for Chinese
}


def protocol(name: str) -> Callable[[str], str]:
    """The folding function of a protocol, or of a language (``fold_language``).

    Raises:
        UserError: there is no such protocol.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name in LANGUAGES:
        return fold_language(name)
    raise UserError(
        f"protocol '{name}': not known; use one of {', '.join(PROTOCOLS)}, or a language: {', '.join(LANGUAGES)}"
    )


def validation_protocol(charset: Charset) -> str:
    """The protocol of validation in training: 36, the field's usual one, for ASCII charsets; native for others."""
    return "36" if resolve_charset("94+space").covers("".join(charset.characters)) else "native"


def default_protocol(charset: Charset) -> str:
    """The default protocol of evaluation: 36, the field's usual one, if all letters are Latin; otherwise native, since
    36 drops other letters."""
    return "36" if {*map(script, charset.characters)} <= {"", "LATIN"} else "native"


def confidence_protocol(charset: Charset) -> str:
    """The protocol of calibration: 36 for ASCII charsets, letters for others, native for charsets without letters."""
    if validation_protocol(charset) == "36":
        return "36"
    return "letters" if any(map(fold_letters, charset.characters)) else "native"


def fold_language(code: str) -> Callable[[str], str]:
    """Protocol native for one language, with variants of characters folded.

    Full-width forms fold to ASCII, as in Chen et al., "Benchmarking Chinese Text Recognition", arXiv 2112.15093 (who
    also fold case and traditional characters). Characters that the language does not use fold to those that look the
    same and that it does use (``dptr.text.charset.VARIANTS``).
    """
    charset = resolve_charset(code)
    widths = {ord(wide): character for wide, character in WIDTHS.items()} | {ord("〜"): "~"}

    def fold(text: str) -> str:
        return normalize_label(charset.fold(normalize_label(text)).translate(widths))

    return fold


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance: the least number of insertions, deletions, and substitutions from a to b."""
    if a == b:
        return 0
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def word_accuracy(pairs: Pairs) -> float:
    """Share of predictions that equal their truth, 0 to 1.

    Raises:
        ValueError: there is no pair.
    """
    return _mean([float(prediction == truth) for prediction, truth in pairs])


def one_minus_ned(pairs: Pairs) -> float:
    """1-NED, 0 to 1: the mean of 1 - edit distance / length of the longer word (ICDAR 2019 ReCTS and ArT task 2).

    Both in grapheme clusters. Two empty words count 1.

    Raises:
        ValueError: there is no pair.
    """
    clusters = [(graphemes(prediction), graphemes(truth)) for prediction, truth in pairs]
    return _mean([1 - edit_distance(p, t) / max(len(p), len(t), 1) for p, t in clusters])


def cer(pairs: Pairs) -> float:
    """Character error rate: total edit distance over total truth characters (clusters); with many insertions above 1.

    Raises:
        ValueError: the truths have no character.
    """
    clusters = [(graphemes(prediction), graphemes(truth)) for prediction, truth in pairs]
    characters = sum(len(truth) for _, truth in clusters)
    if not characters:
        raise ValueError("no truth character to compare with")
    return sum(edit_distance(prediction, truth) for prediction, truth in clusters) / characters


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = 15) -> float:
    """ECE, 0 to 1: |accuracy - mean confidence| of equal-width bins ((m-1)/M, m/M], weighted by their share.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3, with its 15 bins. A confidence of 0
    goes to the first bin.

    Raises:
        ValueError: nothing to judge, lengths differ, or a confidence is outside 0 to 1.
    """
    if len(confidences) != len(correct) or not confidences:
        raise ValueError(f"{len(confidences)} confidences for {len(correct)} outcomes; give as many, at least one")
    gaps = [0.0] * bins  # sum of confidence - correct in each bin
    for confidence, right in zip(confidences, correct, strict=True):
        if not 0 <= confidence <= 1:
            raise ValueError(f"confidence {confidence}: not from 0 to 1")
        gaps[max(math.ceil(confidence * bins) - 1, 0)] += confidence - right
    return sum(abs(gap) for gap in gaps) / len(confidences)


def chance_calibration_error(confidences: Sequence[float], bins: int = 15, draws: int = 1000, seed: int = 0) -> float:
    """The mean ``expected_calibration_error`` of perfectly calibrated confidences, 0 to 1, due to chance.

    Each of ``draws`` draws words as right with the probability of their confidence: the consistency resampling of
    Broecker and Smith, "Increasing the Reliability of Reliability Diagrams", Weather and Forecasting 22, 2007.

    Raises:
        ValueError: no confidence.
    """
    if not confidences:
        raise ValueError("no confidence to judge")
    shown = np.asarray(confidences, np.float64)
    places = np.maximum(np.ceil(shown * bins).astype(int) - 1, 0)
    members = (places[:, None] == np.arange(bins)).astype(np.float64)
    right = np.random.default_rng(seed).random((draws, len(shown))) < shown
    return float(np.abs((right - shown) @ members).sum(1).mean() / len(shown))


def confidence_threshold(
    confidences: Sequence[float], correct: Sequence[bool], precision: float = 0.99
) -> tuple[float, float] | None:
    """The threshold on confidences with a given precision: where the risk-coverage curve meets 1 - ``precision``.

    See Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017, section 2; their bound
    for small samples is not used.

    Returns:
        The lowest confidence such that at least a share ``precision`` of the words with this confidence or more is
        right, and the share of these words among all; None if no confidence has this precision.

    Raises:
        ValueError: nothing to judge, or lengths differ.
    """
    if len(confidences) != len(correct) or not confidences:
        raise ValueError(f"{len(confidences)} confidences for {len(correct)} outcomes; give as many, at least one")
    ordered = sorted(zip(confidences, correct, strict=True), reverse=True)
    threshold, hits = None, 0
    for count, (confidence, hit) in enumerate(ordered, start=1):
        hits += hit
        last_of_its_confidence = count == len(ordered) or ordered[count][0] < confidence
        if last_of_its_confidence and hits >= precision * count:
            threshold = confidence, count / len(ordered)
    return threshold


def round_down(threshold: float) -> float:
    """A threshold on confidences, 0 to 1, with at most six decimals that the confidence it was found at still reaches.

    To the nearest decimal, 0.9996 would become 1.000, which no reading reaches.
    """
    nearest = round(threshold, 6)
    return nearest if nearest <= threshold else round(nearest - 1e-6, 6)


def _mean(values: list[float]) -> float:
    if not values:
        raise ValueError("no pair to compare")
    return sum(values) / len(values)
