"""Measure the word accuracy by the frequency of the word, and by that of its rarest character.

    python research/evidence/frequency.py --language ko --model korean --data runs/test-ko

The script reads labeled crops, and groups them by the rank of the word in the list of the language and by the rarest
character in the word. The frequency of a character is its share of all characters in running text, computed from the
frequencies of the words in the list. Words are looked up without case and without punctuation at their ends. Words that
are not in the list are numbers, codes, or phrases. The protocol is that of the language. Needs [train].
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dptr.config.render import CorpusConfig
from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import protocol, word_accuracy
from dptr.inference.auto import open_reader
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus, in_language
from dptr.text.word_lists import WordList
from dptr.utils.errors import UserError
from dptr.utils.terminal import markdown_table

RANKS = (("the first 1,000", 1_000), ("to 10,000", 10_000), ("beyond", sys.maxsize))
SHARES = (("1 % and more", 0.01), ("0.1 to 1 %", 0.001), ("below 0.1 %", 0.0))
UNLISTED = "not in the list"
SIGNS = "!\"#%&'()*,-./:;?@[]_{}¡«»¿،؛؟।॥፡።、。「」『』·…‘’“”"


@dataclass(frozen=True)
class Frequencies:
    """The frequencies of words and characters in a language, without case.

    Attributes:
        ranks: rank of each word, from 1; empty if the list has no frequencies.
        shares: share of each character in running text; the sum is 1.
    """

    ranks: Mapping[str, int]
    shares: Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", required=True, help="a code of docs/languages.md")
    parser.add_argument("--model", required=True, help="a recognizer, as in dptr read --model")
    parser.add_argument("--data", type=Path, required=True, help="labeled crops")
    options = parser.parse_args()
    try:
        crops = open_labeled(options.data)
        labels = [crops.label(row) for row in range(len(crops))]
        readings = open_reader(options.model).read([crops.image(row) for row in range(len(crops))])
        pairs = list(zip([reading.text for reading in readings], labels, strict=True))
        print(table(pairs, options.language, count(options.language)))
    except UserError as error:
        sys.exit(f"frequency: {error}")


def count(language: str) -> Frequencies:
    """Compute the frequencies from the word lists of a language.

    Raises:
        UserError: see ``Corpus``.
    """
    charset = resolve_charset(f"{language}+space")
    corpus = Corpus(in_language(CorpusConfig(), charset), charset, 64, 0, "all")
    words: defaultdict[str, float] = defaultdict(float)
    ranked = True
    for source in corpus.sources:
        if isinstance(source, WordList):
            shares = np.diff(source.cumulative, prepend=0.0)
            ranked &= not np.allclose(shares, shares[0])
            for word, share in zip(source.words, shares, strict=True):
                words[word.casefold()] += float(share)
    return count_words(words, ranked)


def count_words(words: Mapping[str, float], ranked: bool) -> Frequencies:
    """Compute the frequencies from the share of each word; ``ranked`` = whether the shares are word frequencies."""
    characters: defaultdict[str, float] = defaultdict(float)
    for word, share in words.items():
        for character in word:
            characters[character] += share
    total = sum(characters.values())
    order = sorted(words, key=lambda word: -words[word]) if ranked else ()
    return Frequencies(
        {word: rank for rank, word in enumerate(order, 1)},
        {character: share / total for character, share in characters.items()},
    )


def bins(label: str, frequencies: Frequencies) -> tuple[str, str]:
    """The bins of a label by rank and by rarest character.

    A bin is ``UNLISTED`` if the word is not in the list, or if one of its characters is in no listed word.
    """
    word = label.casefold().strip(SIGNS)
    rank = frequencies.ranks.get(word)
    by_rank = UNLISTED if rank is None else next(name for name, most in RANKS if rank <= most)
    shares = [frequencies.shares.get(character, -1.0) for character in word]
    rarest = min(shares, default=-1.0)
    by_share = UNLISTED if rarest < 0 else next(name for name, least in SHARES if rarest >= least)
    return by_rank, by_share


def table(pairs: Sequence[tuple[str, str]], language: str, frequencies: Frequencies) -> str:
    """Markdown: word accuracy of (reading, label) pairs, a row for each bin that has crops."""
    fold = protocol(language)
    pairs_by_bin: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for read, label in pairs:
        for kind, name in zip(("rank of the word", "its rarest character"), bins(label, frequencies), strict=True):
            if kind != "rank of the word" or frequencies.ranks:
                pairs_by_bin.setdefault((kind, name), []).append((fold(read), fold(label)))
    rows: list[tuple[str, ...]] = [("by", "", "crops", "words")]
    for kind, names in (("rank of the word", RANKS), ("its rarest character", SHARES)):
        for name in [*(name for name, _ in names), UNLISTED]:
            if each := pairs_by_bin.get((kind, name)):
                rows.append((kind, name, f"{len(each):,}", f"{100 * word_accuracy(each):.1f} %"))
    return markdown_table(rows)


if __name__ == "__main__":
    main()
