"""The sample file of this node: whole lines, appended by one sidecar only, also while the disk is full.

A line that cannot be written is dropped, because the next one carries cumulative values anyway; the header
and the first record are tried until they are written. Problems are logged once per kind and never raised.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

from .log import log

_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Locked(Exception):
    """Another sidecar writes this file."""


class Writer:
    """Appends lines to ``path``, each with one ``write`` call on O_APPEND. A new file has this ``mode``, and belongs to
    the group ``gid`` where one is given."""

    def __init__(self, path: str, mode: int = 0o600, gid: int | None = None) -> None:
        self._path = path
        self._mode = mode
        self._gid = gid
        self._fd = -1
        self._inode = (0, 0)
        self._broken = False
        self._head: list[str] = []
        self._unwritten: list[str] = []
        self.size_b = 0
        """Bytes in the file when it was opened, and written since."""

    def begin(self, *lines: str) -> None:
        """Start a session with its header and first record.

        Raises Locked where another sidecar is at work.
        """
        self._head = list(lines)
        self._unwritten = list(lines)
        self._flush(None)

    def line(self, text: str) -> bool:
        """Append one line after all that is still unwritten; whether that worked. Raises Locked as ``begin`` does."""
        return self._flush(text)

    def close(self) -> None:
        """Close the file and with it the lock."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            except OSError as error:
                # a network file system reports a failed write-back only here
                self._log_error("close", error)

    def _flush(self, text: str | None) -> bool:
        try:
            self._ready()
            while self._unwritten:
                self._write(self._unwritten[0])
                del self._unwritten[0]
            if text is not None:
                self._write(text)
        except OSError as error:
            self._log_error("write", error)
            if error.errno not in _FULL:
                self.close()
            return False
        return True

    def _ready(self) -> None:
        """Have the right file open. A deleted or emptied one is started again, with the header first."""
        if self._fd >= 0:
            status = os.fstat(self._fd)
            if status.st_nlink == 0:
                self.close()
            elif status.st_size or not self.size_b:
                return
            else:
                self._unwritten = list(self._head)
                self._broken = False
                self.size_b = 0
                return
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self._path, flags, self._mode)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            self._lock(fd)
            size = os.fstat(fd).st_size
            self._broken = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        except BaseException:
            os.close(fd)
            raise
        inode = (status.st_dev, status.st_ino)
        # a new file may well have got the number of the one that was deleted
        if self._inode != (0, 0) and (self._inode != inode or not size):
            self._unwritten = list(self._head)
        self._inode = inode
        self._fd = fd
        self.size_b = size
        if not size:
            self._hand_over(fd)
            # The ledger looks again at runs that are over only in months whose folder has changed.
            with contextlib.suppress(OSError):
                os.utime(os.path.dirname(os.path.dirname(self._path)))

    def _hand_over(self, fd: int) -> None:
        """Give a new file its mode, whatever the umask, and its group."""
        if self._gid is not None:
            try:
                os.fchown(fd, -1, self._gid)
                os.fchmod(fd, self._mode)
            except OSError as error:
                self._log_error("change the group of", error)

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                raise Locked from None
            # A file system without locks: the file is still ours by its name (job, restart and node).
            log(f"cannot lock {self._path}: {error.strerror}; writing without a lock", once="lock")

    def _write(self, text: str) -> None:
        data = text.encode("ascii") + b"\n"
        if self._broken:
            # The last line is torn; without this the good line would be glued to it.
            data = b"\n" + data
        done = os.write(self._fd, data)
        self.size_b += done
        self._broken = done < len(data)
        if self._broken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _log_error(self, action: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        log(f"cannot {action} {self._path}: {reason}; sampling continues", once=f"{action} {error.errno}")
