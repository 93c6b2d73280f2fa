"""A sandbox for processes that decode untrusted files: they can only compute, and read system files and Python's files.

On Linux, Landlock restricts access to files, and a seccomp filter restricts other system calls. Neither needs
privileges, and neither can be lifted while the process lives. If the kernel lacks one of them, the other still works.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable

from dptr.utils.seccomp import Refusal, install, is_supported

SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/fonts", "/etc/localtime",
    "/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu",
)  # fmt: skip
"""Files and folders that may be read, in addition to Python and its packages."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION, _BENEATH = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # number of file access rights in each version of Landlock
_NO_NEW_PRIVILEGES = 38

_THREAD = 0x10000  # CLONE_THREAD
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NEVER = (
    "accept", "accept4", "add_key", "bind", "bpf", "chmod", "chown", "chroot", "connect", "creat", "execve", "execveat",
    "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "fork", "init_module", "finit_module", "io_setup",
    "io_uring_enter", "io_uring_register", "io_uring_setup", "kcmp", "keyctl", "lchown", "link", "linkat", "listen",
    "mkdir", "mkdirat", "mknod", "mknodat", "mount", "mq_open", "msgget", "open_by_handle_at", "perf_event_open",
    "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "process_vm_readv", "process_vm_writev", "ptrace", "rename",
    "renameat", "renameat2", "request_key", "rmdir", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "semget", "setns",
    "setxattr", "shmget", "socket", "socketpair", "symlink", "symlinkat", "tkill", "truncate", "umount2", "unlink",
    "unlinkat", "unshare", "userfaultfd", "utimensat", "vfork",
)  # fmt: skip


def confine() -> tuple[str, ...]:
    """Restrict this process, permanently, to what decoding needs. Call it before other threads exist.

    Afterwards this process can open only the files of ``SYSTEM``, of Python, and of its packages, and only for reading.
    It cannot start another process, use the network, or send signals to other processes. Files that are already open
    stay open.

    Returns:
        The restrictions in force: ``landlock`` and ``seccomp``, one of them, or none, as on systems other than Linux.
    """
    if not is_supported():
        return ()
    in_force = []
    if _restrict_files([*SYSTEM, sys.prefix, sys.base_prefix, *filter(None, sys.path)]):
        in_force.append("landlock")
    if install(refusals()):
        in_force.append("seccomp")
    return tuple(in_force)


def refusals() -> list[Refusal]:
    """The system calls that a decoder does not need, and how they fail."""
    pid = os.getpid()
    return [
        *(Refusal(call) for call in _NEVER),
        Refusal("clone3", errno.ENOSYS),  # a filter cannot see its flags; the C library then calls ``clone``
        Refusal("openat2", errno.ENOSYS),  # a filter cannot see its flags either
        Refusal("clone", argument=0, unless_bits=_THREAD),
        Refusal("open", errno.EACCES, argument=1, bits=_WRITES),
        Refusal("openat", errno.EACCES, argument=2, bits=_WRITES),
        Refusal("kill", argument=0, unless=pid),
        Refusal("tgkill", argument=0, unless=pid),
    ]


def _restrict_files(readable: Iterable[str]) -> bool:
    """Allow only reading below ``readable``, by Landlock; return whether that is in force."""
    system = ctypes.CDLL(None, use_errno=True)
    version = system.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    rights = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    rules = system.syscall(_CREATE_RULESET, struct.pack("<Q", rights), ctypes.c_size_t(8), 0)
    if rules < 0:
        return False
    try:
        for path in dict.fromkeys(map(os.path.realpath, readable)):
            _allow(system, rules, path)
        if system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            return False
        return bool(system.syscall(_RESTRICT, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(system: ctypes.CDLL, rules: int, path: str) -> None:
    """Add a rule that allows reading ``path`` and, for a folder, what is below it."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not on this machine
        return
    allowed = _READ_FILE | (_READ_FOLDER if os.path.isdir(path) else 0)
    system.syscall(_ADD_RULE, rules, _BENEATH, struct.pack("<Qi", allowed, descriptor), 0)
    os.close(descriptor)
