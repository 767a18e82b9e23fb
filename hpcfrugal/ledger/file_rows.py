"""The records of the ledger for the files of a spool: whether each counts, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import EMBEDDED
from hpcfrugal.core.safe_read import FileState
from hpcfrugal.ledger.interned import NODE, MaybeText, Text
from hpcfrugal.spool.intensity import IntensitySource, KnownIntensity


@dataclass(frozen=True, slots=True)
class ReadState:
    """Whether a file counts, and its problems. ``size``, ``mtime_ns`` and ``inode`` are those that it had when it was
    read; None where it is to be read."""

    accepted: bool = False
    problems: tuple[str, ...] = ()
    size: int | None = None
    mtime_ns: int | None = None
    inode: int | None = None

    @classmethod
    def of(cls, state: FileState, problems: Sequence[str] = (), *, accepted: bool = True) -> ReadState:
        """That of a file that was read in this state."""
        return cls(accepted, tuple(problems), state.size, state.mtime_ns, state.inode)

    @property
    def file(self) -> FileState | None:
        """The state of the file when it was read."""
        if self.size is None or self.mtime_ns is None or self.inode is None:
            return None
        return FileState(self.size, self.mtime_ns, self.inode)

    def unreadable(self, problem: str) -> ReadState:
        """The same where the file cannot be read now: what counts of it goes on to count."""
        return ReadState(self.accepted, (f"{problem}; its earlier content counts" if self.accepted else problem,))


NOT_READ = ReadState()


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of a run directory, and of a document its content as JSON. ``content`` of a sample file that may grow is
    what is needed to read on from where it ended."""

    name: str
    kind: Text
    job_id: str | None = None
    restart: int | None = None
    node: Annotated[str | None, NODE] = None
    read: Annotated[ReadState, EMBEDDED] = NOT_READ
    content: str | None = None


@dataclass(frozen=True, slots=True)
class SealedRunRow:
    """A run of which all is known: the modification time of its directory, and its files, as ``sealing`` folds them."""

    mtime_ns: int
    files: Text


@dataclass(frozen=True, slots=True)
class MonthRow:
    """A folder of a month: its modification time when all in it was read, None where it was not, and its runs."""

    month: str
    mtime_ns: int | None
    runs: int


@dataclass(frozen=True, slots=True)
class IntensityFileRow:
    """A file of intensities."""

    name: str
    read: Annotated[ReadState, EMBEDDED] = NOT_READ


@dataclass(frozen=True, slots=True)
class IntensityRow:
    """What the grid's carbon intensity was in an interval, by one file."""

    source: Annotated[IntensitySource, EMBEDDED]
    known: Annotated[KnownIntensity, EMBEDDED]


@dataclass(frozen=True, slots=True)
class AccountingFileRow:
    """A text of sacct: what was asked, see ``AccountingQuery``, how many rows of jobs and steps it has, and how many
    of them could not be read; the other fields are as those of ``FileRow``."""

    name: str
    cluster: MaybeText = None
    users: MaybeText = None
    asked_wall_ns: int | None = None
    since_wall_ns: int | None = None
    until_wall_ns: int | None = None
    rows: int = 0
    read: Annotated[ReadState, EMBEDDED] = NOT_READ


@dataclass(frozen=True, slots=True)
class ClusterFileRow:
    """A document of a cluster, whether it counts, its problems, and its content as JSON; the other fields are as those
    of ``FileRow``."""

    name: str
    read: Annotated[ReadState, EMBEDDED] = NOT_READ
    content: str | None = None


@dataclass(frozen=True, slots=True)
class SetAsideRow:
    """What could not be read of a text of sacct, see ``slurm.sacct_text.SetAside``; ``number`` counts from 0."""

    number: int
    line: int
    column_name: str | None
    reason: str
    content: str
