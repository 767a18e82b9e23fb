"""Reads the files of node agents: ``<spool>/agents/<node>/<YYYY-MM-DD>.jsonl``.

As with sample files, valid lines are returned and every other line is counted with its reason. The last line of a file
may be torn: the agent was killed, or is writing it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import field
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import FileState, UnsafeFile
from hpcfrugal.spool.agent_records import (
    AgentHeader,
    AgentJob,
    AgentRecord,
    JobLife,
    parse_agent_header,
    parse_agent_record,
    parse_ended_job,
)
from hpcfrugal.spool.covered_time import CoveredTime
from hpcfrugal.spool.sample_header import MAX_HEADER_BYTES
from hpcfrugal.spool.sample_record import BadLine
from hpcfrugal.spool.samples import MAX_LINE_BYTES, line_object, open_samples

_HOUR_NS = 3600 * 10**9

AgentLine = AgentHeader | AgentRecord | AgentJob
"""What a line of an agent is."""


@dataclass(slots=True)
class AgentSession:
    """A header, the records after it, and the jobs that have ended."""

    header: AgentHeader
    records: list[AgentRecord] = field(default_factory=list)
    ended: list[AgentJob] = field(default_factory=list)

    @property
    def latest(self) -> AgentRecord | None:
        """The last record: the sums of the node; None where there is none."""
        return self.records[-1] if self.records else None

    def jobs(self) -> dict[JobLife, AgentJob]:
        """The last known sums of each job. After a kill that of a job may be a minute old, like those of the node."""
        found: dict[JobLife, AgentJob] = {}
        for record in self.records:
            found.update((job.life, job) for job in record.jobs)
        found.update((job.life, job) for job in self.ended)
        return found


@dataclass(frozen=True, slots=True)
class AgentFile:
    """All that could be read, and in ``bad`` how many lines could not, by reason."""

    sessions: tuple[AgentSession, ...]
    bad: Counter[str]
    state: FileState


def read_agent_file(path: Path, owner_uid: int, node: str) -> AgentFile:
    """Read the file of ``node`` of one day. Raises ``UnsafeFile`` where the file as a whole does not count."""
    parser = AgentParser(node)
    with open_samples(path, owner_uid) as (file, state):
        sessions = sessions_in(parser, (line for line, _ in agent_lines(file, state.size)))
    return AgentFile(tuple(sessions), parser.bad, state)


def sessions_in(parser: AgentParser, lines: Iterable[bytes]) -> list[AgentSession]:
    """The sessions in these lines."""
    found: list[AgentSession] = []
    for line in lines:
        one = parser.take(line)
        if isinstance(one, AgentHeader):
            found.append(AgentSession(one))
        elif isinstance(one, AgentRecord):
            found[-1].records.append(one)
        elif one is not None:
            found[-1].ended.append(one)
    return found


def read_agent_header(path: Path, owner_uid: int, node: str) -> AgentHeader | None:
    """The first header in the file of ``node`` of one day; None where there is no valid one."""
    try:
        with open_samples(path, owner_uid) as (file, _):
            found = AgentParser(node).take(file.readline(MAX_HEADER_BYTES + 1).rstrip(b"\n"))
    except (OSError, UnsafeFile):
        return None
    return found if isinstance(found, AgentHeader) else None


class AgentParser:
    """The lines of an agent of ``node``, and in ``bad`` how many of them do not count, by reason.

    ``day``: a header of another day does not count. ``latest`` is the last record since the header.
    """

    def __init__(self, node: str, day: date | None = None) -> None:
        self.bad: Counter[str] = Counter()
        self.header: AgentHeader | None = None
        self.latest: AgentRecord | None = None
        self._node = node
        self._day_ns = None if day is None else (day - date(1970, 1, 1)).days * 24 * _HOUR_NS
        self._covered = CoveredTime()

    def take(self, line: bytes) -> AgentLine | None:
        """What the next line is, without its newline; None where it is empty or does not count."""
        if not line:
            return None
        try:
            return self._object(line_object(line, self.bad), len(line))
        except BadLine as reason:
            self.bad[str(reason)] += 1
            return None

    def _object(self, data: dict[str, Any], size: int) -> AgentLine:
        kind = data.get("kind")
        if kind == "header":
            return self._begin(data, size)
        if self.header is None:
            raise BadLine("no valid header before it")
        if kind in ("record", "end"):
            self.latest = parse_agent_record(data, self.header, self.latest, self.bad)
            return self.latest
        if kind == "job":
            return parse_ended_job(data, self.header, self.bad)
        raise BadLine(f"unknown kind {str(kind)[:40]}")

    def _begin(self, data: dict[str, Any], size: int) -> AgentHeader:
        if self.header is not None and self.latest is not None:
            before, ended_ns = self.header, self.latest.boottime_ns
            self._covered = CoveredTime()  # the latest session alone, as where a file is read on
            self._covered.note(before.boot_id, ended_ns, before.wall_ns + ended_ns - before.boottime_ns)
        self.header = self.latest = None  # what comes after a header that does not count has no session
        if size > MAX_HEADER_BYTES:
            raise BadLine(f"header of more than {MAX_HEADER_BYTES} bytes")
        header = parse_agent_header(data, self._node, self.bad)
        if self._covered.has(header.boot_id, header.boottime_ns, header.wall_ns):
            raise BadLine("header of a time that an earlier session covers")
        if self._day_ns is not None and not -_HOUR_NS <= header.wall_ns - self._day_ns < 25 * _HOUR_NS:
            raise BadLine("header of another day than that of its file")
        self.header = header
        return header


def agent_lines(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """The whole lines in the next ``size`` bytes, each with how many of these there are up to its end; of one that is
    too long, no more than makes it invalid."""
    is_rest, read = False, 0
    while read < size and (part := file.readline(min(size - read, MAX_LINE_BYTES + 1))):
        read += len(part)
        is_whole = part.endswith(b"\n")
        if not is_rest and (is_whole or len(part) > MAX_LINE_BYTES):
            yield part.rstrip(b"\n"), read
        is_rest = not is_whole
