"""Reads the files of node agents: ``<spool>/agents/<node>/<YYYY-MM-DD>.jsonl``.

As with sample files, valid lines are returned and every other line is counted with its reason. The last line of a file
may be torn: the agent was killed, or is writing it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

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
from hpcfrugal.spool.sample_header import MAX_HEADER_BYTES
from hpcfrugal.spool.sample_record import BadLine
from hpcfrugal.spool.samples import MAX_LINE_BYTES, line_object, open_samples


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
        for line in _lines(file, state.size):
            parser.take(line)
    return AgentFile(tuple(parser.sessions), parser.bad, state)


def read_agent_header(path: Path, owner_uid: int, node: str) -> AgentHeader | None:
    """The first header in the file of ``node`` of one day; None where there is no valid one."""
    parser = AgentParser(node)
    try:
        with open_samples(path, owner_uid) as (file, _):
            parser.take(file.readline(MAX_HEADER_BYTES + 1).rstrip(b"\n"))
    except (OSError, UnsafeFile):
        return None
    return parser.sessions[0].header if parser.sessions else None


class AgentParser:
    """The sessions in the lines of an agent of ``node``, and in ``bad`` how many lines do not count, by reason."""

    def __init__(self, node: str) -> None:
        self.sessions: list[AgentSession] = []
        self.bad: Counter[str] = Counter()
        self._node = node
        self._open: AgentSession | None = None

    def take(self, line: bytes) -> None:
        """Take the next line, without its newline."""
        if not line:
            return
        try:
            self._take_object(line_object(line, self.bad), len(line))
        except BadLine as reason:
            self.bad[str(reason)] += 1

    def _take_object(self, data: dict[str, Any], size: int) -> None:
        kind = data.get("kind")
        if kind == "header":
            self._begin(data, size)
            return
        session = self._open
        if session is None:
            raise BadLine("no valid header before it")
        if kind in ("record", "end"):
            session.records.append(parse_agent_record(data, session.header, session.latest, self.bad))
        elif kind == "job":
            session.ended.append(parse_ended_job(data, session.header, self.bad))
        else:
            raise BadLine(f"unknown kind {str(kind)[:40]}")

    def _begin(self, data: dict[str, Any], size: int) -> None:
        before, self._open = self._open, None  # what comes after a header that does not count has no session
        if size > MAX_HEADER_BYTES:
            raise BadLine(f"header of more than {MAX_HEADER_BYTES} bytes")
        header = parse_agent_header(data, self._node, self.bad)
        last = None if before is None or before.header.boot_id != header.boot_id else before.latest
        if last is not None and header.boottime_ns < last.boottime_ns:
            raise BadLine("header of a time that an earlier session covers")
        self._open = AgentSession(header)
        self.sessions.append(self._open)


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The whole lines of the first ``size`` bytes; of one that is too long, no more than makes it invalid."""
    is_rest = False
    while size > 0 and (part := file.readline(min(size, MAX_LINE_BYTES + 1))):
        size -= len(part)
        is_whole = part.endswith(b"\n")
        if not is_rest and (is_whole or len(part) > MAX_LINE_BYTES):
            yield part.rstrip(b"\n")
        is_rest = not is_whole
