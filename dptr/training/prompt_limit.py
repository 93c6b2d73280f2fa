"""Words whose prompt a dual encoder's text tower cannot take, so that they are left out before a run begins."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from dptr.dual.base import DualEncoder
from dptr.dual.clip.encoder import ClipDual
from dptr.text.rules import Limit

REASON = "prompt too long"
_EXTRA = 3  # tokens that a tokenizer adds to a text: its start, its end, a mark before the first word


def prompt_limit(dual: DualEncoder) -> Limit | None:
    """Which words ``dual.encode_text`` takes: those whose prompt is at most ``context`` tokens; None where all are.

    An ASCII prompt has at most as many tokens as characters and ``_EXTRA``, so that most are not tokenized here.
    """
    if not isinstance(dual, ClipDual):
        return None

    @lru_cache(maxsize=1 << 16)
    def counted(word: str) -> bool:
        return lengths([word])[0] <= dual.context

    def lengths(words: Sequence[str]) -> list[int]:
        prompts = [dual.prompt(word) for word in words]
        rows = dual.tokenizer(prompts, padding=False, truncation=False, verbose=False)["input_ids"]
        return [len(row) for row in rows]

    def short(word: str) -> bool:
        prompt = dual.prompt(word)
        return prompt.isascii() and len(prompt) + _EXTRA <= dual.context

    def fits(words: Sequence[str]) -> list[bool]:
        if len(words) == 1:
            return [short(words[0]) or counted(words[0])]
        doubtful = [word for word in words if not short(word)]
        beyond = {
            word for word, length in zip(doubtful, lengths(doubtful) if doubtful else [], strict=True)
            if length > dual.context
        }  # fmt: skip
        return [word not in beyond for word in words]

    return Limit(REASON, fits)
