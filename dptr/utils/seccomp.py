"""Filters of system calls for this process, on Linux (x86-64 and arm64): refused calls fail with an error number.

A filter is a small program that the kernel runs at each system call (``seccomp(2)``). This module assembles the few
instructions that it needs, because there is no wheel of the library libseccomp.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_NO_NEW_PRIVILEGES = 38  # an option of prctl
_SET_FILTER, _ALL_THREADS = 1, 1  # an operation and a flag of seccomp
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in the data that a filter reads
_X32 = 0x40000000  # the first number of system calls of the x32 ABI of x86-64

MACHINES = {"x86_64": (0xC000003E, 317, 0), "aarch64": (0xC00000B7, 277, 1)}
"""By machine: its number in the kernel (AUDIT_ARCH), the number of the call ``seccomp``, the column of ``NUMBERS``."""

NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "accept": (43, 202), "accept4": (288, 242), "add_key": (248, 217), "bind": (49, 200), "bpf": (321, 280),
    "chmod": (90, None), "chown": (92, None), "chroot": (161, 51), "clone": (56, 220), "clone3": (435, 435),
    "connect": (42, 203), "creat": (85, None), "execve": (59, 221), "execveat": (322, 281), "fallocate": (285, 47),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "fchown": (93, 55), "fchownat": (260, 54),
    "fdatasync": (75, 83), "fork": (57, None), "fsync": (74, 82), "ftruncate": (77, 46), "init_module": (175, 105),
    "finit_module": (313, 273), "io_setup": (206, 0), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425), "kcmp": (312, 272), "keyctl": (250, 219), "kill": (62, 129), "lchown": (94, None),
    "link": (86, None), "linkat": (265, 37), "listen": (50, 201), "mkdir": (83, None), "mkdirat": (258, 34),
    "mknod": (133, None), "mknodat": (259, 33), "mount": (165, 40), "mq_open": (240, 180), "msgget": (68, 186),
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pread64": (17, 67), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "pwrite64": (18, 68), "pwritev": (296, 70), "read": (0, 63),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "request_key": (249, 218),
    "rmdir": (84, None), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "semget": (64, 190),
    "setns": (308, 268), "setxattr": (188, 5), "shmget": (29, 194), "socket": (41, 198), "socketpair": (53, 199),
    "symlink": (88, None), "symlinkat": (266, 36), "tgkill": (234, 131), "tkill": (200, 130), "truncate": (76, 45),
    "umount2": (166, 39), "unlink": (87, None), "unlinkat": (263, 35), "unshare": (272, 97),
    "userfaultfd": (323, 282), "utimensat": (280, 88), "vfork": (58, None), "write": (1, 64), "writev": (20, 66),
}  # fmt: skip
"""Numbers of system calls on x86-64 and arm64; None = the machine has no such call."""


@dataclass(frozen=True)
class Refusal:
    """A system call that fails.

    Attributes:
        call: its name in ``NUMBERS``.
        error: the error number with which it fails; 0 = it does nothing and reports success.
        argument: index, from 0, of the argument that decides; None = the call always fails.
        bits: the call fails if the argument has one of these bits.
        unless_bits: the call fails if the argument has none of these bits.
        unless: the call fails if the argument differs from this number.
        above: the call fails if the argument is greater than this number.
    """

    call: str
    error: int = errno.EPERM
    argument: int | None = None
    bits: int = 0
    unless_bits: int = 0
    unless: int | None = None
    above: int | None = None


def is_supported() -> bool:
    """Whether the numbers of system calls on this machine are known; its kernel may still lack filters."""
    return sys.platform == "linux" and platform.machine() in MACHINES and struct.calcsize("P") == 8


def compile_filter(refusals: Sequence[Refusal], machine: str) -> list[tuple[int, int, int, int]]:
    """The instructions of a filter that allows every call except ``refusals``."""
    name, _, column = MACHINES[machine]
    instructions = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, name), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        instructions += [(_ABOVE, 0, 1, _X32), (_RETURN, 0, 0, _FAIL | errno.ENOSYS)]
    for each in refusals:
        number = NUMBERS[each.call][column]
        if number is not None:
            body = _compile(each)
            instructions += [(_EQUAL, 0, len(body), number), *body]
    return [*instructions, (_RETURN, 0, 0, _ALLOW)]


def _compile(refusal: Refusal) -> list[tuple[int, int, int, int]]:
    """The instructions for one call; they end by loading its number again if later rules may check the call."""
    fail = (_RETURN, 0, 0, _FAIL | refusal.error)
    if refusal.argument is None:
        return [fail]
    load = (_LOAD, 0, 0, _ARGUMENTS + 8 * refusal.argument)  # its lower 32 bits
    if refusal.bits:
        test = (_ANY_BIT, 0, 1, refusal.bits)
    elif refusal.unless_bits:
        test = (_ANY_BIT, 1, 0, refusal.unless_bits)
    elif refusal.unless is not None:
        test = (_EQUAL, 1, 0, refusal.unless)
    else:
        assert refusal.above is not None
        test = (_ABOVE, 0, 1, refusal.above + 1)
    return [load, test, fail, (_LOAD, 0, 0, _NUMBER)]


def install(refusals: Sequence[Refusal]) -> bool:
    """Refuse system calls from now on, in all threads and child processes of this process.

    Returns:
        Whether the calls are refused; False on an unknown machine or a kernel without filters.
    """
    if not is_supported():
        return False
    machine = platform.machine()
    program = compile_filter(refusals, machine)
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *each) for each in program))
    head = struct.pack("@HP", len(program), ctypes.addressof(code))
    system = ctypes.CDLL(None, use_errno=True)
    if system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return bool(system.syscall(MACHINES[machine][1], _SET_FILTER, _ALL_THREADS, head) == 0)
