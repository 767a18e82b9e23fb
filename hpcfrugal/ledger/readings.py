"""What the sidecar read in one session, as attribution needs it. Pure functions of the session and its node's facts.

What the sidecar saw is completed by the facts that were kept of its node: Slurm's count of the node's CPUs, and what
the settings give as the node's idle power. Times are in ns since boot; those of the wall clock are the header's plus
the time that has passed since boot, so a step of the wall clock moves nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, chain, pairwise

from hpcfrugal.accounting.attribution import Attribution, attribution_of
from hpcfrugal.accounting.buckets import EnergyCurve, Instants
from hpcfrugal.accounting.series import CumulativeSeries, differences, rises
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.stops import Span, stops, was_stopped
from hpcfrugal.sidecar.energy_split import divide_idle, idle_groups, steady_energies_uj
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.sample_header import ChannelInfo, Header
from hpcfrugal.spool.sidecar_session import SidecarSession

_NO_FACTS = NodeFacts("")


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """What makes a channel the same over the sessions of a file."""

    component: str
    domain: str
    source: str

    def __str__(self) -> str:
        return f"{self.component}/{self.domain}/{self.source}"


def idle_power_text(power_uw: int, source: str) -> str:
    """An idle power in words."""
    return f"{power_uw / 1e6:g} W ({source})"


def channel_keys(channels: Sequence[ChannelInfo]) -> list[ChannelKey]:
    """A key for each channel of a header."""
    return [ChannelKey(channel.component, channel.domain, channel.source) for channel in channels]


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a job holds of a node.

    ``alone``: why the node counts as exclusive where the job file does not ask for that. ``cpus`` is None
    where it is not known how many of ``node_cpus`` are the job's (on a machine without Slurm no CPUs are allotted).
    """

    exclusive: bool | None
    alone: str | None
    cpus: int | None
    node_cpus: int | None

    @property
    def idle_cpus(self) -> tuple[int, int]:
        """The job's CPUs, of so many, by which it gets a part of the idle energy: none where they are not known."""
        return ((self.cpus or 0) if self.node_cpus else 0), self.node_cpus or 1


class CpuTimes:
    """CPU times of the job and of its node at some readings, cumulative since the header; None where not known."""

    def __init__(self, job_us: Sequence[int | None], node_busy_us: Sequence[int | None]) -> None:
        self.job_us, self.node_busy_us = job_us, node_busy_us

    @cached_property
    def steps(self) -> tuple[list[int], list[int]] | None:
        """How much both rise from each reading to the next; None where one is not known at a reading, or falls."""
        job_us, busy_us = rises(self.job_us), rises(self.node_busy_us)
        return None if job_us is None or busy_us is None else (job_us, busy_us)

    def at(self, kept: Sequence[int]) -> CpuTimes:
        """Those at the positions ``kept``."""
        return CpuTimes([self.job_us[at] for at in kept], [self.node_busy_us[at] for at in kept])


@dataclass(slots=True)
class Readings:
    """The readings of one channel as columns: at ``times_ns``, cumulative since the header; a reading that is older
    than its record stands at its own time, and once.

    ``backwards`` is how many were dropped because the counter fell, ``instants`` are the times on the wall clock,
    ``rises_uj`` is the energy from each reading to the next.
    """

    instants: Instants
    times_ns: Sequence[int]
    energy_uj: Sequence[int]
    rises_uj: list[int]
    measured_ns: Sequence[int]
    cpu: CpuTimes
    backwards: int = 0

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def curve(self) -> EnergyCurve:
        """Energy and measured time."""
        return EnergyCurve(self.instants, self.energy_uj, self.instants.at_most(self.measured_ns))

    def at(self, kept: Sequence[int]) -> Readings:
        """Those at the positions ``kept``."""
        walls_ns = self.instants.times_ns
        times_ns, energy_uj, measured_ns = (
            [column[at] for at in kept] for column in (self.times_ns, self.energy_uj, self.measured_ns)
        )
        instants = Instants([walls_ns[at] for at in kept])
        return Readings(instants, times_ns, energy_uj, differences(energy_uj), measured_ns, self.cpu.at(kept))

    @property
    def usable(self) -> Readings:
        """Those that have both CPU times, neither of which falls."""
        if self.cpu.steps is not None:
            return self
        kept: list[int] = []
        last = (0, 0)
        for at, (job_us, busy_us) in enumerate(zip(self.cpu.job_us, self.cpu.node_busy_us, strict=True)):
            if job_us is not None and busy_us is not None and job_us >= last[0] and busy_us >= last[1]:
                kept.append(at)
                last = job_us, busy_us
        return self.at(kept)


class IdleEnergy:
    """Idle energy of a channel between instants since boot."""

    def __init__(self, times_ns: Sequence[int], energy_uj: Sequence[int]) -> None:
        self._times_ns, self._energy_uj = times_ns, energy_uj

    @property
    def series(self) -> CumulativeSeries:
        """The same as a counter."""
        return CumulativeSeries(tuple(self._times_ns), tuple(accumulate(self._energy_uj, initial=0)))

    @property
    def rise_uj(self) -> int:
        """All of it."""
        return sum(self._energy_uj)

    def rises_uj(self, times_ns: Sequence[int]) -> Sequence[int]:
        """The idle energy between each of ``times_ns``, which are sorted, and the next.

        Raises ``ValueError`` where it is not known at all of them.
        """
        return self._energy_uj if times_ns is self._times_ns else self.series.rises(times_ns)


class SessionReadings:
    """One session of the sidecar with the facts of its node; what is derived from both is derived once.

    ``busy_before_ns``: the busy time of the CPU's model up to the first record, of a session that is read on.
    """

    def __init__(self, session: SidecarSession, facts: NodeFacts | None = None, busy_before_ns: int = 0) -> None:
        self.session = session
        self.header: Header = session.header
        self.channels: Sequence[ChannelInfo] = session.header.channels
        self.busy_before_ns = busy_before_ns
        self.facts = facts or _NO_FACTS
        self.keys = channel_keys(self.channels)
        self.record_times_ns = tuple(session.boottime_ns)
        """When the records were written, since boot."""
        self.cpu_from_records = CpuTimes(session.job_cpu_us, session.node_busy_us)
        """The CPU times of the records."""
        self._idle_power_uw = dict(self.facts.idle_power_uw)
        self._readings: dict[int, Readings] = {}

    @cached_property
    def held(self) -> Allocation:
        """What the job holds, by the job itself, by Slurm, and last by what the sidecar saw of the machine.

        A job that holds every CPU that Slurm counts on the node has it exclusively, where Slurm gives no CPU of it to
        two jobs. While a job is suspended its CPUs go to others, whatever the settings say. Anything less certain
        counts as shared.
        """
        header = self.header
        cpus, slurm_cpus = header.cpus_alloc, self.facts.slurm_cpus
        alone = None
        holds_all = self.facts.oversubscribed is False and cpus == slurm_cpus is not None
        if holds_all and not header.exclusive and not was_stopped(self.session):
            alone = (
                f"the job holds all {cpus} CPUs that Slurm counts on the node, and Slurm gives none of them to two jobs"
            )
        return Allocation(header.exclusive if alone is None else True, alone, cpus, slurm_cpus or header.cpus_node)

    @cached_property
    def stops(self) -> list[Span]:
        """When the job may have been stopped."""
        return stops(self.session)

    def attribution(self, index: int) -> Attribution:
        """How a channel is attributed to the job."""
        channel = self.channels[index]
        return attribution_of(channel.component, channel.scope, self.held.exclusive)

    def idle_power_uw(self, component: str) -> int | None:
        """The settings' idle power of a component of the node."""
        return self._idle_power_uw.get(component)

    def readings(self, index: int) -> Readings:
        """The readings of a channel."""
        found = self._readings.get(index)
        if found is None:
            found = self._readings[index] = self._read(index)
        return found

    @property
    def _offset_ns(self) -> int:
        return self.header.wall_ns - self.header.boottime_ns

    @cached_property
    def from_records(self) -> Instants:
        """The times of the records."""
        offset_ns = self._offset_ns
        return Instants([at_ns + offset_ns for at_ns in self.session.boottime_ns])

    @cached_property
    def from_header(self) -> Instants:
        """The times of the header and of the records."""
        return Instants([self.header.wall_ns, *self.from_records.times_ns])

    @cached_property
    def cpu_from_header(self) -> CpuTimes:
        """The CPU times of the header and of the records."""
        return CpuTimes([0, *self.session.job_cpu_us], [0, *self.session.node_busy_us])

    def _read(self, index: int) -> Readings:
        session = self.session
        energies_uj: Sequence[int | None] = session.energy_uj[index]
        measured_ns = session.measured_ns[index]
        if self.channels[index].step_s is not None:
            energies_uj = _corrected(energies_uj)
        if measured_ns == session.measured_ns[0]:
            measured_ns = session.measured_ns[0]  # what is derived from it is derived once
        late_ns = session.read_ns[index] if session.read_ns else ()
        rises_uj = rises(energies_uj) if late_ns.count(None) == len(late_ns) else None
        if rises_uj is None:
            found = self._read_one_by_one(index, energies_uj)
        else:
            found = Readings(
                self.from_records,
                self.record_times_ns,
                energies_uj,  # type: ignore[arg-type]
                rises_uj,
                measured_ns,
                self.cpu_from_records,
            )
        if found.measured_ns and found.measured_ns[0] > 0 and not session.read_before:
            # The first line after the header is lost or its reading failed: counters are 0 at the header.
            plain = found.instants is self.from_records
            found = Readings(
                self.from_header if plain else Instants([self.header.wall_ns, *found.instants.times_ns]),
                [self.header.boottime_ns, *found.times_ns],
                [0, *found.energy_uj],
                [found.energy_uj[0], *found.rises_uj],
                [0, *found.measured_ns],
                self.cpu_from_header
                if found.cpu is self.cpu_from_records
                else CpuTimes([0, *found.cpu.job_us], [0, *found.cpu.node_busy_us]),
                found.backwards,
            )
        return found

    def _read_one_by_one(self, index: int, energies_uj: Sequence[int | None]) -> Readings:
        session = self.session
        late_ns = session.read_ns[index] if session.read_ns else [None] * len(session)
        columns: list[list[int | None]] = [[], [], [], [], []]
        backwards = last_uj = 0
        for at, (time_ns, energy_uj, read_ns) in enumerate(zip(session.boottime_ns, energies_uj, late_ns, strict=True)):
            if energy_uj is None:
                continue
            if energy_uj < last_uj:
                backwards += 1
                continue
            last_uj = energy_uj
            cpu_us = (session.job_cpu_us[at], session.node_busy_us[at])
            if read_ns is not None:
                if read_ns <= (columns[0][-1] if columns[0] else self.header.boottime_ns):  # type: ignore[operator]
                    continue
                cpu_us = self._cpu_us_at(at, read_ns)
                time_ns = read_ns
            for column, value in zip(
                columns, (time_ns, energy_uj, session.measured_ns[index][at], *cpu_us), strict=True
            ):
                column.append(value)
        walls_ns = [at_ns + self._offset_ns for at_ns in columns[0] if at_ns is not None]
        times_ns, read_uj, measured_ns, job_us, busy_us = columns
        found_uj = differences(read_uj)  # type: ignore[arg-type]
        cpu = CpuTimes(job_us, busy_us)
        return Readings(Instants(walls_ns), times_ns, read_uj, found_uj, measured_ns, cpu, backwards)  # type: ignore[arg-type]

    def _cpu_us_at(self, at: int, time_ns: int) -> tuple[int | None, int | None]:
        """CPU times of the job and the node before the record ``at``, on the straight line between records."""
        session = self.session
        at = bisect_right(session.boottime_ns, time_ns, 0, at)
        start_ns = session.boottime_ns[at - 1] if at > 0 else self.header.boottime_ns
        length_ns = session.boottime_ns[at] - start_ns

        def then(column: Sequence[int | None]) -> int | None:
            old_us, new_us = column[at - 1] if at > 0 else 0, column[at]
            if old_us is None or new_us is None:
                return None
            return new_us if length_ns == 0 else old_us + (new_us - old_us) * (time_ns - start_ns) // length_ns

        return then(session.job_cpu_us), then(session.node_busy_us)

    @cached_property
    def idles(self) -> list[IdleEnergy | None]:
        """Idle energy of each channel from its first reading on; None where its idle power is not known.

        The figure of a component is divided among the channels of ``idle_groups``.
        """
        found: list[IdleEnergy | None] = [None] * len(self.channels)
        for component, indices in idle_groups(enumerate(self.channels)):
            power_uw = self.idle_power_uw(component)
            if power_uw is None:
                continue
            for index, idle in zip(indices, self._divided(indices, power_uw), strict=True):
                found[index] = idle
        return found

    def energy_series(self, index: int) -> CumulativeSeries | None:
        """The energy of a channel that was read; None of one that was not."""
        found = self.readings(index)
        return CumulativeSeries.of(found.times_ns, found.energy_uj)

    def _divided(self, indices: Sequence[int], power_uw: int) -> list[IdleEnergy | None]:
        """Idle energy of the channels of a component, between records and where one begins or ends to be read.

        Readings between records are of one channel alone: to cut there would take its times of each of the others.
        """
        origin_ns = self.header.boottime_ns

        def divided(times_ns: Sequence[int], read_uj: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
            idle_uj = differences(steady_energies_uj(power_uw, [at_ns - origin_ns for at_ns in times_ns]))
            return divide_idle(idle_uj, read_uj, len(indices))

        found = [self.readings(index) for index in indices]
        times_ns = found[0].times_ns
        if all(one.times_ns is times_ns for one in found) and min(found[0].instants.lengths_ns, default=1) > 0:
            # Nearly always: all are read at each record.
            parts_uj = divided(times_ns, [one.rises_uj for one in found])
            return [IdleEnergy(times_ns, part_uj) for part_uj in parts_uj]
        energies = [self.energy_series(index) for index in indices]
        known = [series for series in energies if series is not None]
        ends_ns = sorted({end_ns for series in known for end_ns in (series.start_ns, series.end_ns)})
        read_ns = {series.times_ns for series in known}
        times_ns = next(iter(read_ns), ())
        if len(read_ns) > 1 or self.session.read_ns:
            at_records = {*chain.from_iterable(read_ns)}.intersection(self.session.boottime_ns)
            times_ns = sorted({*ends_ns, *at_records})
        parts: dict[int, list[int]] = {id(series): [] for series in known}
        for start_ns, end_ns in pairwise(ends_ns):
            stretch = times_ns[bisect_left(times_ns, start_ns) : bisect_left(times_ns, end_ns) + 1]
            read = [series for series in known if series.covers(start_ns, end_ns)]
            for series, part in zip(read, divided(stretch, [one.rises(stretch) for one in read]), strict=True):
                parts[id(series)] += part

        def idle(series: CumulativeSeries) -> IdleEnergy:
            own_ns = times_ns[bisect_left(times_ns, series.start_ns) : bisect_left(times_ns, series.end_ns) + 1]
            return IdleEnergy(own_ns, parts[id(series)])

        return [None if series is None else idle(series) for series in energies]


def _corrected(energies_uj: Sequence[int | None]) -> list[int | None]:
    """The counter of a source that is not read at each sample: it was no further than it was found to be later."""
    found: list[int | None] = []
    least_uj: int | None = None
    for energy_uj in reversed(energies_uj):
        if energy_uj is not None and (least_uj is None or energy_uj < least_uj):
            least_uj = energy_uj
        found.append(None if energy_uj is None else least_uj)
    return found[::-1]
