"""Sums over channels, jobs and groups that keep measured, modelled and unknown apart. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hpcfrugal.ledger.footprints import DAY_NS, JobFootprint
from hpcfrugal.ledger.queries import DayRow
from hpcfrugal.ledger.rows import ChannelRow, JobRow
from hpcfrugal.report.co2e import Co2e

COMPONENTS = ("cpu", "dram", "gpu")
"""Parts of the boundary ``components``. The boundary ``node`` is shown beside it and never added to it."""


@dataclass(slots=True)
class Amount:
    """Energy by quality. None: nothing of that quality is known.

    ``covered_ns`` of ``elapsed_ns`` have data behind them; their quotient is the coverage. ``unknown``
    names the parts of which nothing is known.
    """

    measured_uj: int | None = None
    modelled_uj: int | None = None
    covered_ns: int = 0
    elapsed_ns: int = 0
    unknown: list[str] = field(default_factory=list)

    @property
    def energy_uj(self) -> int | None:
        """What is known, measured and modelled together; ``complete`` says whether that is all."""
        known = [part for part in (self.measured_uj, self.modelled_uj) if part is not None]
        return sum(known) if known else None

    @property
    def complete(self) -> bool:
        """Whether no part is unknown, nor was unread for long. Of less than that the coverage tells."""
        return not self.unknown and self.energy_uj is not None

    @property
    def coverage(self) -> float | None:
        """Share of the time that has data behind it; None where the time is not known."""
        return self.covered_ns / self.elapsed_ns if self.elapsed_ns > 0 else None

    def take(self, quality: str, energy_uj: int) -> None:
        """Add known energy of one quality."""
        if quality == "measured":
            self.measured_uj = (self.measured_uj or 0) + energy_uj
        else:
            self.modelled_uj = (self.modelled_uj or 0) + energy_uj

    def add(self, other: Amount) -> None:
        """Add another amount, of another component or job."""
        if other.measured_uj is not None:
            self.take("measured", other.measured_uj)
        if other.modelled_uj is not None:
            self.take("modelled", other.modelled_uj)
        self.covered_ns += other.covered_ns
        self.elapsed_ns += other.elapsed_ns
        self.unknown.extend(other.unknown)


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job with its amounts by component; a component that the job does not have is not there."""

    job: JobRow
    components: dict[str, Amount]
    footprint: JobFootprint | None = None

    @property
    def counted(self) -> list[ChannelRow]:
        """The channels with energy in the amounts."""
        return [
            channel
            for channel in self.job.channels
            if channel.counted and channel.component in self.components and channel.energy_uj is not None
        ]

    @property
    def shared(self) -> list[ChannelRow]:
        """The channels of which the job has a share by CPU time."""
        return [channel for channel in self.counted if channel.attribution == "cpu-share"]

    @property
    def lacks_idle(self) -> bool:
        """Whether a part is a share of a node's energy, in which the node's idle power is not included."""
        return any(channel.idle_power is None for channel in self.shared)

    @property
    def idle_powers(self) -> dict[str, str]:
        """The idle power that is included, with its source, by component; of several nodes each once."""
        found: dict[str, list[str]] = {}
        for channel in self.shared:
            if channel.idle_power is not None:
                found.setdefault(channel.component, []).append(channel.idle_power)
        return {component: ", ".join(dict.fromkeys(texts)) for component, texts in found.items()}

    @property
    def not_started(self) -> bool:
        """Whether the job waits, or was cancelled while it did."""
        return self.job.started_wall_ns is None and not self.job.sessions

    @property
    def total(self) -> Amount:
        return total_of(self.components.values())


Place = tuple[str, str, str]
"""A boot of a node or, where its id is not known, a cluster; the node; and a component of it or a GPU by its UUID.

A boot has one kernel, so a job of Slurm and one of this machine's own that were in it had the same node.
"""


@dataclass(frozen=True, slots=True)
class NodeTime:
    """A time in which a job was given all that was read of a component of a node, or of a GPU.

    By the clock since boot where the boot's id is known, else by the wall clock, which may have been set.
    """

    place: Place
    start_ns: int
    end_ns: int
    job: tuple[str, str, int]
    job_id: str


def whole_nodes(summary: JobSummary) -> list[NodeTime]:
    """Times of each component of each node that the job has ``exclusive`` energy of, and of each GPU that it held."""
    job = summary.job
    spans: dict[tuple[Place, int], tuple[int, int]] = {}
    for channel in summary.counted:
        part = channel.component if channel.attribution == "exclusive" else channel.gpu_uuid
        if part is None or channel.attribution not in ("exclusive", "device"):
            continue
        for where, session, start_ns, end_ns in _spans(job, channel):
            place = (where, channel.node, part)
            old = spans.get((place, session), (start_ns, end_ns))
            spans[place, session] = (min(old[0], start_ns), max(old[1], end_ns))
    key = job.key
    return [NodeTime(place, start_ns, end_ns, key, job.job_id) for (place, _), (start_ns, end_ns) in spans.items()]


def _spans(job: JobRow, channel: ChannelRow) -> Iterator[tuple[str, int, int, int]]:
    """When a channel was read: (boot, number, from, to) for each sidecar session, else (cluster, 0, from, to)."""
    first_ns, last_ns = channel.first_wall_ns, channel.last_wall_ns
    if first_ns is None or last_ns is None:
        return
    own = [session for session in job.sessions if session.node == channel.node]
    if not own or any(session.boot_id is None for session in own):
        yield job.cluster, 0, first_ns, last_ns
        return
    for session in own:
        # A channel may be read in a part of a session only, and in another one not at all.
        start_ns, end_ns = max(first_ns, session.started_wall_ns), min(last_ns, session.ended_wall_ns)
        if start_ns < end_ns:
            since_boot_ns = session.started_boottime_ns - session.started_wall_ns
            yield str(session.boot_id), session.session, start_ns + since_boot_ns, end_ns + since_boot_ns


def overlapping(times: Iterable[NodeTime]) -> list[str]:
    """Ids of jobs that were given the energy of one place at one time, in order.

    In the order of their beginnings, each time is held against the one before it that ends last: where a time
    overlaps any, it overlaps that one, which is marked too; the others that it overlaps were marked by it.
    """
    found: set[str] = set()
    latest: dict[Place, NodeTime] = {}
    real = (time for time in times if time.start_ns < time.end_ns)
    for time in sorted(real, key=lambda time: (time.start_ns, time.end_ns, time.job)):
        before = latest.get(time.place)
        if before is not None and time.start_ns < before.end_ns:
            found |= {before.job_id, time.job_id}
        if before is None or time.end_ns > before.end_ns:
            latest[time.place] = time
    return sorted(found, key=lambda job_id: (len(job_id), job_id))


@dataclass(slots=True)
class Group:
    """Jobs that share a key, with their sums.

    ``not_started`` jobs have no energy yet; of the others, ``without_energy`` have none that is known,
    ``incomplete`` lack a part and ``lacking_idle`` the idle power of shared nodes, which ``with_idle`` have.
    ``whole_nodes`` are the times in which jobs were given all of a node's energy, or a GPU's.
    """

    key: str
    jobs: int = 0
    not_started: int = 0
    without_energy: int = 0
    incomplete: int = 0
    lacking_idle: int = 0
    with_idle: int = 0
    elapsed_ns: int = 0
    components: dict[str, Amount] = field(default_factory=dict)
    whole_nodes: list[NodeTime] = field(default_factory=list)
    grams: Co2e = field(default_factory=Co2e)

    @property
    def total(self) -> Amount:
        return total_of(self.components.values())

    @property
    def complete(self) -> bool:
        """Whether no job that ran lacks a part."""
        return self.without_energy == self.incomplete == 0

    @property
    def overlapping(self) -> list[str]:
        """Ids of the jobs of which the sum has the same energy of a node or a GPU twice."""
        return overlapping(self.whole_nodes)

    def add(self, summary: JobSummary) -> None:
        """Count one job in."""
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
        self.grams.add(summary.footprint)
        self.elapsed_ns += summary.job.elapsed_ns or 0
        for component, amount in summary.components.items():
            self.components.setdefault(component, Amount()).add(amount)


def total_of(amounts: Iterable[Amount]) -> Amount:
    """The sum of several amounts."""
    total = Amount()
    for amount in amounts:
        total.add(amount)
    return total


def channel_coverage(channel: ChannelRow, elapsed_ns: int | None) -> float | None:
    """Measured time over the job's elapsed time, at most 1 (the sidecar may outlive the job by a moment)."""
    if not elapsed_ns:
        return None
    return min(channel.measured_ns, elapsed_ns) / elapsed_ns


def summarise(job: JobRow, footprint: JobFootprint | None = None) -> JobSummary:
    """The amounts of one job: every component of every node that it had, known or not; with its grams, if given.

    A job that was never sampled and never started has unknown energy and no nodes to name.
    """
    counted = [channel for channel in job.channels if channel.counted and channel.component in COMPONENTS]
    present = {channel.component for channel in counted}
    # A meter of the node says nothing of what the sidecar found there.
    sampled = {channel.node for channel in job.channels if channel.boundary == "components"}
    components: dict[str, Amount] = {}
    for component in COMPONENTS:
        if component == "gpu" and "gpu" not in present:
            continue
        amount = Amount()
        for node in job.nodes:
            own = [item for item in counted if item.node == node and item.component == component]
            # A sampled node may have no GPU; one that was not sampled may have had them, like its fellows.
            if own or component != "gpu" or node not in sampled:
                amount.add(_node_amount(node, component, own, job.known_elapsed_ns or 0))
        if not job.nodes:
            amount.unknown.append(f"{component}: never sampled")
        components[component] = amount
    return JobSummary(job, components, footprint)


def _node_amount(node: str, component: str, channels: Sequence[ChannelRow], elapsed_ns: int) -> Amount:
    amount = Amount(elapsed_ns=elapsed_ns)
    if not channels:
        amount.unknown.append(f"{node} {component}: no samples")
    for channel in channels:
        if channel.energy_uj is None:
            amount.unknown.append(f"{node} {component} {channel.domain}: {channel.reason or 'no reading yet'}")
        else:
            amount.take(channel.quality, channel.energy_uj)
        if channel.energy_uj is not None and channel.unread_ns is not None:
            amount.unknown.append(f"{node} {component} {channel.domain}: {channel.reason}")
    amount.covered_ns = _covered_ns(channels, elapsed_ns)
    return amount


def _covered_ns(channels: Sequence[ChannelRow], elapsed_ns: int) -> int:
    """Time that a component of a node is covered.

    Sources follow one another in time (measured, and modelled in a later session), so their times add; the
    channels of one source run side by side (two packages), so theirs are averaged. GPUs are averaged over.
    """
    devices: dict[str | None, dict[str, list[int]]] = {}
    for channel in channels:
        by_source = devices.setdefault(channel.gpu_uuid, {})
        by_source.setdefault(channel.source, []).append(channel.measured_ns)
    if not devices:
        return 0
    covered = [
        min(sum(sum(times) // len(times) for times in by_source.values()), elapsed_ns) for by_source in devices.values()
    ]
    return sum(covered) // len(covered)


GROUPINGS: dict[str, Callable[[JobRow], str | None]] = {
    "user": lambda job: job.user,
    "project": lambda job: job.project,
    "phase": lambda job: job.phase,
    "account": lambda job: job.account,
    "partition": lambda job: job.partition,
    "qos": lambda job: job.qos,
}
"""Ways to group whole jobs; ``tag:KEY`` is one more, ``component`` and ``day`` cut across jobs."""


def group_by(summaries: Sequence[JobSummary], by: str) -> list[Group]:
    """Groups of jobs in the order of their keys; jobs without that key come last as ``(none)``."""
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


def group_by_day(
    days: Sequence[DayRow], name_of: Callable[[int], str], footprints: Iterable[JobFootprint] = ()
) -> list[Group]:
    """One group a UTC day, from the buckets. Only known energy lies on a day, so these have no coverage."""
    groups: dict[int, Group] = {}
    seen: set[tuple[int, str, str, int]] = set()
    shared: dict[tuple[int, str, str, int], bool] = {}
    for row in days:
        group = groups.setdefault(row.day_s, Group(name_of(row.day_s)))
        group.components.setdefault(row.component, Amount()).take(row.quality, row.energy_uj)
        key = (row.day_s, *row.job)
        group.jobs += key not in seen
        seen.add(key)
        if row.shared:
            shared[key] = shared.get(key, False) or row.lacks_idle
    for (day_s, *_), lacks_idle in shared.items():
        groups[day_s].lacking_idle += lacks_idle
        groups[day_s].with_idle += not lacks_idle
    for footprint in footprints:
        for day in sorted({day for _, day in footprint.parts}):
            day_s = day * DAY_NS // 10**9
            groups.setdefault(day_s, Group(name_of(day_s))).grams.add(footprint.on(day))
    return [groups[day_s] for day_s in sorted(groups)]


def whole(summaries: Sequence[JobSummary]) -> Group:
    """All jobs as one group."""
    group = Group("total")
    for summary in summaries:
        group.add(summary)
    return group
