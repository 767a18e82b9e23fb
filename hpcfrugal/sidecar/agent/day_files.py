"""The agent's files: one for each day (UTC), each with the sums since its own header."""

from __future__ import annotations

import os
import time

from ..log import log
from ..sampling_rate import FileBudget
from ..writer import Writer

_MOST_LATE = 10_000
"""Lines that are kept while the disk is full."""

DAY_FILE_MODE = 0o640
NODE_FOLDER_MODE = 0o750


def make_folder(path: str, gid: int | None) -> None:
    """Make a folder and those above it, where they are missing, readable for the group ``gid``. Raises OSError."""
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        os.mkdir(folder)
        if gid is not None:
            os.chown(folder, -1, gid)
        os.chmod(folder, NODE_FOLDER_MODE)


class DayFiles:
    """``<folder>/<YYYY-MM-DD>.jsonl``; a file may have ``limit_b`` bytes, towards which records come less often."""

    def __init__(self, folder: str, gid: int | None, limit_b: int) -> None:
        self._folder = folder
        self._gid = gid
        self._limit_b = limit_b
        self._day = ""
        self._writer: Writer | None = None
        self._space = FileBudget(limit_b, 0)
        self._late: list[str] = []

    def is_new_day(self, wall_ns: int) -> bool:
        """Whether the file that is open is one of another day."""
        return _day(wall_ns) != self._day

    def begin(self, wall_ns: int, *lines: str) -> None:
        """Start a session with its header and first record. Raises ``writer.Locked`` if another agent is at work."""
        if self._late:
            # after a header they would count for its session
            log(f"{len(self._late)} jobs that ended are missing in {self._folder}: they could not be written")
            self._late = []
        if self.is_new_day(wall_ns) or self._writer is None:
            self.close()
            self._day = _day(wall_ns)
            self._writer = Writer(f"{self._folder}/{self._day}.jsonl", DAY_FILE_MODE, self._gid)
            self._space = FileBudget(self._limit_b, 0)
        self._writer.begin(*lines)

    def jobs_ended(self, lines: list[str]) -> None:
        """Append lines of jobs; those that cannot be written now are kept until they can."""
        self._late += lines
        while self._late and self._writer is not None and self._writer.line(self._late[0]):
            del self._late[0]
        del self._late[:-_MOST_LATE]

    def record(self, line: str) -> bool:
        """Append a record, where one more fits; whether records are to come half as often from now on."""
        if self._writer is None:
            return False
        if self._space.has_space(self._writer.size_b, len(line)):
            self._writer.line(line)
        return self._space.quarter_used(self._writer.size_b)

    def close(self) -> None:
        """Close the file and with it the lock."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _day(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall_ns // 1_000_000_000))
