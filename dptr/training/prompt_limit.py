"""Words whose prompt is too long for a dual encoder's text tower, so that corpora can leave them out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from dptr.dual.base import DualEncoder
from dptr.dual.clip.encoder import ClipDual
from dptr.text.rules import Limit

REASON = "prompt too long"
_EXTRA = 3  # tokens that a tokenizer may add to a text: start, end, a mark before the first word


def prompt_limit(dual: DualEncoder) -> Limit | None:
    """The limit to words whose prompt has at most ``dual.context`` tokens; None if ``dual`` takes all words.

    An ASCII prompt has at most as many tokens as characters plus ``_EXTRA``, so most prompts need no tokenizer here.
    """
    if not isinstance(dual, ClipDual):
        return None

    @lru_cache(maxsize=1 << 16)
    def fits_tokenized(word: str) -> bool:
        return count_tokens([word])[0] <= dual.context

    def count_tokens(words: Sequence[str]) -> list[int]:
        prompts = [dual.prompt(word) for word in words]
        rows = dual.tokenizer(prompts, padding=False, truncation=False, verbose=False)["input_ids"]
        return [len(row) for row in rows]

    def is_short(word: str) -> bool:
        prompt = dual.prompt(word)
        return prompt.isascii() and len(prompt) + _EXTRA <= dual.context

    def fits(words: Sequence[str]) -> list[bool]:
        if len(words) == 1:
            return [is_short(words[0]) or fits_tokenized(words[0])]
        doubtful = [word for word in words if not is_short(word)]
        too_long = {
            word for word, count in zip(doubtful, count_tokens(doubtful) if doubtful else [], strict=True)
            if count > dual.context
        }  # fmt: skip
        return [word not in too_long for word in words]

    return Limit(REASON, fits)
