"""What a report consists of, for every output format: a document, a sheet of rows, and blocks to read.

A format walks one of these and computes nothing. Figures are text already, with the signs that belong to them ("≥": a
part is missing, "~": estimated), so no format can lose a sign. A role is the meaning of a row or cell; its look
is up to the format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from hpcfrugal.core.text import plain

if TYPE_CHECKING:
    from rich.console import Console

Json = Any
"""What ``json.dumps`` takes: dict, list, str, int, float, bool or None."""

Role = str
"""``total``, ``aside``, ``loss``; ``measured``, ``modelled``, ``unknown``; a job's state in lower case; or empty."""


class Cell(NamedTuple):
    """Text of a figure, without control characters."""

    text: str
    role: Role = ""


class Column(NamedTuple):
    """A column of a table.

    ``kind``: a "text" may be shortened, a "word" may not, a "number" is aligned right. ``drop``: where there is too
    little width the columns go in this order; None: never. ``key``: it names what a row is of, alone or with other such
    columns, and neither goes nor is shortened where two rows would look the same then.
    """

    heading: str
    kind: Literal["text", "word", "number"] = "number"
    drop: int | None = None
    key: bool = False


class Row(NamedTuple):
    """Cells of a table. ``apart``: a line separates it from the row before."""

    cells: tuple[Cell, ...]
    role: Role = ""
    apart: bool = False


@dataclass(slots=True)
class Table:
    """Rows under columns."""

    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)

    def add(self, cells: Iterable[Cell | str], role: Role = "", *, apart: bool = False) -> None:
        """Append a row. Raises ValueError where the number of cells is not that of the columns."""
        row = tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)
        if len(row) != len(self.columns):
            raise ValueError(f"{len(row)} cells for {len(self.columns)} columns")
        self.rows.append(Row(row, role, apart))


@dataclass(frozen=True, slots=True)
class Facts:
    """Labelled lines, such as the head of a job's report."""

    lines: tuple[tuple[str, str], ...]


class Note(NamedTuple):
    """A sentence. Make it by ``note``, which removes control characters."""

    text: str
    role: Role = ""


@dataclass(frozen=True, slots=True)
class Notes:
    """Sentences about the block before, or with ``apart`` a block of their own."""

    lines: tuple[Note, ...]
    apart: bool = False


Block = Table | Facts | Notes


def note(text: str, role: Role = "", limit: int = 300) -> Note:
    """A sentence with control characters removed, in at most ``limit`` characters."""
    return Note(plain(text, limit), role)


def named(items: Sequence[str], most: int = 6, separator: str = ", ") -> str:
    """The first ``most`` items, and how many more there are."""
    more = f"{separator.rstrip()} and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more.removeprefix(",")


@dataclass(frozen=True, slots=True)
class Sheet:
    """Records as rows of plain values, one column a name. The rows are made as they are read, once."""

    names: tuple[str, ...]
    rows: Iterable[list[Json]]


@dataclass(frozen=True, slots=True)
class Stream:
    """A list in a document that may be too long to be held: its items are made as they are read, once."""

    items: Iterable[Json]


class Output(Protocol):
    """What a format writes to."""

    def write(self, text: str) -> None:
        """Write text, line breaks included."""

    def console(self) -> Console:
        """For rich to print on."""


class Figures(Protocol):
    """Figures in two forms for programs. Each is made when it is called."""

    def document(self) -> dict[str, Json]:
        """Everything, nested; on the first level there may be a ``Stream``."""

    def sheet(self) -> Sheet:
        """The main records, one a row."""


class Report(Figures, Protocol):
    """Figures that are there as text too."""

    def blocks(self) -> Iterator[Block]:
        """For a reader."""
