"""Fit the character n-grams that rescore the readings of a recognizer (``dptr.inference.rescore``).

The words are those that training renders, without the held-out ones, which tests read. For ``latin`` they are the most
frequent words of 24 languages, most of them English.

    python scripts/ngrams.py latin dptr/weights/dptr-latin/ngrams.npz
    python scripts/ngrams.py cyrillic recognizers/cyrillic/dptr_cyrillic/ngrams.npz
"""

from __future__ import annotations

import argparse
import random
import string
from pathlib import Path

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.models.checkpoint import open_checkpoint
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus, in_language
from dptr.text.ngrams import fit_word_list

MAX_LENGTH = 64  # characters of a word
OTHERS = "pt nl pl cs sv tr ca da fi hu is lt lv nb ro sk sl sh vi"
LATIN = {
    "en": (150_000, 0.6),
    **{language: (15_000, 0.03) for language in ("de", "fr", "es", "it")},
    **{language: (8_000, 0.015) for language in OTHERS.split()},
}
"""The most frequent words of each language, and the weight of the language."""


def main() -> None:
    """Read the arguments, collect the words, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("language", help="latin, or the code of a language or script")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--control", choices=("exchange", "shuffle"), help=exchange_or_shuffle.__doc__)
    options = parser.parse_args()
    if options.language == "latin":
        charset = open_checkpoint("dptr-latin").charset
        sources = [
            SourceConfig(kind="wordfreq", language=language, top=top, weight=weight)
            for language, (top, weight) in LATIN.items()
        ]
        config = CorpusConfig(sources=tuple(sources))
    else:
        charset = resolve_charset(f"{options.language}+space")
        config = in_language(CorpusConfig(), charset)
    words = [*Corpus(config, charset, MAX_LENGTH, seed=0).list_words()]
    model = fit_word_list(exchange_or_shuffle(words, options.control) if options.control else words)
    model.save(options.out)
    sizes = ", ".join(f"{len(own.keys):,}" for own in model.orders)
    print(f"{len(model.alphabet)} letters; n-grams by order: {sizes}; {options.out.stat().st_size:,} bytes")


def exchange_or_shuffle(words: list[tuple[str, float]], control: str) -> list[tuple[str, float]]:
    """For a control: exchange a to z for each other, the same way in all words, or shuffle the letters of each word."""
    draw = random.Random(0)
    if control == "shuffle":
        return [("".join(draw.sample(word, len(word))), probability) for word, probability in words]
    letters = string.ascii_lowercase
    others = "".join(draw.sample(letters, len(letters)))
    table = str.maketrans(letters + letters.upper(), others + others.upper())
    return [(word.translate(table), probability) for word, probability in words]


if __name__ == "__main__":
    main()
