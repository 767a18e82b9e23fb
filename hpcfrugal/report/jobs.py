"""The report of jobs over a period, as a list, in groups, or in detail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from hpcfrugal.core.format import NONE, count
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.queries import DayRow
from hpcfrugal.report import kind
from hpcfrugal.report.energy import energy_fields
from hpcfrugal.report.field import Field, Rows, field, sheet, table, to_json
from hpcfrugal.report.group import Group, all_jobs, group_by, group_by_component, group_by_day
from hpcfrugal.report.job import JOB_FIELDS
from hpcfrugal.report.job_detail import job_blocks
from hpcfrugal.report.period import Period
from hpcfrugal.report.summary import JobSummary
from hpcfrugal.report.view import Block, Json, Note, Notes, Sheet, named, note

SCHEMA_VERSION = 1

_DETAILS_AT_MOST = 3

_GROUP_FIELDS: tuple[Field[Group], ...] = (
    field("jobs", kind.COUNT, lambda group: group.jobs, csv=True, heading="Jobs"),
    field("jobs_not_started", kind.COUNT, lambda group: group.not_started),
    field("jobs_without_energy", kind.COUNT, lambda group: group.without_energy, csv=True),
    field("jobs_incomplete", kind.COUNT, lambda group: group.incomplete, csv=True),
    field("elapsed_s", kind.SPAN, lambda group: group.elapsed_ns, csv=True, heading="Elapsed", drop=4, missing=NONE),
    field("overlapping_node_time", kind.PLAIN, lambda group: bool(group.overlapping_jobs), csv=True),
    field("overlapping_jobs", kind.PLAIN, lambda group: group.overlapping_jobs),
    field("scope", kind.PLAIN, lambda group: " and ".join(sorted(group.scopes)) or None, csv=True),
    *energy_fields(lambda group: NONE if group.jobs == group.not_started else "unknown"),
)


def _keyed(by: str) -> tuple[Field[Group], ...]:
    """The fields of groups by this key, which is a column of its own name in CSV."""
    name = by.removeprefix("tag:")
    heading = plain(name, 24) if name != by else by.capitalize()
    key: Field[Group] = field(
        by,
        kind.TEXT,
        lambda group: group.key,
        json="key",
        csv=True,
        heading=heading.replace("{", "{{").replace("}", "}}"),
    )
    return (key, *_GROUP_FIELDS)


_TOTAL_FIELDS: tuple[Field[Group], ...] = (
    field("job", kind.WORD, lambda group: count(group.jobs, "job"), heading="Job"),
    *_GROUP_FIELDS,
)


@dataclass(frozen=True)
class JobsReport:
    """Jobs, grouped ``by`` something unless that is ``job``; ``days`` are needed for groups by day.

    ``detailed``: the text has all about each job where they are few.
    """

    period: Period
    summaries: Sequence[JobSummary]
    by: str = "job"
    days: Sequence[DayRow] = ()
    detailed: bool = False
    if_none: str = "No jobs in this period."

    @cached_property
    def totals(self) -> Group:
        """All jobs."""
        return all_jobs(self.summaries)

    @cached_property
    def groups(self) -> list[Group]:
        """The jobs by their key; empty for a list of jobs."""
        if self.by == "job":
            return []
        if self.by == "component":
            return group_by_component(self.summaries)
        if self.by == "day":
            return group_by_day(self.days, self.summaries)
        return group_by(self.summaries, self.by)

    def document(self) -> dict[str, Json]:
        """Totals, groups, and each job with every channel."""
        return {
            "schema": SCHEMA_VERSION,
            "period": self.period.document(),
            "by": self.by,
            "totals": to_json(_GROUP_FIELDS, self.totals),
            "groups": [to_json(_keyed(self.by), group) for group in self.groups],
            "jobs": [to_json(JOB_FIELDS, summary) for summary in self.summaries],
        }

    def sheet(self) -> Sheet:
        """One row a job or group."""
        return sheet(JOB_FIELDS, self.summaries) if self.by == "job" else sheet(_keyed(self.by), self.groups)

    def blocks(self) -> Iterator[Block]:
        """A table of jobs or groups with its total, or each job in detail."""
        if not self.summaries:
            yield Notes((Note(self.if_none),))
        elif self.by != "job":
            fields = _keyed(self.by)
            parts = [Rows(fields, self.groups)]
            if len(self.groups) > 1:
                parts.append(Rows(fields, [self.totals], "total", apart=True))
            yield table(fields, parts)
            yield Notes(tuple(self._notes()))
        elif self.detailed and len(self.summaries) <= _DETAILS_AT_MOST:
            for summary in self.summaries:
                yield from job_blocks(summary)
        else:
            listed: list[Rows[JobSummary] | Rows[Group]] = [Rows(JOB_FIELDS, self.summaries)]
            if len(self.summaries) > 1:
                listed.append(Rows(_TOTAL_FIELDS, [self.totals], "total", apart=True))
            yield table(JOB_FIELDS, listed)
            yield Notes(tuple(self._notes()))

    def _notes(self) -> Iterator[Note]:
        """What the reader must know about the sums above."""
        totals = self.totals
        if totals.without_energy:
            yield note(f"{count(totals.without_energy, 'job')} without known energy: not in the sum.")
        if totals.incomplete > totals.without_energy:
            yield note("≥: a part is unknown and not included; `hpcfrugal report JOB` shows which and why.")
        if totals.lacking_idle:
            jobs = count(totals.lacking_idle, "job")
            yield note(f"Idle power of shared nodes is not included ({jobs} with a share of a node by CPU time).")
        if len(totals.scopes) > 1:
            yield note(f"Scopes differ: the sum has energy of {' and '.join(sorted(totals.scopes))}.")
        elif totals.scopes:
            yield note(f"Scope: {min(totals.scopes)}.")
        overlapping = totals.overlapping_jobs
        if overlapping:
            ids = named([plain(job_id, 32) for job_id in overlapping])
            yield note(
                f"Counted twice: jobs that each have all energy of the same node or GPU at the same time: {ids}."
            )
        if totals.total.modelled_uj is not None:
            yield note(
                "Modelled: from design power, CPU time and memory size, not from a meter; see the range.",
                "aside",
            )
        for text in totals.co2e.notes():
            yield note(text, "aside")
