"""perf_event_open(2), for which the C library has no function of its own."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NUMBERS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "ppc64": 319, "s390x": 331}
"""Number of the system call by architecture (Linux: the syscall.tbl files; 241 is that of the generic table)."""

_FLAG_FD_CLOEXEC = 8

_ATTR_SIZE = 64
"""PERF_ATTR_SIZE_VER0, which every kernel takes."""


def is_known_here() -> bool:
    """Whether the number of the system call is known for this machine."""
    return os.uname().machine in _NUMBERS


def open_event(kind: int, config: int, *, pid: int, cpu: int, read_format: int = 0, flags: int = 0) -> int:
    """A counter of the event ``config`` of the source ``kind``, as a file descriptor.

    ``pid`` -1 is every process and ``cpu`` -1 every CPU; ``flags`` are the bits of ``struct perf_event_attr``.
    Raises OSError.
    """
    import ctypes

    libc: Any = ctypes.CDLL(None, use_errno=True)
    fields = ((kind, 4), (_ATTR_SIZE, 4), (config, 8), (0, 8), (0, 8), (read_format, 8), (flags, 8))
    attr = b"".join([value.to_bytes(size, sys.byteorder) for value, size in fields])
    buffer = ctypes.create_string_buffer(attr.ljust(_ATTR_SIZE, b"\0"), _ATTR_SIZE)
    number = _NUMBERS.get(os.uname().machine, -1)
    libc.syscall.restype = ctypes.c_long
    words = [ctypes.c_long(word) for word in (pid, cpu, -1)]
    fd = int(libc.syscall(ctypes.c_long(number), buffer, *words, ctypes.c_ulong(_FLAG_FD_CLOEXEC)))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd
