"""An exclusive lock between processes, by ``flock`` on a file of its own."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_POLL_S = 0.02
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class LockHeld(Exception):
    """Another process still holds the lock after the wait."""


def take_lock(path: Path, wait_s: float = 0.0, on_wait: Callable[[], None] | None = None) -> BinaryIO:
    """Lock ``path``, a file that is created (0600) if missing, until the result is closed or the process ends.

    ``on_wait`` is called once if another process holds the lock. On a file system without locks, nothing is locked.

    Raises ``LockHeld`` after ``wait_s``, and ``OSError`` if the file cannot be created, opened or locked.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+b", buffering=0)
    try:
        give_up_at = time.monotonic() + wait_s
        while not _taken(file.fileno()):
            if on_wait is not None:
                on_wait()
                on_wait = None
            if time.monotonic() >= give_up_at:
                raise LockHeld(str(path))
            time.sleep(_POLL_S)
    except BaseException:
        file.close()
        raise
    return file


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
