"""Prompts: the text that a text tower gets for a word.

CLIP's tokenizer lower-cases (openai/CLIP, ``simple_tokenizer.py``), so the paper's prompt hides the case of the label
from the decoder. ``marked`` and ``spelled`` encode case, so that different words stay different after lower-casing.
Words have no white space (``dptr.text.charset.normalize_label`` removes it).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from dptr.utils.errors import UserError

Prompt = Callable[[str], str]

CAPITAL, VARIANT = "capital", "variant"  # kinds of characters that are not lower case


def _kind(character: str) -> str:
    """Empty for lower case; CAPITAL for the upper case of a letter; VARIANT for others with the same lower case.

    For example, the digraph dž has a capital and a title-case form, and theta a capital and a capital symbol.
    """
    lower = character.lower()
    if lower == character:
        return ""
    return CAPITAL if lower.upper() == character else VARIANT


def paper(word: str) -> str:
    """The paper's prompt: ``Tea`` -> ``a photo of a 'Tea'``; equal to that of ``tea`` after lower-casing."""
    return f"a photo of a '{word}'"


def marked(word: str) -> str:
    """Carets before capitals: ``Tea`` -> ``a photo of a '^tea'``; a caret itself is doubled, a variant has ``^~``."""
    marks = {"": "", CAPITAL: "^", VARIANT: "^~"}
    letters = ("^^" if character == "^" else marks[_kind(character)] + character.lower() for character in word)
    return f"a photo of a '{''.join(letters)}'"


def spelled(word: str) -> str:
    """Letter by letter, capitals named: ``Tea`` -> ``a photo of the letters capital t e a``."""
    letters = (f"{_kind(character)} {character.lower()}".lstrip(" ") for character in word)
    return f"a photo of the letters {' '.join(letters)}"


PROMPTS: dict[str, Prompt] = {"paper": paper, "marked": marked, "spelled": spelled}


def resolve_prompt(spec: str) -> Prompt:
    """The prompt for a key of ``PROMPTS``, or for a template with one ``{}`` in place of the word.

    Raises:
        UserError: neither of the two.
    """
    if spec in PROMPTS:
        return PROMPTS[spec]
    if spec.count("{}") == 1:
        before, after = spec.split("{}")
        return lambda word: f"{before}{word}{after}"
    nearest = difflib.get_close_matches(spec, PROMPTS, n=1, cutoff=0)
    hint = f"did you mean '{nearest[0]}'?" if nearest else "write for example \"a photo of a '{}'\""
    raise UserError(
        f"dual.prompt = '{spec}'; a prompt is one of {', '.join(PROMPTS)}, or a template with one '{{}}' for the word; "
        f"{hint}"
    )
