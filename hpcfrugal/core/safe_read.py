"""Opening a file of the spool with care: never through a link, never somebody else's, never a pipe.

The spool may lie on a file system where others can write, and a ledger is only worth what its files are
worth. Whatever cannot be believed becomes a sentence for the report instead of an exception.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""A JSON document larger than this is refused (run.json with a forecast of a year stays below 1 MiB)."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells whether a file has changed since it was read: bytes, modification time in ns, inode."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class UnsafeFile(Exception):
    """A file that does not count; the text says why."""


class Unreadable(UnsafeFile):
    """A file that could not be read now, which says nothing about what is in it: it is to be tried again."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot be read: {error.strerror}")
        self.error = error


def refusal(status: os.stat_result, owner_uid: int) -> str | None:
    """Why a file with this (l)stat does not count for a run of ``owner_uid``; None where it does."""
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link, not followed"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if status.st_uid != owner_uid:
        return f"belongs to uid {status.st_uid}, the run to uid {owner_uid}: ignored"
    return None


def open_owned(path: Path, owner_uid: int) -> tuple[BinaryIO, FileState]:
    """Open ``path`` for reading where it is a regular file of ``owner_uid``. Raises :class:`Refused`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFile("a symbolic link, not followed") from error
        raise Unreadable(error) from error
    try:
        status = os.fstat(descriptor)
        reason = refusal(status, owner_uid)
        if reason is not None:
            raise UnsafeFile(reason)
        return open(descriptor, "rb"), FileState.of(status)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
    """The content of a file of the folder's owner, up to ``most_bytes``.

    Raises ``OSError``, also for a link, for a pipe, which would be waited for, and for a file of somebody else.
    """
    try:
        file, _ = open_owned(path, os.stat(path.parent).st_uid)
    except Unreadable as unreadable:
        raise unreadable.error from unreadable
    except UnsafeFile as refused:
        raise OSError(errno.EINVAL, str(refused), str(path)) from refused
    with file:
        return file.read(most_bytes)


def parse_json(data: bytes) -> Any:
    """JSON without NaN and infinity. Raises ``ValueError`` for everything that is not that."""
    try:
        return _DECODER.decode(data.decode(json.detect_encoding(data), "surrogatepass"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""Made once: ``json.loads`` makes one for each line."""


def read_object(path: Path, owner_uid: int) -> tuple[dict[str, Any], FileState]:
    """The JSON object in ``path``. Raises :class:`Refused`."""
    file, state = open_owned(path, owner_uid)
    with file:
        try:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
        except OSError as error:
            raise Unreadable(error) from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise UnsafeFile(f"larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        value = parse_json(data)
    except ValueError as error:
        raise UnsafeFile("not valid JSON") from error
    if not isinstance(value, dict):
        raise UnsafeFile("not a JSON object")
    return value, state
