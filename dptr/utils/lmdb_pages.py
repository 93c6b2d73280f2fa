"""The pages of an LMDB, read with every number checked.

The lmdb package maps the file and follows the numbers in it: one that is damaged ends the process, and so does a disk
that fails. Here pages are read from the file, and what is wrong with one is an error of that key. Only what data sets
need is here: the main database of a file that a 64-bit machine wrote, and one key at a time. The lmdb package writes.

Layout (``mdb.c`` of LMDB 0.9): a page has a header of 16 bytes, and from there a table of the places of its nodes; they
grow from the page's end. A branch page's nodes hold a key and a page; a leaf's hold a key and its value, or the first
of the pages that hold a large value. The first two pages describe the file; the one with the later transaction counts.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from dptr.utils.reading import open_plain

MAGIC, VERSION = 0xBEEFC0DE, 1
NO_PAGE = (1 << 64) - 1  # as the root of a database that holds nothing
DEEPEST = 32  # pages from the root to a leaf; LMDB goes no deeper
BRANCH, LEAF, OVERFLOW, META = 1, 2, 4, 8  # flags of pages
LARGE, SUB_DATABASE, DUPLICATES = 1, 2, 4  # flags of nodes

_HEADER = struct.Struct("<QHHHH")  # number, padding, flags, end of the table, begin of the nodes
_META = struct.Struct("<IIQQ48s48sQQ")  # magic, version, address, map size, free pages, main, last page, transaction
_DATABASE = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, three counts of pages, entries, root
_NODE = struct.Struct("<HHHH")  # size or page in two parts, flags or its third part, size of the key
_LARGEST_HEAD = 65536
_KEPT = 256  # branch pages, which every key needs


class Damaged(Exception):
    """What is wrong with the file, in a few words."""


@dataclass(frozen=True)
class Description:
    """What a file says of itself.

    Attributes:
        size: of a page, in bytes.
        pages: how many there are.
        root: of the main database; ``NO_PAGE`` = it is empty.
        entries: how many keys it has.
    """

    size: int
    pages: int
    root: int
    entries: int


class Pages:
    """An LMDB file. It may be used by several threads, and by processes that are forked.

    Attributes:
        description: what the file says of itself.

    Raises:
        Damaged: it is none, or it is truncated; or its numbers contradict each other.
        OSError: it cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self._file = open(open_plain(file), "rb", buffering=0)  # noqa: SIM115 - ``close`` closes it
        self._lock = threading.Lock()
        self._branches: OrderedDict[int, bytes] = OrderedDict()
        try:
            self.description = self._describe()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if it is not there.

        Raises:
            Damaged: a page on the way to it is.
            OSError: it cannot be read.
        """
        number = self.description.root
        if number == NO_PAGE:
            return None
        for _ in range(DEEPEST):
            page = self._branches.get(number) or self._read_page(number)
            places = _places(page, number)
            if _HEADER.unpack_from(page)[2] & LEAF:
                return self._find(page, places, key)
            self._keep(number, page)
            low = _bisect(page, places, key, first=1)  # the first key of a branch stands for all that are less
            head, middle, high, _ = _NODE.unpack_from(page, places[low - 1])
            number = head | middle << 16 | high << 32
        raise Damaged(f"more than {DEEPEST} levels")

    def _find(self, page: bytes, places: tuple[int, ...], key: bytes) -> bytes | None:
        place = _bisect(page, places, key, first=0)
        if not place or _key(page, places[place - 1]) != key:
            return None
        place = places[place - 1]
        low, high, flags, key_size = _NODE.unpack_from(page, place)
        size = low | high << 16
        begin = place + _NODE.size + key_size
        if flags == 0:
            if begin + size > len(page):
                raise Damaged("a value ends beyond its page")
            return page[begin : begin + size]
        if flags != LARGE or begin + 8 > len(page):
            raise Damaged("a value of an unknown kind")
        return self._read_large(int.from_bytes(page[begin : begin + 8], "little"), size)

    def _read_large(self, number: int, size: int) -> bytes:
        """A value that has pages of its own."""
        held = self.description
        head = self._read(number, _HEADER.size)
        own, _, flags, low, high = _HEADER.unpack(head)
        count = low | high << 16
        if own != number or not flags & OVERFLOW or number + count > held.pages:
            raise Damaged(f"page {number} holds no value")
        if _HEADER.size + size > count * held.size:
            raise Damaged(f"a value of {size} bytes on {count} pages")
        return self._read(number, size, _HEADER.size)

    def _read_page(self, number: int) -> bytes:
        page = self._read(number, self.description.size)
        own, _, flags, _, _ = _HEADER.unpack_from(page)
        if own != number or flags & ~0x10 not in (BRANCH, LEAF):  # 0x10: it was being written
            raise Damaged(f"page {number} is none of a tree")
        return page

    def _read(self, number: int, count: int, begin: int = 0) -> bytes:
        if not 2 <= number < self.description.pages:
            raise Damaged(f"there is no page {number}")
        return self._read_at(number * self.description.size + begin, count)

    def _read_at(self, place: int, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if hasattr(os, "pread"):
                piece = os.pread(self._file.fileno(), count - len(data), place + len(data))
            else:  # Windows, which does not fork
                with self._lock:
                    self._file.seek(place + len(data))
                    piece = self._file.read(count - len(data))
            if not piece:
                raise Damaged("truncated")
            data = data + piece if data else piece
        return data

    def _keep(self, number: int, page: bytes) -> None:
        with self._lock:
            self._branches[number] = page
            if len(self._branches) > _KEPT:
                self._branches.popitem(last=False)

    def _describe(self) -> Description:
        """The later of both descriptions."""
        length = os.fstat(self._file.fileno()).st_size
        if length < _HEADER.size + _META.size:
            raise Damaged("too short for one")
        first = _meta(self._read_at(0, _HEADER.size + _META.size), 0)
        size = _DATABASE.unpack(first[4])[0]
        if size not in (1 << power for power in range(8, 17)):
            raise Damaged(f"pages of {size} bytes")
        second = _meta(self._read_at(size, _HEADER.size + _META.size), 1)
        _, _, _, _, free, main, last, _ = max(first, second, key=lambda each: each[7])
        _, flags, depth, *_, entries, root = _DATABASE.unpack(main)
        if _DATABASE.unpack(free)[0] != size or flags:
            raise Damaged("its two descriptions differ" if not flags else "its keys are ordered in another way")
        pages = last + 1
        if length < pages * size:
            raise Damaged(f"truncated, {length} of {pages * size} bytes")
        if (root != NO_PAGE) != (depth > 0):
            raise Damaged("it has no root")
        return Description(size, pages, root, entries)


def _meta(data: bytes, number: int) -> tuple[int, int, int, int, bytes, bytes, int, int]:
    own, _, flags, _, _ = _HEADER.unpack_from(data)
    meta: tuple[int, int, int, int, bytes, bytes, int, int] = _META.unpack_from(data, _HEADER.size)
    if meta[0] != MAGIC or own != number or not flags & META:
        raise Damaged("no LMDB")
    if meta[1] != VERSION:
        raise Damaged(f"version {meta[1]} of the format, not {VERSION}")
    return meta


def _places(page: bytes, number: int) -> tuple[int, ...]:
    """Where the nodes of a page are."""
    _, _, flags, lower, upper = _HEADER.unpack_from(page)
    count = (lower - _HEADER.size) // 2
    least = 2 if flags & BRANCH else 1
    if not least <= count or not lower <= upper <= len(page):
        raise Damaged(f"page {number} has no nodes")
    places: tuple[int, ...] = struct.unpack_from(f"<{count}H", page, _HEADER.size)
    if min(places) < lower or max(places) > len(page) - _NODE.size:
        raise Damaged(f"page {number} has nodes beyond its end")
    return places


def _key(page: bytes, place: int) -> bytes:
    end = place + _NODE.size + _NODE.unpack_from(page, place)[3]
    if end > len(page):
        raise Damaged("a key ends beyond its page")
    return page[place + _NODE.size : end]


def _bisect(page: bytes, places: tuple[int, ...], key: bytes, first: int) -> int:
    """How many nodes have no key above ``key``; the nodes before ``first`` have none."""
    low, high = first, len(places)
    while low < high:
        middle = (low + high) // 2
        if _key(page, places[middle]) <= key:
            low = middle + 1
        else:
            high = middle
    return low
