"""A reader of LMDB files that checks every number in a file before it uses it.

The lmdb package memory-maps a file and follows the numbers in it without checks, so a damaged file or a failing disk
ends the process. Here, damage in a page is an error of the key that needs the page. The reader does only what data sets
need: it finds one key at a time in the main database of a file that a 64-bit machine wrote.

Layout (``mdb.c`` of LMDB 0.9): a page has a header of 16 bytes, then a table of the offsets of its nodes. Nodes are
stored from the end of the page backwards. A node of a branch page holds a key and the number of another page. A node of
a leaf page holds a key and its value; for a large value, it holds the number of the first page of the value. The first
two pages (meta pages) describe the file; the one with the later transaction is valid.
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
NO_PAGE = (1 << 64) - 1  # root of an empty database
DEEPEST = 32  # most pages from the root to a leaf; LMDB has the same limit
BRANCH, LEAF, OVERFLOW, META = 1, 2, 4, 8  # flags of pages
LARGE, SUB_DATABASE, DUPLICATES = 1, 2, 4  # flags of nodes

_HEADER = struct.Struct("<QHHHH")  # number, padding, flags, end of the table, begin of the nodes
_META = struct.Struct("<IIQQ48s48sQQ")  # magic, version, address, map size, free pages, main, last page, transaction
_DATABASE = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, three counts of pages, entries, root
_NODE = struct.Struct("<HHHH")  # size or page in two parts, flags or its third part, size of the key
_LARGEST_HEAD = 65536
_MAX_BRANCHES = 256  # branch pages in memory, because every key needs some


class Damaged(Exception):
    """The file is damaged, or no LMDB; the message says in a few words what is wrong."""


@dataclass(frozen=True)
class Description:
    """The contents of a meta page.

    Attributes:
        size: bytes of a page.
        pages: number of pages.
        root: page number of the root of the main database; ``NO_PAGE`` = the database is empty.
        entries: number of keys in the main database.
    """

    size: int
    pages: int
    root: int
    entries: int


class Pages:
    """An open LMDB file, which threads and forked processes may share.

    Attributes:
        description: the contents of the valid meta page.

    Raises:
        Damaged: the file is no LMDB, it is truncated, or its numbers contradict each other.
        OSError: the file cannot be read.
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
        """The value of a key; None = there is no such key.

        Raises:
            Damaged: a page on the way to the key is damaged.
            OSError: the file cannot be read.
        """
        number = self.description.root
        if number == NO_PAGE:
            return None
        for _ in range(DEEPEST):
            page = self._branches.get(number) or self._read_page(number)
            offsets = _node_offsets(page, number)
            if _HEADER.unpack_from(page)[2] & LEAF:
                return self._find(page, offsets, key)
            self._cache_branch(number, page)
            low = _bisect(page, offsets, key, first=1)  # the first node of a branch stands for all smaller keys
            head, middle, high, _ = _NODE.unpack_from(page, offsets[low - 1])
            number = head | middle << 16 | high << 32
        raise Damaged(f"more than {DEEPEST} levels")

    def _find(self, page: bytes, offsets: tuple[int, ...], key: bytes) -> bytes | None:
        offset = _bisect(page, offsets, key, first=0)
        if not offset or _read_key(page, offsets[offset - 1]) != key:
            return None
        offset = offsets[offset - 1]
        low, high, flags, key_size = _NODE.unpack_from(page, offset)
        size = low | high << 16
        begin = offset + _NODE.size + key_size
        if flags == 0:
            if begin + size > len(page):
                raise Damaged("a value ends beyond its page")
            return page[begin : begin + size]
        if flags != LARGE or begin + 8 > len(page):
            raise Damaged("a value of an unknown kind")
        return self._read_large(int.from_bytes(page[begin : begin + 8], "little"), size)

    def _read_large(self, number: int, size: int) -> bytes:
        """Read a value of ``size`` bytes that begins on page ``number`` and fills pages of its own."""
        description = self.description
        head = self._read(number, _HEADER.size)
        page_number, _, flags, low, high = _HEADER.unpack(head)
        count = low | high << 16
        if page_number != number or not flags & OVERFLOW or number + count > description.pages:
            raise Damaged(f"page {number} holds no value")
        if _HEADER.size + size > count * description.size:
            raise Damaged(f"a value of {size} bytes on {count} pages")
        return self._read(number, size, _HEADER.size)

    def _read_page(self, number: int) -> bytes:
        page = self._read(number, self.description.size)
        page_number, _, flags, _, _ = _HEADER.unpack_from(page)
        if page_number != number or flags & ~0x10 not in (BRANCH, LEAF):  # 0x10: P_DIRTY, the page was being written
            raise Damaged(f"page {number} is none of a tree")
        return page

    def _read(self, number: int, count: int, begin: int = 0) -> bytes:
        if not 2 <= number < self.description.pages:
            raise Damaged(f"there is no page {number}")
        return self._read_at(number * self.description.size + begin, count)

    def _read_at(self, offset: int, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if hasattr(os, "pread"):
                chunk = os.pread(self._file.fileno(), count - len(data), offset + len(data))
            else:  # Windows, which does not fork
                with self._lock:
                    self._file.seek(offset + len(data))
                    chunk = self._file.read(count - len(data))
            if not chunk:
                raise Damaged("truncated")
            data = data + chunk if data else chunk
        return data

    def _cache_branch(self, number: int, page: bytes) -> None:
        with self._lock:
            self._branches[number] = page
            if len(self._branches) > _MAX_BRANCHES:
                self._branches.popitem(last=False)

    def _describe(self) -> Description:
        """Check both meta pages and describe the file by the one with the later transaction."""
        length = os.fstat(self._file.fileno()).st_size
        if length < _HEADER.size + _META.size:
            raise Damaged("too short for one")
        first = _read_meta(self._read_at(0, _HEADER.size + _META.size), 0)
        size = _DATABASE.unpack(first[4])[0]
        if size not in (1 << power for power in range(8, 17)):
            raise Damaged(f"pages of {size} bytes")
        second = _read_meta(self._read_at(size, _HEADER.size + _META.size), 1)
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


def _read_meta(data: bytes, number: int) -> tuple[int, int, int, int, bytes, bytes, int, int]:
    page_number, _, flags, _, _ = _HEADER.unpack_from(data)
    meta: tuple[int, int, int, int, bytes, bytes, int, int] = _META.unpack_from(data, _HEADER.size)
    if meta[0] != MAGIC or page_number != number or not flags & META:
        raise Damaged("no LMDB")
    if meta[1] != VERSION:
        raise Damaged(f"version {meta[1]} of the format, not {VERSION}")
    return meta


def _node_offsets(page: bytes, number: int) -> tuple[int, ...]:
    """The offsets of the nodes of a page."""
    _, _, flags, lower, upper = _HEADER.unpack_from(page)
    count = (lower - _HEADER.size) // 2
    least = 2 if flags & BRANCH else 1
    if not least <= count or not lower <= upper <= len(page):
        raise Damaged(f"page {number} has no nodes")
    offsets: tuple[int, ...] = struct.unpack_from(f"<{count}H", page, _HEADER.size)
    if min(offsets) < lower or max(offsets) > len(page) - _NODE.size:
        raise Damaged(f"page {number} has nodes beyond its end")
    return offsets


def _read_key(page: bytes, offset: int) -> bytes:
    end = offset + _NODE.size + _NODE.unpack_from(page, offset)[3]
    if end > len(page):
        raise Damaged("a key ends beyond its page")
    return page[offset + _NODE.size : end]


def _bisect(page: bytes, offsets: tuple[int, ...], key: bytes, first: int) -> int:
    """How many nodes have a key of at most ``key``; the nodes before ``first`` have no key and count, too."""
    low, high = first, len(offsets)
    while low < high:
        middle = (low + high) // 2
        if _read_key(page, offsets[middle]) <= key:
            low = middle + 1
        else:
            high = middle
    return low
