"""What sacct printed, as rows: columns and delimiter are found from its header, whoever saved it with which options.

A name may hold the delimiter or the end of a line. A line that does not begin with a job id belongs to the row before
it, and cells too many to a column of free text, where that leaves values that can all be read. What cannot be read is
set aside with its line and the reason, and nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, NamedTuple

from hpcfrugal.slurm.sacct_fields import (
    BY_NAME,
    FIELDS,
    FREE_TEXT,
    INSTANT,
    JobName,
    PerUnit,
    Reader,
    SacctField,
    Trackable,
    instant_reader,
    job_name,
)

MAX_TEXT = 2000
"""Characters that are kept of a row that was set aside."""

_LOOKED_AT = 100
"""Lines before the header that may be notices of a site's wrapper."""

_MOST_REMEMBERED = 50_000


class SacctRow(NamedTuple):
    """A row of a job. None: there is no such column, no value, or none that can be read.

    ``line`` is that with which it begins, from 1 on. Times are seconds since 1970.
    """

    line: int
    raw_id: JobName | None
    shown_id: JobName | None
    cluster: str | None
    state: str | None
    submit: int | None
    eligible: int | None
    start: int | None
    end: int | None
    elapsed_s: int | None
    suspended_s: int | None
    user: str | None
    account: str | None
    partition: str | None
    qos: str | None
    exit: tuple[int, int] | None
    cpus: int | None
    node_count: int | None
    nodes: str | None
    resources: Trackable | None
    requested_memory: PerUnit | None
    cpu_us: int | None
    max_rss_b: int | None
    energy_j: int | None
    sluid: str | None
    name: str | None


class SacctStep(NamedTuple):
    """A row of a step, with what is read of it."""

    line: int
    raw_id: JobName | None
    shown_id: JobName | None
    cluster: str | None
    start: int | None
    cpu_us: int | None
    max_rss_b: int | None
    energy_j: int | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """What could not be read: a row, or only the value in ``column`` of a row that counts otherwise.

    ``line`` counts from 1. ``content`` is the row, cut after ``MAX_TEXT`` characters.
    """

    line: int
    column: str | None
    reason: str
    content: str


class NoHeader(Exception):
    """A text without a line that names columns of sacct; the text of the error describes what is wrong."""


class _Remembered(dict[str, Any]):
    """Values by their text, each read once: most texts of sacct occur many times."""

    def __init__(self, read: Reader) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: str) -> Any:
        value = self._read(text)
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        self[text] = value
        return value


class _Absent(dict[str, Any]):
    """In place of the values of a column that is not there."""

    def __missing__(self, text: str) -> Any:
        return None


class _Column(NamedTuple):
    """Where a value stands, and by their text its values; ``field`` None: nowhere."""

    at: int
    values: dict[str, Any]
    field: SacctField | None


_NAMES = re.compile(r"[^A-Za-z0-9]+")


def delimiter_of(line: str) -> str | None:
    """What stands between the columns in a header; None where the line is none, or has no delimiter of its own."""
    between = set(_NAMES.findall(line))
    if len(between) != 1:
        return None
    (delimiter,) = between
    known = {name.lower() for name in line.split(delimiter)} & BY_NAME.keys()
    return delimiter if len(known) >= 3 and known & {"jobid", "jobidraw"} else None


@dataclass(slots=True)
class SacctText:
    """Reads lines of sacct. ``set_aside`` is what could not be read of the ``rows`` so far.

    ``zone`` is that of local times; None: there are none. The header may come again, as where outputs were joined,
    with other columns, but with the same delimiter: in a text of which nobody else can foresee the delimiter, no name
    of a job can pass for a row or a header.
    """

    zone: tzinfo | None = None
    rows: int = 0
    set_aside: list[SetAside] = field(default_factory=list)
    _between: str = ""
    _returns: bool = False
    _header: list[str] = field(default_factory=list)
    _columns: list[_Column] = field(default_factory=list)
    _step_columns: list[_Column] = field(default_factory=list)
    _id_at: int = 0
    _ids: dict[str, Any] = field(default_factory=dict)

    def read(self, lines: Iterable[str]) -> Iterator[SacctRow | SacctStep]:
        """The rows that can be read. Lines end with a newline, or without.

        Raises ``NoHeader`` where none of the first lines names columns.
        """
        numbered = enumerate(lines, 1)
        self._find_header(numbered)
        start, lines_of_row, cells = 0, list[str](), list[str]()
        between, returns = self._between, self._returns
        for number, raw in numbered:
            line = raw.removesuffix("\n")
            if returns:
                line = line.removesuffix("\r")
            found = line.split(between)
            if self._begins(found):
                if start and (row := self._row(start, lines_of_row, cells)) is not None:
                    yield row
                start, lines_of_row, cells = number, [line], found
            elif delimiter_of(line) == self._between:
                if start and (row := self._row(start, lines_of_row, cells)) is not None:
                    yield row
                start = 0
                self._use_header(line)
            elif start and len(found) != len(self._header):
                lines_of_row.append(line)
            elif line:
                self.put_aside(number, None, "does not begin with a job id", line)
        if start and (row := self._row(start, lines_of_row, cells)) is not None:
            yield row

    def _find_header(self, lines: Iterator[tuple[int, str]]) -> None:
        first = ""
        for number, raw in lines:
            line = raw.removeprefix("\ufeff").strip("\r\n ")
            first = first or line
            if delimiter_of(line) is not None:
                self._returns = raw.rstrip("\n").endswith("\r")
                self._use_header(line)
                return
            if number >= _LOOKED_AT:
                break
        if re.search(r"\bjobid(raw)?\b.*\s\s", first, re.IGNORECASE):
            raise NoHeader("has columns of fixed width, which cut values; save it with `sacct --parsable2`")
        raise NoHeader("has no header that names columns of sacct, such as JobID|JobIDRaw|Submit|Start|End|Elapsed")

    def _use_header(self, line: str) -> None:
        self._between = delimiter_of(line) or ""
        self._header = line.split(self._between)
        there: dict[str, _Column] = {}
        self._ids = _Remembered(job_name)  # of a job that is no part of another one, both ids are one text
        instants = _Remembered(
            instant_reader(self.zone)
        )  # steps begin with their job, which could start when submitted
        names = {name.lower(): at for at, name in reversed(list(enumerate(self._header)))}
        for known in FIELDS:
            at = names.get(known.name.lower())
            if at is not None and known.key not in there:
                values = {job_name: self._ids, INSTANT: instants}.get(known.read)
                there[known.key] = _Column(at, _Remembered(known.read) if values is None else values, known)
        absent = _Column(0, _Absent(), None)
        self._columns = [there.get(key, absent) for key in SacctRow._fields[1:]]
        self._step_columns = [there.get(key, absent) for key in SacctStep._fields[1:]]
        self._id_at = (there.get("shown_id") or there["raw_id"]).at

    def lacking(self) -> list[str]:
        """The columns without which no job can be told from another, or its use is not known, that are not there."""
        there = {column.field.key for column in self._columns if column.field is not None}
        wanted: dict[str, list[str]] = {}
        for known in FIELDS:
            if known.key in ("submit", "start", "state", "elapsed_s", "cpus"):
                wanted.setdefault(known.key, []).append(known.name)
        return [" or ".join(names) for key, names in wanted.items() if key not in there]

    def _begins(self, cells: list[str]) -> bool:
        """Whether these are the cells of a line that begins a row: there is a job id where one has to be."""
        if len(cells) < min(self._id_at + 2, len(self._header)):
            return False
        try:
            self._ids[cells[self._id_at]]
        except ValueError:
            return False
        return True

    def _row(self, number: int, lines: Sequence[str], cells: list[str]) -> SacctRow | SacctStep | None:
        """The row in ``lines``; ``cells`` are those of the first one."""
        self.rows += 1
        line = lines[0]
        if len(lines) > 1:
            line = "\n".join(lines)
            cells = line.split(self._between)
        if len(cells) == len(self._header):
            try:
                return self._values(number, cells)
            except ValueError:
                return self._as_far_as_readable(number, line, cells)
        if len(cells) > len(self._header):
            return self._rejoined(number, line, cells)
        self.put_aside(number, None, f"has {len(cells)} of {len(self._header)} cells", line)
        return None

    def _values(self, number: int, cells: list[str]) -> SacctRow | SacctStep:
        """Raises ``ValueError`` where any value cannot be read."""
        if "." in cells[self._id_at]:
            return SacctStep._make([number, *[values[cells[at]] for at, values, _ in self._step_columns]])
        return SacctRow._make([number, *[values[cells[at]] for at, values, _ in self._columns]])

    def _as_far_as_readable(self, number: int, line: str, cells: list[str]) -> SacctRow | SacctStep | None:
        found, troubles = list[Any](), list[SetAside]()
        is_step = "." in cells[self._id_at]
        for at, values, column in self._step_columns if is_step else self._columns:
            try:
                found.append(values[cells[at]])
            except ValueError as error:
                if column is None or column.essential:
                    self.put_aside(number, None, f"{column and column.name}: {error}", line)
                    return None
                found.append(None)
                troubles.append(SetAside(number, column.name, str(error), line[:MAX_TEXT]))
        self.set_aside += troubles
        return SacctStep._make([number, *found]) if is_step else SacctRow._make([number, *found])

    def _rejoined(self, number: int, line: str, cells: list[str]) -> SacctRow | SacctStep | None:
        """The row with the extra cells in the one column of free text that leaves all other values readable."""
        extra, found = len(cells) - len(self._header), list[SacctRow | SacctStep]()
        for at, name in enumerate(self._header):
            if name.lower() in FREE_TEXT:
                whole = self._between.join(cells[at : at + extra + 1])
                try:
                    found.append(self._values(number, [*cells[:at], whole, *cells[at + extra + 1 :]]))
                except ValueError:
                    continue
        if len(found) == 1:
            return found[0]
        why = "and could be read in more than one way" if found else "and cannot be read with them in a name"
        self.put_aside(number, None, f"has {len(cells)} cells for {len(self._header)} columns, {why}", line)
        return None

    def put_aside(self, number: int, column: str | None, reason: str, line: str) -> None:
        """Note what could not be read."""
        self.set_aside.append(SetAside(number, column, reason, line[:MAX_TEXT]))
