"""The sidecar's file of one node: header lines, each opening a session, and records of cumulative counters.

The file may be torn, written by a newer sidecar or partly invalid. Valid lines are returned; every other line is
counted with its reason, because lines that are dropped silently would be lost joules. Lines are read and checked many
at once, and one by one only where that fails.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from operator import methodcaller
from typing import Any, BinaryIO

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import FileState, StrPath, UnsafeFile, open_owned, parse_json_fast, read_opened
from hpcfrugal.spool.covered_time import CoveredTime
from hpcfrugal.spool.sample_header import (
    MAX_HEADER_BYTES,
    Header,
    SampledNode,
    check_header,
    parse_header,
    plain_header,
)
from hpcfrugal.spool.sample_record import BadLine
from hpcfrugal.spool.sidecar_session import SidecarSession

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A line longer than this is invalid."""

MAX_SAMPLE_FILE_BYTES = 96 * 1024 * 1024
"""A larger file is refused: the sidecar writes no more than 64 MiB."""

_BLOCK_BYTES = 1024 * 1024
_LINES_AT_ONCE = 100
_FEW = 4
"""Fewer records than this are read faster one by one."""

_LINE_START = b'{"kind"'
_is_header = methodcaller("startswith", b'{"kind":"header"')
"""How the sidecar writes it. A header in another form is found where lines are read one by one."""


@dataclass(frozen=True, slots=True)
class SampleFile:
    """All that could be read, and in ``bad`` how many lines could not, by reason.

    ``size`` is that of the lines that are whole, of which ``last_line`` is the last.
    """

    sessions: tuple[SidecarSession, ...]
    bad: Counter[str]
    size: int
    last_line: bytes
    state: FileState

    @property
    def problems(self) -> tuple[str, ...]:
        """The lines that could not be read, in words."""
        return tuple(f"{count} line{'s' * (count > 1)}: {reason}" for reason, count in sorted(self.bad.items()))


def read_samples(path: StrPath, owner_uid: int, sampled: SampledNode) -> SampleFile:
    """Read the sample file of a job on one node.

    A last line without its newline is torn, which is normal after a kill, and is left out without a problem.
    Raises ``UnsafeFile`` where the file as a whole does not count.
    """

    def read(descriptor: int, status: os.stat_result) -> SampleFile:
        state = FileState.of(status)
        _refuse_large(state)
        return SampleParser(sampled).read(partial(os.read, descriptor), state)

    return read_opened(path, read, owner_uid=owner_uid)


@contextmanager
def open_samples(path: StrPath, owner_uid: int) -> Iterator[tuple[BinaryIO, FileState]]:
    """A sample file that is not too large. Raises ``UnsafeFile``."""
    file, state = open_owned(path, owner_uid)
    with file:
        _refuse_large(state)
        yield file, state


def _refuse_large(state: FileState) -> None:
    if state.size > MAX_SAMPLE_FILE_BYTES:
        raise UnsafeFile(f"larger than {MAX_SAMPLE_FILE_BYTES} bytes, which no sidecar writes")


def read_header(path: StrPath, owner_uid: int, sampled: SampledNode) -> Header | None:
    """The first header of a sidecar's file; None where there is no valid one."""
    parser = SampleParser(sampled)
    try:
        file, _ = open_owned(path, owner_uid)
        with file:
            parser.feed(file.readline(MAX_HEADER_BYTES))
    except (OSError, UnsafeFile):
        return None
    return parser.sessions[0].header if parser.sessions else None


class SampleParser:
    """The sessions in a sample file of ``sampled``, and in ``bad`` how many lines do not count, by reason.

    One sidecar runs on a node at a time, so a session begins when those before it have ended. One that does not is
    written again, and does not count.
    """

    def __init__(
        self, sampled: SampledNode, open_session: SidecarSession | None = None, bad: Mapping[str, int] | None = None
    ) -> None:
        self.sessions: list[SidecarSession] = [] if open_session is None else [open_session]
        self.bad: Counter[str] = Counter(bad)
        self._sampled = sampled
        self._open = open_session
        self._covered = CoveredTime()
        self.last_line = self._rest = b""

    def read(self, read: Callable[[int], bytes], state: FileState, start: int = 0) -> SampleFile:
        """Take what there is of a file from ``start`` on, of which ``read`` gives at most so many bytes, as far as its
        ``state`` reaches: what is written meanwhile does not belong to it."""
        left = state.size - start
        while left > 0 and (data := read(min(left, _BLOCK_BYTES))):
            left -= len(data)
            self.feed(data)
        return SampleFile(tuple(self.sessions), self.bad, state.size - left - len(self._rest), self.last_line, state)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end : end + MAX_LINE_BYTES]  # no more of a line too long, which stays too long
        lines = [line[:-1] for line in BytesIO(data[:end])]  # `split` would look at each byte by itself
        self.last_line = lines[-1] if lines else self.last_line
        for start in range(0, len(lines), _LINES_AT_ONCE):
            self._take([*filter(None, lines[start : start + _LINES_AT_ONCE])])

    def _take(self, lines: Sequence[bytes]) -> None:
        """Lines, as many records at once as are valid as they stand."""
        while lines:
            session = self._open
            if len(lines) < _FEW or session is None or session.end_reason is not None or _is_header(lines[0]):
                self._take_line(lines[0])
                lines = lines[1:]
            elif max(map(len, lines)) < MAX_LINE_BYTES and session.extend(lines):
                return
            else:
                half = len(lines) // 2
                self._take(lines[:half])
                lines = lines[half:]

    def _take_line(self, line: bytes) -> None:
        try:
            header = plain_header(line) if _is_header(line) and len(line) <= MAX_HEADER_BYTES else None
            self._take_object(header or line_object(line, self.bad), len(line))
        except BadLine as reason:
            self.bad[str(reason)] += 1

    def _take_object(self, data: Header | dict[str, Any], size: int) -> None:
        kind = "header" if isinstance(data, Header) else data.get("kind")
        if isinstance(data, Header) or kind == "header":
            self._begin(data, size)
        elif self._open is None:
            raise BadLine("no valid header before it")
        elif kind in ("record", "end"):
            if self._open.end_reason is not None:
                raise BadLine("record after the end")
            self._open.add(data, self.bad)
        else:
            raise BadLine(f"unknown kind {str(kind)[:40]}")

    def _begin(self, data: Header | dict[str, Any], size: int) -> None:
        """A header. Where a session begins before an earlier one ends, one of them is a copy."""
        before, self._open = self._open, None  # records after a header that does not count have no session
        if before is not None and len(before):
            self._covered.note(before.header.boot_id, before.ended_ns, before.ended_clock_ns or 0)
        if size > MAX_HEADER_BYTES:
            raise BadLine(f"header of more than {MAX_HEADER_BYTES} bytes")
        if isinstance(data, Header):
            header = data
            check_header(header, self._sampled)
        else:
            header = parse_header(data, self._sampled, self.bad)
        if self._covered.has(header.boot_id, header.boottime_ns, header.wall_ns):
            raise BadLine("header of a time that an earlier session covers")
        self._open = SidecarSession(header)
        self.sessions.append(self._open)


def line_object(line: bytes, bad: Counter[str]) -> dict[str, Any]:
    """The JSON object in one line. Raises ``BadLine``.

    After a torn write the next line can stand behind the torn piece without a newline between; then the piece is
    counted in ``bad`` and what follows it counts.
    """
    try:
        data = parse_json_fast(line if len(line) < MAX_LINE_BYTES else b"a line too long")
    except ValueError as error:
        start = line.rfind(_LINE_START)
        if start <= 0:
            raise BadLine("not valid JSON") from error
        bad["torn, another line follows on it"] += 1
        try:
            data = parse_json_fast(line[start:])
        except ValueError as second:
            raise BadLine("not valid JSON") from second
    if not isinstance(data, dict):
        raise BadLine("not a JSON object")
    return data
