"""Files that others may have put there, read without waiting and only so far."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, longest: int, *, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """At most ``longest`` bytes of a regular file, with the status of what was read.

    Raises OSError, also where it is a directory, a pipe or a device, or longer; with ``follow`` false also where it
    is a link.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        # Of what is open, so that nobody can put another file in its place after the look.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        content = bytearray()
        while piece := os.read(descriptor, min(1 << 20, longest + 1 - len(content))):
            content += piece
            if len(content) > longest:
                raise OSError(errno.EFBIG, f"is longer than {longest} bytes", str(path))
        return bytes(content), status
    finally:
        os.close(descriptor)
