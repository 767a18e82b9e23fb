"""What jobs used in a period, in groups and in all: whole UTC days from the roll-up, the rest from jobs by day.

A period counts the energy that was used in it, whenever the jobs started. Of jobs that it cuts within a day, the
buckets of 300 s are divided.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.text import clean_text
from hpcfrugal.core.time import from_us
from hpcfrugal.ledger.due import DAY_NS, known_defaults
from hpcfrugal.ledger.footprints import Intensities
from hpcfrugal.ledger.job_groups import Group, GroupRow, Label
from hpcfrugal.ledger.overlap import node_times, overlapping, overlaps_of
from hpcfrugal.ledger.parts import COMPONENTS
from hpcfrugal.ledger.queries import JobFilter, conditions, jobs_in
from hpcfrugal.ledger.refresh import compute
from hpcfrugal.ledger.rollup import months_in
from hpcfrugal.ledger.selection import COUNTS, DAY_S, KEYS, ROLLED, JobDays, counts_once, of_rollup
from hpcfrugal.ledger.sums import in_whole, sums_in, total_of
from hpcfrugal.ledger.total_rows import CarbonPlace
from hpcfrugal.ledger.totals import JobEnergy

GROUPINGS = (*ROLLED, "qos", "name", "project", "phase", "node", "component", "day", "month")
"""What jobs can be grouped by; ``tag:KEY`` is another."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Jobs in groups, in the order of their labels, and all together."""

    groups: list[Group]
    total: Group


def grouped(connection: sqlite3.Connection, wanted: JobFilter, by: Sequence[str] = ()) -> Grouped:
    """What the jobs that fit used in the period of ``wanted``, by one or more of ``GROUPINGS``."""
    found: dict[tuple[Label, ...], Group] = {}
    total = Group(())
    reader = _Reader(connection, wanted, by)
    whole = not _DIVIDING & set(by)
    for row in reader.rows():
        if by:
            found.setdefault(row.labels, Group(row.labels)).add(row)
        if whole:
            total.add(row)
    reader.note_overlaps(found, total if whole else None)
    for group in (*found.values(), total):
        group.components = {name: group.components[name] for name in COMPONENTS if name in group.components}
    order = sorted(found, key=lambda labels: [(label is None, label or "") for label in labels])
    shown = [found[labels] for labels in order if found[labels].counts.jobs]
    return Grouped(shown, total if whole else grouped(connection, wanted).total)


_NOBODY = (0,) * len(COUNTS)

_DIVIDING = frozenset({"node", "component", "day", "month"})
"""Groupings that divide jobs, so that their numbers of jobs do not add up to that of all."""


def jobs_at_edges(connection: sqlite3.Connection, wanted: JobFilter) -> tuple[int, int]:
    """How many jobs began before the period of ``wanted``, and how many go on after it."""
    condition, values, joins = _conditions(wanted)

    def across(edge_ns: int | None) -> int:
        if edge_ns is None:
            return 0
        there = f"d.day = {edge_ns // DAY_NS} AND t.first_ns < {edge_ns} AND t.last_ns >= {edge_ns}"
        query = JobDays([], "1", f"{condition} AND {there}", joins).jobs
        return sum(row[3] for row in connection.execute(query, values))

    return across(wanted.since_ns), across(wanted.until_ns)


def _conditions(wanted: JobFilter) -> tuple[str, list[str | int], str]:
    """The condition on jobs, apart from the period, its values, and the tables that it needs."""
    condition, values = conditions(replace(wanted, since_ns=None, until_ns=None))
    return condition, values, "JOIN texts AS jobs_tags ON jobs_tags.text = jobs.tags" if wanted.tags else ""


@dataclass(slots=True)
class _Range:
    """A part of a UTC day."""

    day: int
    start_ns: int
    end_ns: int

    @property
    def inside(self) -> str:
        """SQL for whether all that a job has on this day is in this part of it."""
        begins = f"t.first_ns >= {self.start_ns}" if self.start_ns > self.day * DAY_NS else "1"
        ends = f"t.last_ns < {self.end_ns}" if self.end_ns < (self.day + 1) * DAY_NS else "1"
        return f"d.day = {self.day} AND {begins} AND {ends}"

    @property
    def across(self) -> str:
        """SQL for whether a job has something in this part of the day, and something outside of it."""
        within = f"t.first_ns < {self.end_ns} AND t.last_ns >= {self.start_ns}"
        return f"d.day = {self.day} AND {within} AND NOT ({self.inside})"


class _Reader:
    """The rows of all selections that a period consists of."""

    def __init__(self, connection: sqlite3.Connection, wanted: JobFilter, by: Sequence[str]) -> None:
        self._cursor = connection.cursor()
        self._cursor.row_factory = None
        self._connection, self._wanted, self._by = connection, wanted, by
        self._keys = [("tags" if key.startswith("tag:") else key) for key in by]
        self._columns = [KEYS[key].column for key in self._keys if key != "component"]
        self._condition, self._values, self._joins = _conditions(wanted)
        self._since_ns, self._until_ns = wanted.since_ns, wanted.until_ns
        self._texts: dict[tuple[str, int], str] = {}
        self._places: dict[int, CarbonPlace] = {}

    # The period

    @property
    def _first_day(self) -> int:
        return -(2**40) if self._since_ns is None else self._since_ns // DAY_NS

    @property
    def _whole_days(self) -> tuple[int, int]:
        """The first of the whole days, and the first day after them."""
        since = -(2**40) if self._since_ns is None else -(-self._since_ns // DAY_NS)
        return since, 2**40 if self._until_ns is None else self._until_ns // DAY_NS

    def _edges(self) -> Iterator[_Range]:
        """The parts of days at the edges of the period."""
        since, until = self._whole_days
        if self._since_ns is not None and self._since_ns % DAY_NS:
            end_ns = since * DAY_NS if self._until_ns is None else min(since * DAY_NS, self._until_ns)
            yield _Range(since - 1, self._since_ns, end_ns)
        if self._until_ns is not None and self._until_ns % DAY_NS and until >= since:
            yield _Range(until, until * DAY_NS, self._until_ns)

    def _due(self) -> list[int]:
        """Whole days that are not rolled up."""
        query = "SELECT day FROM days_due WHERE day >= ? AND day < ? ORDER BY day"
        return [day for (day,) in self._cursor.execute(query, self._whole_days).fetchall()]

    # Its rows

    def rows(self) -> Iterator[GroupRow]:
        """All rows; a label may come more than once."""
        since, until = self._whole_days
        if since < until:
            if self._rolled:
                due = self._due()
                yield from self._of_rollup(due)
                if due:
                    yield from self._of_jobs(f"d.day IN ({', '.join(map(str, due))})")
            else:
                yield from self._of_jobs(f"d.day >= {since} AND d.day < {until}")
        for edge in self._edges():
            yield from self._of_jobs(edge.inside)
            yield from self._cut(edge)

    @property
    def _rolled(self) -> bool:
        """Whether the roll-up has all that is asked for."""
        rolled = all(key == "component" or KEYS[key].rolled is not None for key in self._keys)
        return rolled and not self._wanted.jobs and not self._wanted.tags

    def _of_rollup(self, due: Sequence[int]) -> Iterator[GroupRow]:
        since, until = self._whole_days
        condition = f"day >= {since} AND day < {until}"
        values = []
        if due:
            condition += f" AND day NOT IN ({', '.join(map(str, due))})"
        if self._wanted.user is not None:
            condition += " AND user = (SELECT text FROM texts WHERE name = ?)"
            values.append(clean_text(self._wanted.user))
        if "component" in self._keys:
            condition += " AND component != ''"
        columns = [str(KEYS[key].rolled) for key in self._keys if key != "component"]
        counts = counts_once(self._keys, "first", "day", self._first_day)
        for month in list(months_in(self._connection, since, until)):
            of_month = f"month = {month} AND {condition}"
            try:
                rows = self._cursor.execute(of_rollup(columns, counts, of_month, exact=False), values).fetchall()
            except sqlite3.OperationalError:  # a sum passes 64 bits
                rows = self._cursor.execute(of_rollup(columns, counts, of_month, exact=True), values).fetchall()
            for row in self._read(rows):
                # Jobs are counted as a whole; the roll-up counts those that have a component too.
                yield row if "component" in self._keys or not row.component else row._replace(counts=_NOBODY)

    def _queries(self, condition: str, columns: Sequence[str]) -> list[str]:
        counts = counts_once(self._keys, "d.first", "d.day", self._first_day)
        jobs = JobDays(columns, counts, f"{condition} AND {self._condition}", self._joins)
        if "component" in self._keys:
            return [jobs.components(with_counts=True)]
        return [jobs.jobs_of_nodes if "node" in self._keys else jobs.jobs, jobs.components(with_counts=False)]

    def _of_jobs(self, condition: str) -> Iterator[GroupRow]:
        for query in self._queries(condition, self._columns):
            yield from self._read(self._cursor.execute(query, self._values).fetchall())

    def _cut(self, edge: _Range) -> Iterator[GroupRow]:
        """The jobs that an edge of the period cuts within a day."""
        found: list[tuple[int, GroupRow]] = []
        for query in self._queries(edge.across, ["d.job", *self._columns]):
            rows = self._cursor.execute(query, self._values).fetchall()
            found += zip((row[0] for row in rows), self._read([row[1:] for row in rows]), strict=True)
        intensity, defaults = Intensities(self._connection), known_defaults(self._connection)
        slots = {}
        for job in jobs_in(self._connection, sorted({job for job, _ in found})):
            _, parts = compute(intensity, JobEnergy(job), defaults, (edge.start_ns, edge.end_ns))
            slots[job.job] = [slot for slot in parts if edge.start_ns <= slot.start_ns < edge.end_ns]
        for job_key, row in found:
            elapsed = [slot.elapsed_ns for slot in slots[job_key] if slot.elapsed_ns is not None]
            node = row.labels[self._keys.index("node")] if "node" in self._keys else None
            sums = total_of(
                sums
                for slot in slots[job_key]
                for (of_node, component), sums in slot.sums.items()
                if component == row.component and node in (None, of_node)
            )
            yield row._replace(elapsed_ns=sum(elapsed) if row.elapsed_ns is not None else None, sums=sums)

    def _read(self, rows: Sequence[Sequence[Any]]) -> Iterator[GroupRow]:
        width = len(self._columns)
        for row in rows:
            place, scope, component = row[width : width + 3]
            counts, rest = row[width + 3 : width + 3 + len(COUNTS)], row[width + 3 + len(COUNTS) :]
            yield GroupRow(
                self._labels(row[:width], component),
                self._place(place),
                self._text("texts", scope),
                component,
                counts,
                in_whole(*rest[:2]),
                sums_in(rest[2:]),
            )

    # What its integers stand for

    def _labels(self, values: Sequence[int | None], component: str) -> tuple[Label, ...]:
        own = iter(values)
        return tuple(component if key == "component" else self._label(key, next(own)) for key in self._by)

    def _label(self, key: str, value: int | None) -> Label:
        name, _, tag = key.partition(":")
        if name in ("day", "month") and value is not None:
            return f"{from_us(value * DAY_S * 10**6):{'%Y-%m-%d' if name == 'day' else '%Y-%m'}}"
        text = self._text("nodes" if name == "node" else "texts", value)
        return text if name != "tag" else json.loads(text or "{}").get(clean_text(tag))

    def _text(self, dictionary: str, key: int | None) -> str | None:
        if not key:
            return None
        if (dictionary, key) not in self._texts:
            (self._texts[dictionary, key],) = self._entry(dictionary, "name", key)
        return self._texts[dictionary, key]

    def _place(self, key: int) -> CarbonPlace:
        if key not in self._places:
            columns = "zone, zone_source, pue, pue_source, provider"
            self._places[key] = CarbonPlace(*self._entry("places", columns, key))
        return self._places[key]

    def _entry(self, dictionary: str, columns: str, key: int) -> tuple[Any, ...]:
        """What a dictionary has under a key. Raises ``sqlite3.DatabaseError`` where that is damaged."""
        query = f"SELECT {columns} FROM {dictionary} WHERE {dictionary[:-1]} = ?"
        row = self._connection.execute(query, (key,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"{dictionary} has no entry {key}")
        return tuple(row)

    # Jobs that are counted twice

    def note_overlaps(self, found: Mapping[tuple[Label, ...], Group], total: Group | None) -> None:
        """Name the jobs of each group, and of all, that have the same energy."""
        jobs = ", ".join(map(str, sorted(self._overlapping_with_any())))
        if not jobs:
            return
        times = node_times(self._connection, jobs)
        names = dict(self._cursor.execute(f"SELECT job, job_id FROM jobs WHERE job IN ({jobs})").fetchall())
        members: dict[tuple[Label, ...], set[int]] = {}
        for query in self._queries(f"d.job IN ({jobs}) AND {self._in_period}", ["d.job", *self._columns]):
            rows = self._cursor.execute(query, self._values).fetchall()
            for row, read in zip(rows, self._read([row[1:] for row in rows]), strict=True):
                members.setdefault(read.labels, set()).add(row[0])

        def overlap(own: set[int], of_group: Mapping[str, Label]) -> list[str]:
            within = (time for time in times if time.job in own and self._is_of(time.part[1], time.part[2], of_group))
            return sorted({names[job] for job in overlapping(within)}, key=lambda job_id: (len(job_id), job_id))

        for labels, own in members.items():
            if labels in found:
                found[labels].overlapping = overlap(own, dict(zip(self._keys, labels, strict=True)))
        if total is not None:
            total.overlapping = overlap(set().union(*members.values()), {})

    def _is_of(self, node: int, part: str, group: Mapping[str, Label]) -> bool:
        """Whether a part of a node is in a group by node or component."""
        component = part if part in COMPONENTS else "gpu"
        same_node = "node" not in group or group["node"] == self._text("nodes", node)
        return group.get("component", component) == component and same_node

    @property
    def _in_period(self) -> str:
        since = "1" if self._since_ns is None else f"t.last_ns >= {self._since_ns}"
        return since + ("" if self._until_ns is None else f" AND t.first_ns < {self._until_ns}")

    def _overlapping_with_any(self) -> set[int]:
        """The jobs of the period that overlap with any other one, whether that is in a group or not."""
        since, until = self._first_day, self._whole_days[1]
        query = "SELECT day FROM days_due WHERE day BETWEEN ? AND ?"
        due = [day for (day,) in self._cursor.execute(query, (since, until)).fetchall()]
        kept = self._cursor.execute("SELECT DISTINCT job FROM overlaps WHERE day BETWEEN ? AND ?", (since, until))
        return {job for (job,) in kept}.union(*(overlaps_of(self._connection, day) for day in due))
