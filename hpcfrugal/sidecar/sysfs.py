"""Small reads from sysfs, procfs and cgroupfs, strict about what counts as a number."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_CPUS = 8192
"""The most CPUs that a kernel is built for (Linux: NR_CPUS in the Kconfig of x86 and powerpc)."""


def read_bytes(path: str, limit: int = 65536) -> bytes:
    """The first ``limit`` bytes of a file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, limit)
    finally:
        os.close(fd)


def read_text(path: str, limit: int = 65536) -> str:
    """The first ``limit`` bytes as text without surrounding blanks. Raises OSError."""
    return read_bytes(path, limit).decode("utf-8", "replace").strip()


def text_or_empty(path: str, limit: int = 65536) -> str:
    """``read_text``, empty where the file cannot be read."""
    try:
        return read_text(path, limit)
    except OSError:
        return ""


def read_count(path: str) -> int | None:
    """The one number in a file; None where it cannot be read as such."""
    return parse_count(text_or_empty(path, 64).encode())


def list_folder(path: str) -> list[str]:
    """The names in a folder, sorted; none where it cannot be read."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def read_whole(path: str, chunk: int = 65536) -> bytes:
    """All of a procfs file, which hands out at most a few pages per read. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts: list[bytes] = []
        while True:
            part = os.read(fd, chunk)
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(fd)


def parse_count(data: bytes) -> int | None:
    """A non-negative decimal integer below 2**63, or None for anything else.

    ``int()`` alone would take ``1_0``, ``+5`` and ``-3`` for numbers. No counter gets as far as 2**63, but a driver
    that means -1 may show 2**64 - 1, which stands still and so would look like a rest.
    """
    digits = data.strip()
    if not digits.isdigit() or len(digits) > 19:
        return None
    count = int(digits)
    return count if count < 1 << 63 else None


def parse_cpus(text: str) -> list[int]:
    """The numbers in a list of CPUs such as ``0-3,8``, which the kernel writes in ascending order (Linux:
    Documentation/admin-guide/cputopology.rst); empty for anything that does not read so."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = parse_count(first.encode())
        high = parse_count(last.encode()) if dash else low
        if low is None or high is None or not low <= high < _MAX_CPUS or (found and low <= found[-1]):
            return []
        found.extend(range(low, high + 1))
    return found


def value_after(text: bytes, key: bytes, separator: bytes = b" ") -> bytes:
    """The value in the line ``<key><separator><value>``; empty where there is no such line."""
    for line in text.split(b"\n"):
        name, _, value = line.partition(separator)
        if name.strip() == key:
            return value.strip()
    return b""


def why(error: OSError, path: str) -> str:
    """The reason of a failed access in the words of an ``absent`` entry."""
    if isinstance(error, PermissionError):
        return f"denied: {path}"
    if isinstance(error, FileNotFoundError):
        return f"no such file: {path}"
    return f"{(error.strerror or 'unreadable').lower()}: {path}"


class Unusable(Exception):
    """A file that gives no reading; the text is the reason of an ``absent`` entry."""


class CountFile:
    """One small file that is read repeatedly: kept open, read with pread, reopened after an error.

    An error is also what is no count, for it may be all that is left of a file that has been replaced. A count that
    stands still may be that of a replaced file as well: then the path is looked at again."""

    def __init__(self, path: str) -> None:
        """Open ``path``. Raises OSError."""
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._last: int | None = None

    def read_bytes(self, limit: int = 4096) -> bytes:
        """The file's present content. Raises OSError; the next call then opens the file anew."""
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(self._fd, limit, 0)
        except OSError:
            self.close()
            raise

    def read_count(self) -> int | None:
        """The file as one non-negative integer, or None where it cannot be read as such."""
        try:
            count = parse_count(self.read_bytes(64))
            if count is not None and count == self._last and self._is_replaced():
                self.close()
                count = parse_count(self.read_bytes(64))
        except OSError:
            return None
        if count is None:
            self.close()
        self._last = count
        return count

    def _is_replaced(self) -> bool:
        """Whether the path leads to another file by now. Raises OSError where it leads to none."""
        return not os.path.samestat(os.fstat(self._fd), os.stat(self.path))

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_count(path: str, parse: Callable[[bytes], int | None] = parse_count) -> tuple[CountFile, int]:
    """A file to read repeatedly, and the number that it holds now. Raises Unusable."""
    try:
        file = CountFile(path)
        count = parse(file.read_bytes(128))
    except OSError as error:
        raise Unusable(why(error, path)) from None
    if count is None:
        file.close()
        raise Unusable(f"not a counter: {path}")
    return file, count
