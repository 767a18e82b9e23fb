"""Reading files that other users may have written: of limited size, and no links or pipes.

The spool may be on a file system where others can write, and the ledger is only as good as the files behind it. For a
file that must not be used, :class:`UnsafeFile` gives the reason; the caller names the file.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from hpcfrugal.core.quick import dataclass

StrPath = str | os.PathLike[str]
"""Where a file is. A sync has so many that it makes no ``Path`` for each."""

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
"""A larger JSON document is refused (run.json with a forecast of a year stays below 1 MiB)."""

_BLOCK_BYTES = 4096

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FileState:
    """Size in bytes, modification time in ns and inode: equal as long as the file has not changed."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class UnsafeFile(Exception):
    """A file that must not be used; the text gives the reason, without the path."""


class Unreadable(UnsafeFile):
    """A file that could not be read this time. It may be readable later."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot be read: {error.strerror}")
        self.error = error


def refusal(status: os.stat_result, owner_uid: int) -> str | None:
    """Why a file with this (l)stat must not be used for a run of ``owner_uid``; None if it may be."""
    if not stat.S_ISREG(status.st_mode):
        return "a symbolic link, not followed" if stat.S_ISLNK(status.st_mode) else "not a regular file"
    if status.st_uid != owner_uid:
        return f"belongs to uid {status.st_uid}, not to uid {owner_uid}"
    return None


def check_usable(status: os.stat_result, owner_uid: int) -> None:
    """Raises ``UnsafeFile`` with the ``refusal``, if there is one."""
    if (reason := refusal(status, owner_uid)) is not None:
        raise UnsafeFile(reason)


def _open(path: StrPath, owner_uid: int | None, follow: bool) -> tuple[int, os.stat_result]:
    """The descriptor of a regular file (of ``owner_uid``, if given), with its status; a link only with ``follow``.

    Raises ``UnsafeFile``, or ``Unreadable`` if it cannot be opened.
    """
    # O_NONBLOCK: opening a named pipe must not wait for a writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except ValueError:
        raise UnsafeFile("not a valid file name") from None
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise UnsafeFile("a symbolic link, not followed") from error
        raise Unreadable(error) from error
    try:
        # The status of the open file, since the path could be replaced between a check and the opening.
        status = os.fstat(descriptor)
        check_usable(status, status.st_uid if owner_uid is None else owner_uid)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def open_owned(path: StrPath, owner_uid: int) -> tuple[BinaryIO, FileState]:
    """Open a regular file of ``owner_uid``, never through a link. Raises ``UnsafeFile``."""
    descriptor, status = _open(path, owner_uid, follow=False)
    return open(descriptor, "rb"), FileState.of(status)


def read_regular(
    path: StrPath, max_bytes: int = MAX_DOCUMENT_BYTES, *, owner_uid: int | None = None, follow: bool = False
) -> tuple[bytes, os.stat_result]:
    """The content of a regular file (of ``owner_uid``, if given); a link only with ``follow``.

    Raises ``UnsafeFile``, also above ``max_bytes``.
    """
    content, status = read_start(path, max_bytes + 1, owner_uid=owner_uid, follow=follow)
    if len(content) > max_bytes:
        raise UnsafeFile(f"larger than {max_bytes} bytes")
    return content, status


def read_start(
    path: StrPath, most_bytes: int, *, owner_uid: int | None = None, follow: bool = False
) -> tuple[bytes, os.stat_result]:
    """The first bytes of a file, as ``read_regular``. Raises ``UnsafeFile``."""

    def read(descriptor: int, status: os.stat_result) -> tuple[bytes, os.stat_result]:
        content = os.read(descriptor, min(status.st_size, most_bytes))
        if 0 < status.st_size == len(content):
            return content, status  # all that there was when it was opened
        return content + _read(descriptor, most_bytes - len(content), status.st_size + 1), status

    return read_opened(path, read, owner_uid=owner_uid, follow=follow)


def read_tail(path: StrPath, most_bytes: int, owner_uid: int) -> tuple[bytes, os.stat_result]:
    """The last bytes of a file of ``owner_uid``. Raises ``UnsafeFile``."""

    def read(descriptor: int, status: os.stat_result) -> tuple[bytes, os.stat_result]:
        os.lseek(descriptor, max(0, status.st_size - most_bytes), os.SEEK_SET)
        return _read(descriptor, min(status.st_size, most_bytes), most_bytes), status

    return read_opened(path, read, owner_uid=owner_uid)


def read_opened(
    path: StrPath, read: Callable[[int, os.stat_result], _T], *, owner_uid: int | None = None, follow: bool = False
) -> _T:
    """What ``read`` makes of the descriptor and the status of a file, which is as for ``read_regular``.

    Raises ``UnsafeFile``, or ``Unreadable`` if it cannot be opened or read.
    """
    descriptor, status = _open(path, owner_uid, follow)
    try:
        return read(descriptor, status)
    except OSError as error:
        raise Unreadable(error) from error
    finally:
        os.close(descriptor)


def _read(descriptor: int, most_bytes: int, at_once: int) -> bytes:
    """The next bytes of a file, without a buffer of their own. Raises ``OSError``."""
    parts, left = list[bytes](), most_bytes
    while left > 0 and (part := os.read(descriptor, min(left, max(at_once, _BLOCK_BYTES)))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def parse_json(data: bytes) -> Any:
    """JSON without NaN and infinity. Raises ``ValueError`` for anything else, a ``JSONDecodeError`` for bad syntax."""
    # What begins with a brace, and no zero behind it, is UTF-8.
    plain = data[:1] == b"{" and data[1:2] != b"\0"
    try:
        return _DECODER.decode(data.decode("utf-8" if plain else json.detect_encoding(data), "surrogatepass"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_json_fast(data: bytes) -> Any:
    """As ``parse_json``, by a reader that takes 10 ms to import, and that does not take all of what that one takes."""
    import msgspec  # `from` would take longer at each call

    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return parse_json(data)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""Created once; ``json.loads`` would create one for each line."""


def read_object(path: StrPath, owner_uid: int) -> tuple[dict[str, Any], FileState]:
    """The JSON object in a file of ``owner_uid``. Raises ``UnsafeFile``."""
    data, status = read_regular(path, owner_uid=owner_uid)
    return json_object(data), FileState.of(status)


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object that a file holds. Raises ``UnsafeFile``."""
    try:
        value = parse_json_fast(data)
    except ValueError as error:
        raise UnsafeFile("not valid JSON") from error
    if not isinstance(value, dict):
        raise UnsafeFile("not a JSON object")
    return value


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``, a file of the folder's owner; None if there is none that may be used.

    For commands that show jobs. The ledger reads files by ``read_object``, which gives the reason.
    """
    try:
        return read_object(path, os.stat(path.parent).st_uid)[0]
    except (OSError, UnsafeFile):
        return None
