"""Groups of jobs and their sums. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hpcfrugal.core.time import from_us
from hpcfrugal.ledger.footprints import DAY_NS
from hpcfrugal.ledger.queries import DAY_S, DayRow
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.report.amount import Amount, total_of
from hpcfrugal.report.co2e import Co2e
from hpcfrugal.report.overlap import NodeTime, overlapping, whole_nodes
from hpcfrugal.report.scope import scopes_of
from hpcfrugal.report.summary import COMPONENTS, IDLE_INCLUDED, IDLE_LACKING, JobSummary


@dataclass(slots=True)
class Group:
    """Jobs that share a key, with their sums.

    ``not_started`` jobs have no energy yet. Of the others, ``without_energy`` jobs have no known energy, ``incomplete``
    jobs lack a part, ``lacking_idle`` jobs lack the idle power of shared nodes, ``with_idle`` jobs include it.
    ``elapsed_ns`` is None where no elapsed time is known, as on a single day. ``whole_nodes`` are the times in which
    jobs were given all of a node's energy, or a GPU's. ``scopes``: what the energies are of.
    """

    key: str
    jobs: int = 0
    not_started: int = 0
    without_energy: int = 0
    incomplete: int = 0
    lacking_idle: int = 0
    with_idle: int = 0
    elapsed_ns: int | None = None
    components: dict[str, Amount] = field(default_factory=dict)
    whole_nodes: list[NodeTime] = field(default_factory=list)
    scopes: set[str] = field(default_factory=set)
    co2e: Co2e = field(default_factory=Co2e)

    @property
    def total(self) -> Amount:
        """The sum of the components."""
        return total_of(self.components.values())

    @property
    def complete(self) -> bool:
        """Whether no job that ran lacks a part."""
        return self.without_energy == self.incomplete == 0

    @property
    def idle_power(self) -> str | None:
        """Whether shared nodes' idle power is in all shares; None where nothing is a share."""
        if self.lacking_idle:
            return IDLE_LACKING
        return IDLE_INCLUDED if self.with_idle else None

    @property
    def overlapping_jobs(self) -> list[str]:
        """Ids of the jobs that have the same energy of a node or a GPU, which the sum counts twice."""
        return overlapping(self.whole_nodes)

    def add(self, summary: JobSummary) -> None:
        """Add one job."""
        total = summary.total
        self.jobs += 1
        if summary.not_started:
            self.not_started += 1
            return
        self.without_energy += total.energy_uj is None
        self.incomplete += not total.complete
        self.lacking_idle += summary.lacks_idle
        self.with_idle += bool(summary.shared) and not summary.lacks_idle
        self.whole_nodes.extend(whole_nodes(summary))
        self.scopes.update(scopes_of(summary.job))
        self.co2e.add(summary.footprint)
        if summary.job.elapsed_ns is not None:
            self.elapsed_ns = (self.elapsed_ns or 0) + summary.job.elapsed_ns
        for component, amount in summary.components.items():
            self.components.setdefault(component, Amount()).add(amount)


GROUPINGS: dict[str, Callable[[JobRow], str | None]] = {
    "user": lambda job: job.user,
    "project": lambda job: job.project,
    "phase": lambda job: job.phase,
    "account": lambda job: job.account,
    "partition": lambda job: job.partition,
    "qos": lambda job: job.qos,
}
"""Groupings of whole jobs; ``tag:KEY`` is another, ``component`` and ``day`` divide jobs."""


def group_by(summaries: Sequence[JobSummary], by: str) -> list[Group]:
    """Groups in the order of their keys; jobs without that key come last as ``(none)``."""
    tag = by.removeprefix("tag:")
    key_of = GROUPINGS[by] if tag == by else lambda job: job.tags.get(tag)
    groups: dict[str | None, Group] = {}
    for summary in summaries:
        key = key_of(summary.job)
        groups.setdefault(key, Group("(none)" if key is None else key)).add(summary)
    return [groups[key] for key in sorted(groups, key=lambda key: (key is None, key or ""))]


def group_by_component(summaries: Sequence[JobSummary]) -> list[Group]:
    """One group a component."""
    groups = {component: Group(component) for component in COMPONENTS}
    for summary in summaries:
        for component, amount in summary.components.items():
            part = None if summary.footprint is None else summary.footprint.of(component)
            groups[component].add(JobSummary(summary.job, {component: amount}, part))
    return [group for group in groups.values() if group.jobs]


def group_by_day(days: Sequence[DayRow], summaries: Sequence[JobSummary]) -> list[Group]:
    """One group a UTC day, from the buckets of these jobs.

    Known energy has a day, so there is no coverage. A job with an unknown part makes each of its days incomplete; a
    job without known energy counts on the day of its start.
    """
    groups: dict[int, Group] = {}
    by_job: dict[int, dict[int, list[DayRow]]] = {}
    for row in days:
        by_job.setdefault(row.job, {}).setdefault(row.day_s, []).append(row)
    for summary in summaries:
        own = by_job.get(summary.job.job, {})
        started_ns = summary.job.started_wall_ns
        if not own and started_ns is not None:
            own = {started_ns // DAY_NS * DAY_S: []}
        for day_s, rows in own.items():
            group = groups.setdefault(day_s, Group(_day_name(day_s)))
            group.jobs += 1
            group.without_energy += not rows
            group.incomplete += not summary.complete
            shares = [row for row in rows if row.shared]
            lacking = any(row.lacks_idle for row in shares)
            group.lacking_idle += lacking
            group.with_idle += bool(shares) and not lacking
            group.whole_nodes.extend(whole_nodes(summary))
            group.scopes.update(scopes_of(summary.job))
            for row in rows:
                group.components.setdefault(row.component, Amount()).take(row.quality, row.energy_uj, row.range_uj)
            if not summary.complete:
                for component, amount in summary.components.items():
                    group.components.setdefault(component, Amount()).unknown.extend(amount.unknown)
        if summary.footprint is not None:
            for day in sorted({day for _, day in summary.footprint.parts}):
                groups.setdefault(day * DAY_S, Group(_day_name(day * DAY_S))).co2e.add(summary.footprint.on(day))
    return [groups[day_s] for day_s in sorted(groups)]


def _day_name(day_s: int) -> str:
    return f"{from_us(day_s * 10**6):%Y-%m-%d}"


def all_jobs(summaries: Sequence[JobSummary]) -> Group:
    """All jobs as one group."""
    group = Group("total")
    for summary in summaries:
        group.add(summary)
    return group
