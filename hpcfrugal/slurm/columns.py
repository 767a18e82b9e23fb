"""Tables of Slurm's output: which columns a query asks for, and how the text of each becomes a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, get_type_hints

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.units import expand_nodelist, parse_walltime

# Slurm's words for a value that is not there.
_NOT_SET = frozenset({"", "None", "N/A", "(null)"})


def word(text: str) -> str | None:
    """Text; None where Slurm has no value."""
    return None if text in _NOT_SET else text


def instant(text: str) -> datetime | None:
    """An instant in UTC; None for "Unknown", "None", "N/A"."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def walltime(text: str) -> timedelta | None:
    """A time limit; None for "UNLIMITED", "NOT_SET", "NONE"."""
    try:
        return parse_walltime(text)
    except ValueError:
        return None


def whole_number(text: str) -> int | None:
    """A whole number; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() else None


def least(text: str) -> int | None:
    """A whole number, the lower one of a range such as "2-4"."""
    return whole_number(text.partition("-")[0])


def node_names(text: str) -> tuple[str, ...]:
    """The nodes of a node list; none where it is not set or cannot be read."""
    if word(text) is None or text == "None assigned":
        return ()
    try:
        return tuple(expand_nodelist(text))
    except ValueError:
        return ()


def slurm_time(moment: datetime) -> str:
    """An instant as Slurm's commands read it, which run in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """One column: the key of its value here, Slurm's name for it, and how its text is read."""

    key: str
    source: str
    parse: Callable[[str], Any] = word


class ColumnSource(NamedTuple):
    """Where a field of a dataclass comes from whose objects are rows of a query: the column, and how it is read."""

    name: str
    parse: Callable[[str], Any] = word


class OutputTable:
    """The columns of one query."""

    def __init__(self, *columns: OutputColumn) -> None:
        self.columns = columns

    @classmethod
    def of(cls, row: type) -> OutputTable:
        """The columns of a dataclass whose fields are annotated with their ``ColumnSource``."""
        hints = get_type_hints(row, include_extras=True)
        return cls(*(OutputColumn(key, *hint.__metadata__[0]) for key, hint in hints.items()))

    def format(self, after: str = "", between: str = "|") -> str:
        """Slurm's names of all columns, with ``after`` behind each."""
        return between.join(f"{column.source}{after}" for column in self.columns)

    def row(self, cells: Sequence[str]) -> dict[str, Any]:
        """The values of one row by their keys."""
        return {column.key: column.parse(cell) for column, cell in zip(self.columns, cells, strict=True)}

    def rows(self, text: str) -> Iterator[dict[str, Any]]:
        """The rows of an output with one line a row and ``|`` between its cells; the last cell may contain it.

        Lines with fewer cells are no rows: sites wrap Slurm's commands, and these print notices.
        """
        for line in text.splitlines():
            cells = line.strip().split("|", len(self.columns) - 1)
            if len(cells) == len(self.columns):
                yield self.row(cells)
