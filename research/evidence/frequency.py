"""What a recognizer reads of common and of rare words, and of words with rare characters.

    python research/evidence/frequency.py --language ko --model korean --data runs/test-ko

reads labeled crops and counts them twice: by the rank of the word in the language's list, and by the rarest character
of the word. The share of a character is that among all characters of running text, with words as frequent as the list
says. Words are looked up without case, and without signs at their ends. Those that are not in the list are numbers,
codes, or phrases. The protocol is that of the language. Needs [train].
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
    """Of a language.

    Attributes:
        ranks: of words without case, from 1; empty where the list has no frequencies.
        shares: of characters without case, in running text; they add up to 1.
    """

    ranks: Mapping[str, int]
    shares: Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", required=True, help="a code of docs/languages.md")
    parser.add_argument("--model", required=True, help="as dptr read takes it")
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
    """The frequencies that the lists of a language give.

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
    """Frequencies of words that come so often."""
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
    """By rank and by rarest character; ``UNLISTED`` where the word, or one of its characters, is in no word listed."""
    word = label.casefold().strip(SIGNS)
    rank = frequencies.ranks.get(word)
    by_rank = UNLISTED if rank is None else next(name for name, most in RANKS if rank <= most)
    shares = [frequencies.shares.get(character, -1.0) for character in word]
    rarest = min(shares, default=-1.0)
    by_share = UNLISTED if rarest < 0 else next(name for name, least in SHARES if rarest >= least)
    return by_rank, by_share


def table(pairs: Sequence[tuple[str, str]], language: str, frequencies: Frequencies) -> str:
    """Word accuracy of (reading, label) pairs, a row a bin; bins without a crop are left out."""
    fold = protocol(language)
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for read, label in pairs:
        for kind, name in zip(("rank of the word", "its rarest character"), bins(label, frequencies), strict=True):
            if kind != "rank of the word" or frequencies.ranks:
                found.setdefault((kind, name), []).append((fold(read), fold(label)))
    rows: list[tuple[str, ...]] = [("by", "", "crops", "words")]
    for kind, names in (("rank of the word", RANKS), ("its rarest character", SHARES)):
        for name in [*(name for name, _ in names), UNLISTED]:
            if each := found.get((kind, name)):
                rows.append((kind, name, f"{len(each):,}", f"{100 * word_accuracy(each):.1f} %"))
    return markdown_table(rows)


if __name__ == "__main__":
    main()
