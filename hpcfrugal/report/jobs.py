"""The report of jobs over a period: their totals, in groups, as a list, or each in detail.

Totals and groups have the energy that was used in the period; a job of the list is shown whole, and is in the list
where it started in the period.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpcfrugal.core.format import NONE, EnergyUnit, count
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.groups import Grouped, grouped, jobs_at_edges
from hpcfrugal.ledger.job_groups import Group, JobCounts
from hpcfrugal.ledger.parts import IDLE_LACKING, SCOPES_BETWEEN, boundary_of
from hpcfrugal.ledger.queries import JobFilter, count_jobs, iter_jobs, tag_keys
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.report import notation
from hpcfrugal.report.amount import PARTLY_UNKNOWN
from hpcfrugal.report.co2e import Co2e
from hpcfrugal.report.cost import Tariff
from hpcfrugal.report.embodied import EMBODIED_FIELDS, embodied_note
from hpcfrugal.report.energy import energy_fields
from hpcfrugal.report.field import Field, Rows, field, on, scale, sheet, table, to_json, variant
from hpcfrugal.report.job import JOB_FIELDS, ReportedJob, listed_fields, tag_field
from hpcfrugal.report.job_detail import job_blocks
from hpcfrugal.report.period import Period
from hpcfrugal.report.scope_advice import scopes_of
from hpcfrugal.report.view import Block, Json, Note, Notes, Sheet, Stream, named, note

SCHEMA_VERSION = 3
"""``schema`` of the JSON: it is raised when a key is removed or renamed, or its meaning changes. A key that is added
raises it not."""

LATEST = 20
"""Jobs of a list that is not asked for in full."""

_DETAILS_AT_MOST = 3

_NO_LABEL = "(none)"
_INCLUDED = "included"


@dataclass(frozen=True)
class ReportedGroup:
    """A group of jobs, or all of them, as reports show it."""

    group: Group

    @property
    def counts(self) -> JobCounts:
        """How many jobs."""
        return self.group.counts

    @property
    def components(self) -> dict[str, EnergySums]:
        """What each component used."""
        return self.group.components

    @cached_property
    def sums(self) -> EnergySums:
        """All components together."""
        return self.group.sums

    @property
    def without_energy(self) -> int:
        """Jobs that ran, of which no energy is known."""
        return self.counts.jobs - self.counts.not_started - self.counts.known

    @property
    def complete(self) -> bool:
        """Whether no job that ran lacks a part."""
        nobody_ran = self.counts.jobs == self.counts.not_started
        return not self.counts.incomplete and (nobody_ran or self.sums.energy_uj is not None)

    @property
    def idle_power(self) -> str | None:
        """Whether shared nodes' idle power is in all shares; None where nothing is a share."""
        if self.counts.lacking_idle:
            return IDLE_LACKING
        return _INCLUDED if self.counts.shared else None

    @property
    def scope(self) -> str | None:
        """What the energy is the energy of."""
        return " and ".join(sorted(self.scopes)) or None

    @cached_property
    def scopes(self) -> set[str]:
        """The scopes of the jobs, each by itself."""
        return {scope for scopes in self.group.scopes for scope in scopes.split(SCOPES_BETWEEN)}

    @cached_property
    def co2e(self) -> Co2e:
        """The CO2e of the jobs."""
        return Co2e(self.sums, self.group.places, boundary_of(self.group.components))


_GROUP_FIELDS: tuple[Field[ReportedGroup], ...] = (
    field("jobs", notation.COUNT, lambda one: one.counts.jobs, csv=True, heading="Jobs", drop=8),
    field("jobs_not_started", notation.COUNT, lambda one: one.counts.not_started),
    field("jobs_without_energy", notation.COUNT, lambda one: one.without_energy, csv=True),
    field("jobs_incomplete", notation.COUNT, lambda one: one.counts.incomplete, csv=True),
    field(
        "elapsed_s", notation.SPAN, lambda one: one.group.elapsed_ns, csv=True, heading="Elapsed", drop=7, missing=NONE
    ),
    field("overlapping_node_time", notation.PLAIN, lambda one: bool(one.group.overlapping), csv=True),
    field("overlapping_jobs", notation.PLAIN, lambda one: one.group.overlapping),
    field("scope", notation.PLAIN, lambda one: one.scope, csv=True),
    *energy_fields(lambda one: NONE if one.counts.jobs == one.counts.not_started else "unknown"),
)


def _keyed(by: Sequence[str]) -> tuple[Field[ReportedGroup], ...]:
    """The fields of groups by these keys, of which each is a column of its own name in CSV."""
    return (*(_label(each, position) for position, each in enumerate(by)), *_GROUP_FIELDS)


def _label(by: str, position: int) -> Field[ReportedGroup]:
    name = by.removeprefix("tag:")
    heading = plain(name, 24) if name != by else by.capitalize()

    def of(one: ReportedGroup) -> str | None:
        # All jobs have no labels.
        return one.group.labels[position] if one.group.labels else "" if position else "total"

    label: Field[ReportedGroup] = field(
        by,
        notation.TEXT,
        of,
        csv=True,
        heading=heading.replace("{", "{{").replace("}", "}}"),
        key=True,
        missing=_NO_LABEL,
    )
    return variant(label, path=("key", by))


_TOTAL_FIELDS: tuple[Field[ReportedGroup], ...] = (
    field("job", notation.WORD, lambda one: count(one.counts.jobs, "job"), heading="Total"),
    *_GROUP_FIELDS,
)
"""The jobs of a list together."""


@dataclass(frozen=True)
class JobsReport:
    """Jobs that fit ``wanted``, in groups ``by`` one or two keys, or as a list of the latest, or of ``every`` one.

    ``detailed``: the text has all about each job where they are few. ``unit`` is that of energies in the text. The
    ledger has to be open while it is written.
    """

    connection: sqlite3.Connection
    period: Period
    wanted: JobFilter
    by: tuple[str, ...] = ()
    every: bool = False
    detailed: bool = False
    if_none: str = "No jobs in this period."
    unit: EnergyUnit = "auto"
    tariff: Tariff | None = None

    @property
    def _costs(self) -> tuple[Field[Any], ...]:
        return () if self.tariff is None else self.tariff.fields

    @property
    def _keyed(self) -> tuple[Field[ReportedGroup], ...]:
        return (*_keyed(self.by), *self._costs)

    @cached_property
    def _grouped(self) -> Grouped:
        return grouped(self.connection, self.wanted, self.by)

    @cached_property
    def totals(self) -> ReportedGroup:
        """All jobs in the period."""
        return ReportedGroup(self._grouped.total)

    @cached_property
    def groups(self) -> list[ReportedGroup]:
        """The jobs by their keys; empty for a list of jobs."""
        return [ReportedGroup(group) for group in self._grouped.groups]

    @cached_property
    def listed(self) -> int:
        """How many jobs started in the period."""
        return count_jobs(self.connection, self.wanted)

    @property
    def _latest(self) -> int | None:
        return None if self.every else LATEST

    def jobs(self, *, details: bool) -> Iterator[ReportedJob]:
        """The jobs of the list, in the order of their start."""
        return map(ReportedJob, iter_jobs(self.connection, self.wanted, latest=self._latest, details=details))

    def document(self) -> dict[str, Json]:
        """Totals, and groups or each job of the list with every channel."""
        of_jobs = (*JOB_FIELDS, *self._costs)
        return {
            "schema": SCHEMA_VERSION,
            "period": self.period.document(),
            "by": list(self.by),
            "totals": to_json((*_GROUP_FIELDS, *self._costs), self.totals),
            "groups": [to_json(self._keyed, group) for group in self.groups],
            "jobs_in_period": self.listed,
            "jobs": Stream(to_json(of_jobs, job) for job in ([] if self.by else self.jobs(details=True))),
        }

    def sheet(self) -> Sheet:
        """One row a group or job; of jobs with a column for each of their tags."""
        if self.by:
            return self.group_sheet()
        tags = map(tag_field, tag_keys(self.connection, self.wanted, latest=self._latest))
        return sheet((*JOB_FIELDS, *self._costs, *tags), self.jobs(details=False))

    def group_sheet(self) -> Sheet:
        """One row a group; without groups one of all jobs."""
        return sheet(self._keyed, self.groups if self.by else [self.totals])

    def blocks(self) -> Iterator[Block]:
        """A table of groups with their total, the total of the period with a list of jobs, or each job in detail."""
        if not self.totals.counts.jobs and not self.listed:
            yield Notes((Note(self.if_none),))
        elif self.by:
            fields = self._keyed
            parts = [Rows(fields, self.groups)]
            if len(self.groups) > 1:
                parts.append(Rows(fields, [self.totals], "total", apart=True))
            yield table(fields, parts, scale(parts, self.unit))
            yield Notes(tuple(self._notes()))
        elif self.detailed and self.listed <= _DETAILS_AT_MOST:
            for job in self.jobs(details=True):
                yield from job_blocks(job, self.unit, scopes_of(self.connection, job.job))
                yield from self._beside(job)
        else:
            yield from self._list()

    def _beside(self, job: ReportedJob) -> Iterator[Block]:
        """What a single job has beside its energy and CO2e."""
        fields = [each for each in (*on(EMBODIED_FIELDS, lambda one: one.sums), *self._costs) if each.heading]
        rows = Rows(fields, [job])
        if any(each.get(job) is not None for each in fields):
            yield table(fields, [rows])
            yield Notes(tuple(self._notes_beside(job.sums)), apart=False)

    def _notes_beside(self, sums: EnergySums) -> Iterator[Note]:
        if (text := embodied_note(self.connection, sums)) is not None:
            yield text
        if self.tariff is not None and sums.energy_uj is not None:
            yield self.tariff.note

    def _list(self) -> Iterator[Block]:
        found = list(self.jobs(details=False))
        of_totals, of_jobs = (*_TOTAL_FIELDS, *self._costs), (*listed_fields(found), *self._costs)
        totals = Rows(of_totals, [self.totals], "total")
        jobs = Rows(of_jobs, found)
        # each in units of its own: in those of a year the energy of a job has no digits
        if self.totals.counts.jobs != 1 or self.listed != 1:
            yield table(of_totals, [totals], scale([totals], self.unit))
        if jobs.records:
            yield table(of_jobs, [jobs], scale([jobs], self.unit))
        yield Notes((*self._notes_on_list(), *self._notes()))

    def _notes_on_list(self) -> Iterator[Note]:
        """What the list has, against the totals."""
        if not self.every and self.listed > LATEST:
            yield note(f"The latest {LATEST} of {self.listed:,} jobs; `--all` lists them all.")
        before, after = jobs_at_edges(self.connection, self.wanted)
        if before or after:
            began, go_on = f"{count(before, 'job')} began before it", f"{count(after, 'job')} went on after it"
            which = " and ".join(text for text, number in ((began, before), (go_on, after)) if number)
            yield note(f"The total is of the time in the period, of which {which}; the list shows jobs whole.")

    def _notes(self) -> Iterator[Note]:
        """What the reader must know about the sums above."""
        totals = self.totals
        if totals.without_energy:
            yield note(f"{count(totals.without_energy, 'job')} without known energy: not in the sum.")
        if totals.counts.incomplete > totals.without_energy:
            yield PARTLY_UNKNOWN
        if totals.counts.lacking_idle:
            jobs = count(totals.counts.lacking_idle, "job")
            yield note(f"Idle power of shared nodes is not included ({jobs} with a share of a node by CPU time).")
        if len(totals.scopes) > 1:
            yield note(f"Scopes differ between jobs: {' and '.join(sorted(totals.scopes))}.")
        elif totals.scopes:
            yield note(f"Scope: {min(totals.scopes)}.")
        if totals.group.overlapping:
            ids = named([plain(job_id, 32) for job_id in totals.group.overlapping])
            yield note(
                f"Counted twice: jobs that each have all energy of the same node or GPU at the same time: {ids}."
            )
        if totals.sums.modelled_uj is not None:
            text = "Modelled: from design power, CPU time and memory size, not from a meter; see the range."
            yield note(text, "aside")
        for text in totals.co2e.notes():
            yield note(text, "aside")
        yield from self._notes_beside(totals.sums)
