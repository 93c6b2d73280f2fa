"""Word sources of corpora: lists of packages, dictionaries, text files, and labels of data sets."""

from __future__ import annotations

import difflib
import gzip
import importlib
import io
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from dptr.config.render import SourceConfig
from dptr.text.cldr_words import cldr_words
from dptr.text.hunspell import find_dictionary, read_dictionary
from dptr.utils.data_sets import LABELS, find_data_sets, holds_shards, is_data_set
from dptr.utils.errors import UserError
from dptr.utils.extras import describe_install
from dptr.utils.lmdb import LmdbReader, is_lmdb
from dptr.utils.reading import LARGEST, read_file

PLACEHOLDER = "number placeholder"
HEADING = "heading"
COUNT = "number taken as a count"
_SAMPLE = 100  # lines to check first whether a text may be a list of frequencies
_MERGED = re.compile(r"0[.,]*0")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?")
_FINAL_SIGMA = re.compile(r"(?<=\w)σ\b")

Entries = tuple[list[tuple[str, float]], dict[str, int]]
"""Pairs (entry, weight > 0), and the number of entries that were left out, by reason."""


def read_source(source: SourceConfig) -> Entries:
    """Entries of a listed source; ``source.kind`` is a key of ``READERS``.

    Raises:
        UserError: the file or list is missing, unreadable or malformed.
    """
    return READERS[source.kind](source)


def read_wordfreq(source: SourceConfig) -> Entries:
    """The ``top`` most frequent words of ``wordfreq``'s largest list, weighted by frequency ** (1 - flatten).

    Its Greek words are case-folded, so a final σ is replaced by ς. It merges numbers of two or more digits into entries
    such as "00", "0,000", and "a00" (``wordfreq.numbers``), which are left out and counted.
    """
    try:
        wordfreq = importlib.import_module("wordfreq")
    except ImportError as error:
        raise UserError(
            f"corpus source wordfreq: the package is not installed; use kind = 'file', or {describe_install('train')}"
        ) from error
    known = wordfreq.available_languages("best")
    if source.language not in known:
        nearest = difflib.get_close_matches(source.language, known, n=1, cutoff=0.4)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(sorted(known))}"
        raise UserError(f"corpus source wordfreq: no list for language '{source.language}'; {hint}")
    frequencies = wordfreq.get_frequency_dict(source.language, "best")
    ranked = list(islice(wordfreq.iter_wordlist(source.language, "best"), source.top))
    usable = [
        (_FINAL_SIGMA.sub("ς", word), frequencies[word] ** (1 - source.flatten))
        for word in ranked
        if not _MERGED.search(word)
    ]
    left_out = len(ranked) - len(usable)
    return usable, {PLACEHOLDER: left_out} if left_out else {}


def read_cldr(source: SourceConfig) -> Entries:
    """The words of CLDR in a language (``dptr.text.cldr_words``), with equal weights."""
    return [(word, 1.0) for word in cldr_words(source.language)], {}


def read_hunspell(source: SourceConfig) -> Entries:
    """The words of a hunspell dictionary: ``path``, or the installed one of ``language``."""
    path = Path(source.path) if source.path else find_dictionary(source.language)
    return [(word, 1.0) for word in read_dictionary(path)], {}


def read_words(source: SourceConfig) -> Entries:
    """Words of a text or gzip file, separated by white space; repeated words have more weight.

    If each line begins or ends with a number, as in ``ཀུན 237960``, this is the word's count. Weights are logarithms of
    counts, so that a few frequent words do not dominate a short list. If first numbers ascend, as in ``12 ཀུན 237960``,
    they are line numbers, and the last number is the count. At most ``max_words`` words are kept: the most frequent
    ones of a list with counts, otherwise a random sample.
    """
    text = _read_text(source.path, "file")
    counted, left_out = _read_counts(text)
    if not counted:
        words = text.split()
        return _keep([(word, 1.0) for word in words], _some(words, source.max_words), source.max_words, {})
    least, most = min(counted.values()), max(counted.values())
    entries = [(word, math.log1p(count / least) / math.log1p(most / least)) for word, count in counted.items()]
    entries.sort(key=lambda entry: entry[1], reverse=True)
    kept = {word for word, _ in entries[: source.max_words or None]}
    return _keep(entries, kept, source.max_words, left_out)


def read_lines(source: SourceConfig) -> Entries:
    """Texts of a text or gzip file, one on each line, with their spaces; repeated ones have more weight.

    At most ``max_words`` different ones are kept, a random sample.
    """
    lines = [text for line in _read_text(source.path, "lines").split("\n") if (text := line.strip())]
    return _keep([(line, 1.0) for line in lines], _some(lines, source.max_words), source.max_words, {})


def _keep(entries: list[tuple[str, float]], kept: set[str], most: int, left_out: dict[str, int]) -> Entries:
    """The entries in ``kept`` if there are more than ``most`` (0 = no limit), and what was left out with the others."""
    if not most or len(entries) <= most:
        return entries, left_out
    used = [entry for entry in entries if entry[0] in kept]
    beyond = {f"beyond {most:,} different words": len(entries) - len(used)} if len(used) < len(entries) else {}
    return used, {**left_out, **beyond}


def _some(words: Sequence[str], most: int) -> set[str]:
    """A random sample of at most ``most`` distinct words, the same in each call; all if ``most`` is 0."""
    if not most or len(words) <= most:
        return {*words}
    different = list(dict.fromkeys(words))
    chosen = np.random.Generator(np.random.Philox(key=0)).permutation(len(different))[:most]
    return {different[number] for number in chosen}


def _read_counts(text: str) -> tuple[dict[str, float], dict[str, int]]:
    """Counts by word in a list of frequencies, and how many counts and headings it has; ({}, {}) for other texts.

    A text in which half or more of the words are numbers is not such a list, unless its lines are numbered. Counts of 0
    or less are replaced by the smallest positive one.
    """
    for end in (-1, 0):
        some = list(islice(_rows(text), _SAMPLE))
        heading = int(len(some) > 2 and not _has_count(some[0], end))
        if not all(_has_count(fields, end) for fields in some[heading:]):
            continue
        rows = list(islice(_rows(text), heading, None))
        if len(rows) < 2 or not all(_has_count(fields, end) for fields in rows):
            continue
        beside = sum(_is_number(fields[0 if end else -1]) for fields in rows)
        numbered = end == -1 and _are_numbered(rows)
        if 2 * beside >= len(rows) and not numbered:
            continue
        counts: dict[str, float] = {}
        numbers = [float(fields[end]) for fields in rows]
        least = min((number for number in numbers if number > 0), default=1.0)
        for fields, number in zip(rows, numbers, strict=True):
            for word in fields[int(numbered) : -1] if end else fields[1:]:
                counts[word] = counts.get(word, 0.0) + max(number, least)
        return counts, {COUNT: len(rows), **({HEADING: heading} if heading else {})}
    return {}, {}


def _rows(text: str) -> Iterator[list[str]]:
    """The fields of each non-blank line."""
    return (fields for line in io.StringIO(text) if (fields := line.split()))


def _has_count(fields: list[str], end: int) -> bool:
    """Whether a line has two or more fields, with a number at this end."""
    return len(fields) > 1 and _is_number(fields[end])


def _is_number(field: str) -> bool:
    return bool(_NUMBER.fullmatch(field))


def _are_numbered(rows: list[list[str]]) -> bool:
    """Whether lines begin with ascending line numbers, before a word and its count."""
    own = [int(fields[0]) for fields in rows if len(fields) > 2 and fields[0].isascii() and fields[0].isdecimal()]
    return len(own) == len(rows) and all(one < other for one, other in pairwise(own))


def read_labels(source: SourceConfig) -> Entries:
    """The distinct labels of data sets (``label_sets``), weighted by frequency; no pictures are read."""
    counts: Counter[str] = Counter()
    for place in label_sets(source):
        counts.update(_labels_of_lmdb(place) if is_lmdb(place) else _labels_of_table(place, source.path))
    return [(label, float(count)) for label, count in counts.items()], {}


def label_sets(source: SourceConfig) -> list[Path]:
    """The paths of ``labels.tsv`` files and LMDBs that a source names: one, or those of a root folder.

    Raises:
        UserError: see ``find_data_sets``.
    """
    path = Path(source.path)
    if path.name == "data.mdb" and path.is_file():
        path = path.parent
    if not source.path or not path.is_dir():
        return [path]
    found = [path] if is_data_set(path) else find_data_sets(path)
    for folder in found:
        if holds_shards(folder):
            raise UserError(f"corpus source of kind labels: {folder} holds shards; set kind = 'shards' for them")
    return [folder if is_lmdb(folder) else folder / LABELS for folder in found]


READERS = {
    "wordfreq": read_wordfreq,
    "cldr": read_cldr,
    "hunspell": read_hunspell,
    "file": read_words,
    "lines": read_lines,
    "labels": read_labels,
}


def _labels_of_lmdb(folder: Path) -> Iterator[str]:
    with LmdbReader(folder) as reader:
        yield from (reader.label(index) for index in range(len(reader)))


def _labels_of_table(path: Path, given: str) -> Iterator[str]:
    for number, line in enumerate(_read_text(given and str(path), "labels").split("\n"), start=1):
        _, tab, label = line.rstrip("\r").partition("\t")
        if tab:
            yield label
        elif line.strip():
            raise UserError(f"{path}, line {number}: no tab; each line is path<TAB>label; add the tab")


def _read_text(path: str, kind: str) -> str:
    where = f"corpus source of kind {kind}: {path}"
    if not path:
        raise UserError(f"corpus source of kind {kind}: path is empty; set it to a file")
    try:
        content = read_file(path)
        if content.startswith(b"\x1f\x8b"):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST + 1)
            if len(content) > LARGEST:
                raise UserError(f"{where}: more than {LARGEST >> 20} MiB unpacked; cut it into several files")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{where}: damaged gzip ({error}); compress it anew") from error
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}; check the path") from error
