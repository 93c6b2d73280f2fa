"""Where a corpus reads its words: lists of packages, dictionaries, text files, the labels of data sets."""

from __future__ import annotations

import difflib
import gzip
import importlib
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dptr.config.render import SourceConfig
from dptr.text.cldr_words import cldr_words
from dptr.text.hunspell import find_dictionary, read_dictionary
from dptr.utils.data_sets import LABELS, find_data_sets, holds_shards, is_data_set
from dptr.utils.errors import UserError
from dptr.utils.extras import describe_install
from dptr.utils.lmdb import LmdbReader, is_lmdb
from dptr.utils.reading import LARGEST, read_file

PLACEHOLDER = "number placeholder"
_MERGED = re.compile(r"0[.,]*0")
_FINAL_SIGMA = re.compile(r"(?<=\w)σ\b")

Entries = tuple[list[tuple[str, float]], dict[str, int]]
"""(entry, weight > 0) pairs as read, and how many were left out, by reason."""


def read_source(source: SourceConfig) -> Entries:
    """Entries of a listed source; ``source.kind`` is a key of ``READERS``.

    Raises:
        UserError: the file or list is missing, unreadable or malformed.
    """
    return READERS[source.kind](source)


def read_wordfreq(source: SourceConfig) -> Entries:
    """The ``top`` most frequent words of ``wordfreq``'s largest list, weighted by frequency ** (1 - flatten).

    Its Greek words are case-folded and end in σ; here they end in ς again.

    The package merges all numbers of two digits and more into entries such as "00", "0,000" and "a00"
    (``wordfreq.numbers``); they are no words, and are left out and counted.
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
    """The words of CLDR in a language (``dptr.text.cldr_words``), each as likely."""
    return [(word, 1.0) for word in cldr_words(source.language)], {}


def read_hunspell(source: SourceConfig) -> Entries:
    """The words of a spell checker's dictionary: that of ``path``, or the installed one of ``language``."""
    path = Path(source.path) if source.path else find_dictionary(source.language)
    return [(word, 1.0) for word in read_dictionary(path)], {}


def read_words(source: SourceConfig) -> Entries:
    """Words of a text or gzip file, one a line or between any white space; a repeated word weighs more."""
    return [(word, 1.0) for word in _read_text(source.path, "file").split()], {}


def read_labels(source: SourceConfig) -> Entries:
    """The distinct labels of data sets (``label_sets``), weighted by how often each stands there.

    Data sets are read one after the other; no picture is read.
    """
    counts: Counter[str] = Counter()
    for place in label_sets(source):
        counts.update(_labels_of_lmdb(place) if is_lmdb(place) else _labels_of_table(place, source.path))
    return [(label, float(count)) for label, count in counts.items()], {}


def label_sets(source: SourceConfig) -> list[Path]:
    """Where labels stand: ``labels.tsv`` or its folder, an LMDB, or a root with many of them.

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
