"""Decoding: from crops to predictions with words and confidences.

Reading is unconstrained, restricted to some characters (``dptr.inference.restrict``), or constrained to the words of a
pattern or a lexicon (``dptr.inference.constraint``). Confidences are calibrated as the model's card says
(``dptr.inference.confidence``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dptr.inference.backend import Backend
from dptr.inference.best_path import collapse
from dptr.inference.confidence import WordConfidence, apply_temperature
from dptr.inference.constraint import Constraint, Lexicon, make_constraint
from dptr.inference.prediction import Prediction, has_repeated_ending, note_cut
from dptr.inference.rescore import CERTAIN, Rescoring, find_word
from dptr.inference.restrict import Restriction, restrict
from dptr.inference.trellis import FoundWord
from dptr.text.charset import Charset, resolve_charset
from dptr.text.direction import MIRRORED
from dptr.text.tokenizer import Decoded, Tokenizer
from dptr.utils.errors import UserError

_ANY = r"(\S(.*\S)?)?"  # any word, without spaces at its ends


@dataclass(frozen=True)
class Decoding:
    """How the crops of a model are decoded.

    Attributes:
        tokenizer: of the model.
        confidence: calibration of words from the card; None if the card has none.
        restriction: to some characters, if there is no ``constraint``; None = all of the model's.
        constraint: to the words of a pattern or a lexicon; None = any.
        masked: a constraint to all words over the characters of ``restriction``, for autoregressive models; None for
            others.
        rescoring: of doubtful readings of a CTC network, if they are unconstrained; None = keep them.
    """

    tokenizer: Tokenizer
    confidence: WordConfidence | None = None
    restriction: Restriction | None = None
    constraint: Constraint | None = None
    masked: Constraint | None = None
    rescoring: Rescoring | None = None

    def predict(self, backend: Backend, crops: UInt8[np.ndarray, "n h w 3"]) -> list[Prediction]:
        """Read crops of one size."""
        calibration = self.confidence
        if self.constraint is not None:
            predictions, probabilities = self._search(self.constraint, backend, crops)
        else:
            predictions, probabilities = self._read(backend, crops)
        if calibration is None:
            return predictions
        return [
            replace(each, confidence=calibration.scale(p, len(each.text)), uncalibrated=each.confidence)
            for each, p in zip(predictions, probabilities, strict=True)
        ]

    def _read(self, backend: Backend, crops: UInt8[np.ndarray, "n h w 3"]) -> tuple[list[Prediction], list[float]]:
        """Read any words; also return the probability p (``WordConfidence``) of each."""
        if self.restriction is not None:
            return self._read_restricted(self.restriction, backend, crops)
        sums_paths = self.confidence is not None and self.confidence.of_paths
        with_paths = sums_paths or self.rescoring is not None
        outputs = backend.probabilities_and_paths(crops) if with_paths else (backend.probabilities(crops),)
        rows, *paths = (apply_temperature(output, backend.temperature) for output in outputs)
        predictions, probabilities = self._decode(rows, *paths)
        if self.rescoring is not None:
            self._rescore(self.rescoring, predictions, probabilities, paths[0])
        return predictions, probabilities

    def _rescore(
        self,
        rescoring: Rescoring,
        predictions: list[Prediction],
        probabilities: list[float],
        paths: Float[np.ndarray, "n p classes"],
    ) -> None:
        """Replace doubtful readings by better ones, and p of all doubtful ones by that of the choice."""
        own = self.confidence if self.confidence is not None and self.confidence.of_paths else None
        for index, (before, path) in enumerate(zip(predictions, paths, strict=True)):
            if before.confidence >= CERTAIN or before.runaway:
                continue
            choice = rescoring.choose(path, own.fold if own is not None else tuple)
            if len(choice.symbols) > self.tokenizer.max_length:
                continue
            if choice.symbols != tuple(self.tokenizer.symbols(before.text)):
                predictions[index] = _predict_found(find_word(path, choice.symbols), self.tokenizer)
                predictions[index] = replace(predictions[index], outside=None)
            probabilities[index] = choice.probability if own is not None else predictions[index].confidence

    def _read_restricted(
        self, restriction: Restriction, backend: Backend, crops: UInt8[np.ndarray, "n h w 3"]
    ) -> tuple[list[Prediction], list[float]]:
        """``_read`` with a restriction to some characters.

        For a CTC network, the path is restricted before it is collapsed, since a restricted word would end at the first
        character that may not be read. An autoregressive decoder first reads without restriction. If it confused a
        character with one that may not be read, it reads again with these characters masked at every step.
        """
        if backend.searches == "paths":
            path = restriction.apply(apply_temperature(backend.paths(crops), backend.temperature))
            return self._decode(collapse(path, self.tokenizer.max_length + 1), path)
        free = apply_temperature(backend.probabilities(crops), backend.temperature)
        rows, replaced = restriction.apply_by_character(free)
        predictions, probabilities = self._decode(rows, cut=(free.argmax(-1) != self.tokenizer.eos).all(1))
        again = np.flatnonzero(replaced)
        if self.masked is not None and len(again):
            reread = self._search(self.masked, backend, crops[again])
            for index, prediction, p in zip(again.tolist(), *reread, strict=True):
                predictions[index], probabilities[index] = replace(prediction, outside=None), p
        return predictions, probabilities

    def _decode(
        self,
        rows: Float[np.ndarray, "n t classes"],
        paths: Float[np.ndarray, "n p classes"] | None = None,
        cut: Bool[np.ndarray, " n"] | None = None,
    ) -> tuple[list[Prediction], list[float]]:
        """Decode probabilities by character.

        Args:
            paths: the probabilities by position, of a CTC network.
            cut: which words reached the longest length without an end, if the rows do not show it.
        """
        own = self.confidence
        words = self.tokenizer.decode(rows)
        if cut is not None:
            words = [replace(word, ended=word.ended and not is_cut) for word, is_cut in zip(words, cut, strict=True)]
        predictions = [_predict_word(word, rows.shape[1]) for word in words]
        if own is None:
            return predictions, [word.confidence for word in words]
        if own.of_paths:
            assert paths is not None
            return predictions, _sum_paths(own, predictions, paths, self.tokenizer)
        return predictions, [own.product(row[: word.length + 1]) for word, row in zip(words, rows, strict=True)]

    def _search(
        self, constraint: Constraint, backend: Backend, crops: UInt8[np.ndarray, "n h w 3"]
    ) -> tuple[list[Prediction], list[float]]:
        """``_read`` with a constraint to the words of a pattern or a lexicon."""
        own = self.confidence
        found = constraint.read(backend, crops)
        predictions = [_predict_found(each, self.tokenizer) for each in found]
        if own is not None and own.of_paths:
            paths = np.stack([each.path for each in found if each.path is not None])
            return predictions, _sum_paths(own, predictions, paths, self.tokenizer)
        return predictions, [each.confidence for each in predictions]


def make_decoding(
    backend: Backend, name: str, charset: str | Charset = "", pattern: str = "", lexicon: Lexicon = None,
    rescoring: Rescoring | None = None,
) -> Decoding:  # fmt: skip
    """The decoding of a model.

    Args:
        name: of the model, for errors.
        charset, pattern, lexicon: see ``dptr.inference.reader.Reader``.
        rescoring: of a CTC network; unused with ``charset``, ``pattern``, or ``lexicon``.

    Raises:
        UserError: a card that does not fit the model; see ``resolve_charset``, ``restrict``, ``make_constraint``, and
            ``WordConfidence.from_card``.
    """
    known = backend.tokenizer.charset
    allowed = (resolve_charset(charset) if isinstance(charset, str) else charset) if charset else None
    if allowed is not None and backend.tokenizer.visual:  # brackets are written as they look
        both = dict.fromkeys(each for one in allowed.characters for each in (one, MIRRORED.get(one, one)))
        allowed = Charset(allowed.name, tuple(both))
    own = WordConfidence.from_card(backend.card, len(known))
    if own is not None and own.of_paths and backend.searches != "paths":
        raise UserError(f"model '{name}': its card calibrates sums over paths, and it is no CTC network; copy it anew")
    restriction = None if allowed is None else restrict(known, allowed)
    constraint = masked = None
    longest = backend.tokenizer.max_length
    if pattern or lexicon is not None:
        write = backend.tokenizer.write if backend.tokenizer.visual else None
        constraint = make_constraint(known, longest, pattern, lexicon, allowed, write)
    elif restriction is not None and backend.searches == "prefixes":
        masked = make_constraint(known, longest, _ANY, allowed=allowed)
    return Decoding(backend.tokenizer, own, restriction, constraint, masked, rescoring if allowed is None else None)


def _sum_paths(
    own: WordConfidence,
    predictions: Sequence[Prediction],
    paths: Float[np.ndarray, "n t classes"],
    tokenizer: Tokenizer,
) -> list[float]:
    return own.path_probabilities(paths, [tokenizer.symbols(each.text) for each in predictions]).tolist()


def _predict_word(word: Decoded, longest: int) -> Prediction:
    """The prediction of a decoded word; ``longest`` is the most characters that the model writes."""
    runaway = not word.ended and has_repeated_ending(word.written)
    return Prediction(
        text=word.text,
        confidence=word.confidence,
        characters=tuple(zip(word.text, word.characters, strict=True)),
        runaway=runaway,
        notes=() if word.ended or runaway else (note_cut(longest),),
    )


def _predict_found(found: FoundWord, tokenizer: Tokenizer) -> Prediction:
    written = "".join(tokenizer.charset.characters[symbol - 1] for symbol in found.symbols)
    text, characters = tokenizer.read(written, found.probabilities[:-1])
    return Prediction(
        text=text,
        confidence=math.prod(found.probabilities),
        characters=tuple(zip(text, characters, strict=True)),
        outside=found.outside,
    )
