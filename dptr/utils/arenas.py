"""Share the memory that the C library hands out among the threads of a server."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8  # glibc's malloc.h; see mallopt(3)


def limit_arenas(count: int = 2) -> bool:
    """Let all threads of this process allocate from ``count`` arenas of glibc; return whether that has an effect.

    By default, each thread has an arena of its own, up to eight for each processor. Memory that a thread has freed is
    not used by the others, so that the memory of a server with many threads grows for hours. Call this before threads
    start. Other C libraries than glibc have no such arenas.
    """
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # only glibc has it
    except (AttributeError, OSError, TypeError):
        return False
    return bool(library.mallopt(M_ARENA_MAX, count))
