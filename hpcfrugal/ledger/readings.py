"""A session of samples as attribution needs it: usable readings, what the job holds, idle energy. Pure functions.

What the sidecar saw is completed by the facts that were kept of its node: Slurm's count of the node's CPUs, and what
the settings give as the node's idle power.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hpcfrugal.accounting.attribution import Attribution, kind_of
from hpcfrugal.accounting.balance import AttemptName, ChannelReading
from hpcfrugal.accounting.buckets import Interval
from hpcfrugal.accounting.idle import divide_idle, steady_energy_uj
from hpcfrugal.accounting.series import CumulativeSeries
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.sample_record import SampleRecord
from hpcfrugal.spool.samples import ChannelInfo, SidecarSession


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """What makes a channel the same over the sessions of a file."""

    component: str
    domain: str
    source: str

    def __str__(self) -> str:
        return f"{self.component}/{self.domain}/{self.source}"


def channel_keys(channels: Sequence[ChannelInfo]) -> list[ChannelKey]:
    """A key for each channel of a header; a second one of the same name gets ``#2`` behind its domain."""
    seen: dict[ChannelKey, int] = {}
    names = []
    for channel in channels:
        key = ChannelKey(channel.component, channel.domain, channel.source)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            key = ChannelKey(channel.component, f"{channel.domain}#{seen[key]}", channel.source)
        names.append(key)
    return names


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


def allocation(session: SidecarSession, facts: NodeFacts | None) -> Allocation:
    """What the job holds, by the job itself, by Slurm, and last by what the sidecar saw of the machine.

    A job that holds every CPU that Slurm counts on the node has it exclusively, where Slurm gives no CPU of it to two
    jobs. While a job is suspended its CPUs go to others, whatever the settings say. Anything less certain counts as
    shared.
    """
    header = session.header
    cpus, slurm_cpus = header.cpus_alloc, facts.slurm_cpus if facts else None
    alone = None
    holds_all = facts is not None and facts.oversubscribed is False and cpus == slurm_cpus is not None
    if holds_all and not header.exclusive and not was_stopped(session):
        alone = f"the job holds all {cpus} CPUs that Slurm counts on the node, and Slurm gives none of them to two jobs"
    return Allocation(header.exclusive if alone is None else True, alone, cpus, slurm_cpus or header.cpus_node)


def was_stopped(session: SidecarSession) -> bool:
    """Whether the sidecar wrote no record for the time of more than two, as happens while Slurm suspends the job."""
    longest_ns = _longest_ns(session)
    ends_ns = [session.header.boottime_ns, *(record.boottime_ns for record in session.records)]
    return longest_ns > 0 and any(new_ns - old_ns > longest_ns for old_ns, new_ns in pairwise(ends_ns))


def _longest_ns(session: SidecarSession) -> float:
    """The time of two records, within which a sidecar that runs has written one; 0 is not known."""
    header = session.header
    slowed = max((record.slowed or 1 for record in session.records), default=1)
    return 2 * max(header.record_s or 0, (header.interval_s or 0) * slowed) * 10**9


def stops(session: SidecarSession) -> list[tuple[int, int]]:
    """When the job may have been stopped, by the clock since boot: others may have had the node then, also all of it.

    The sidecar, which is stopped with the job, wrote no record for more than the time of two, and no CPU time shows
    that the job went on: neither more than all of its CPUs have in the time of two records, nor half of what it used on
    average while records came. Where it did, only the sidecar was late.
    """
    longest_ns = _longest_ns(session)
    if longest_ns <= 0 or not was_stopped(session):
        return []
    header = session.header
    ends: list[tuple[int, int | None]] = [(header.boottime_ns, 0)]
    ends += [(record.boottime_ns, record.job_cpu_us) for record in session.records]
    silent: list[tuple[int, int, int]] = []
    spoke_ns = spoke_us = 0
    for (old_ns, old_us), (new_ns, new_us) in pairwise(ends):
        used_us = 0 if old_us is None or new_us is None else max(0, new_us - old_us)
        if new_ns - old_ns > longest_ns:
            silent.append((old_ns, new_ns, used_us))
        elif old_us is not None and new_us is not None:
            spoke_ns, spoke_us = spoke_ns + new_ns - old_ns, spoke_us + used_us
    cpus = header.cpus_alloc or header.cpus_node

    def went_on(silent_ns: int, used_us: int) -> bool:
        if cpus is not None and used_us * 1000 > longest_ns * cpus:
            return True
        return spoke_us > 0 and 2 * used_us * spoke_ns >= spoke_us * silent_ns

    return [(old_ns, new_ns) for old_ns, new_ns, used_us in silent if not went_on(new_ns - old_ns, used_us)]


def falls_in(start_ns: int, end_ns: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether any of ``[start_ns, end_ns)`` lies in one of ``spans``, which are in the order of time and apart."""
    after = bisect_right(spans, start_ns, key=lambda span: span[1])
    return after < len(spans) and spans[after][0] < end_ns


def wall_of(session: SidecarSession, boottime_ns: int) -> int:
    """Wall time of an instant since boot, by the clocks of the session's header."""
    return session.header.wall_ns + boottime_ns - session.header.boottime_ns


def points(session: SidecarSession, index: int) -> tuple[list[SampleRecord], int]:
    """Records at which the channel was read, and how many were dropped because the counter fell.

    A reading that is older than its record stands at its own time, and once.
    """
    found: list[SampleRecord] = []
    backwards = 0
    last_uj = 0
    for position, record in enumerate(session.records):
        energy_uj = record.energy_uj[index]
        if energy_uj is None:
            continue
        if energy_uj < last_uj:
            backwards += 1
            continue
        last_uj = energy_uj
        read_ns = record.read_ns[index] if record.read_ns is not None else None
        if read_ns is None:
            found.append(record)
        elif read_ns > (found[-1].boottime_ns if found else session.header.boottime_ns):
            found.append(_earlier(session, position, read_ns))
    if found and found[0].measured_ns[index] > 0:
        # The first line after the header is lost or its reading failed: counters are 0 at the header.
        found.insert(0, _zero(session))
    return found, backwards


def _earlier(session: SidecarSession, position: int, at_ns: int) -> SampleRecord:
    """The energies of the record at ``position`` at a time before it, with CPU times on the straight line there."""
    at = position
    while at > 0 and session.records[at - 1].boottime_ns > at_ns:
        at -= 1
    old, new = session.records[at - 1] if at > 0 else _zero(session), session.records[at]
    length_ns = new.boottime_ns - old.boottime_ns

    def then(old_us: int | None, new_us: int | None) -> int | None:
        if old_us is None or new_us is None:
            return None
        return new_us if length_ns == 0 else old_us + (new_us - old_us) * (at_ns - old.boottime_ns) // length_ns

    return replace(
        session.records[position],
        boottime_ns=at_ns,
        job_cpu_us=then(old.job_cpu_us, new.job_cpu_us),
        node_busy_us=then(old.node_busy_us, new.node_busy_us),
    )


def _zero(session: SidecarSession) -> SampleRecord:
    header = session.header
    zeros = (0,) * len(header.channels)
    return SampleRecord(header.boottime_ns, header.wall_ns, zeros, zeros, zeros, 0, 0, None, None)


def intervals(session: SidecarSession, index: int, found: Sequence[SampleRecord]) -> list[Interval]:
    """What the channel read between neighbours of the records ``found``."""
    walls_ns = [wall_of(session, record.boottime_ns) for record in found]
    return [
        Interval(
            start_ns=start_ns,
            end_ns=end_ns,
            energy_uj=(new.energy_uj[index] or 0) - (old.energy_uj[index] or 0),
            # More time measured than has passed is a rounding of two clock readings.
            measured_ns=min(new.measured_ns[index] - old.measured_ns[index], end_ns - start_ns),
        )
        for (old, new), (start_ns, end_ns) in zip(pairwise(found), pairwise(walls_ns), strict=True)
    ]


def usable(found: Sequence[SampleRecord]) -> list[SampleRecord]:
    """Those of the records that have both CPU times, neither of which falls."""
    kept: list[SampleRecord] = []
    for point in found:
        if point.job_cpu_us is None or point.node_busy_us is None:
            continue
        if kept and (
            point.job_cpu_us < (kept[-1].job_cpu_us or 0) or point.node_busy_us < (kept[-1].node_busy_us or 0)
        ):
            continue
        kept.append(point)
    return kept


def idle_series(session: SidecarSession, facts: NodeFacts | None) -> list[CumulativeSeries | None]:
    """Idle energy of each channel, cumulative since the header; None where its idle power is not known.

    The figure of a component is divided among the channels of one source that are added up to it. A core or uncore
    lies inside a package, whose idle power does not divide.
    """
    header = session.header
    found: list[CumulativeSeries | None] = [None] * len(header.channels)
    power_uw = dict(facts.idle_power_uw) if facts else {}
    groups: dict[tuple[str, str], list[int]] = {}
    for index, channel in enumerate(header.channels):
        added_up = channel.counted or channel.boundary == "node"
        if channel.scope == "node" and added_up and channel.component in power_uw:
            groups.setdefault((channel.component, channel.source), []).append(index)
    for (component, _), indices in groups.items():
        energies = [_series(points(session, index)[0], index) for index in indices]
        for index, series in zip(indices, _divided(energies, power_uw[component], header.boottime_ns), strict=True):
            found[index] = series
    return found


def _series(found: Sequence[SampleRecord], index: int) -> CumulativeSeries | None:
    return CumulativeSeries.of((record.boottime_ns, record.energy_uj[index] or 0) for record in found)


def _divided(
    energies: Sequence[CumulativeSeries | None], power_uw: int, origin_ns: int
) -> list[CumulativeSeries | None]:
    """Cumulative idle energy of the channels of one component, at the instants of all of them."""
    times_ns = sorted({time_ns for series in energies if series is not None for time_ns in series.times_ns})
    upto = [0] * len(energies)
    cumulative: list[list[tuple[int, int]]] = [
        [(series.start_ns, 0)] if series is not None else [] for series in energies
    ]
    rises = [_rises_at(series, times_ns) for series in energies]
    for position, (start_ns, end_ns) in enumerate(pairwise(times_ns)):
        idle_uj = steady_energy_uj(power_uw, end_ns - origin_ns) - steady_energy_uj(power_uw, start_ns - origin_ns)
        read = [rise[position] for rise in rises]
        for channel, part_uj in enumerate(divide_idle(idle_uj, read)):
            if read[channel] is not None:
                upto[channel] += part_uj
                cumulative[channel].append((end_ns, upto[channel]))
    return [CumulativeSeries.of(one) for one in cumulative]


def _rises_at(series: CumulativeSeries | None, times_ns: Sequence[int]) -> Sequence[int | None]:
    """What a channel read between neighbours of ``times_ns``, which its own are among; None before and after it."""
    if series is None:
        return [None] * (len(times_ns) - 1)
    first, last = bisect_left(times_ns, series.start_ns), bisect_left(times_ns, series.end_ns)
    return [*[None] * first, *series.rises(times_ns[first : last + 1]), *[None] * (len(times_ns) - 1 - last)]


def readings(
    session: SidecarSession, facts: NodeFacts | None, job: AttemptName
) -> list[tuple[ChannelKey, ChannelInfo, ChannelReading]]:
    """The channels of a session that were read, each as one job's reading of the node's counter."""
    header = session.header
    held = allocation(session, facts)
    idles = idle_series(session, facts)
    stopped = stops(session) if held.exclusive else []
    found: list[tuple[ChannelKey, ChannelInfo, ChannelReading]] = []
    for index, (channel, key) in enumerate(zip(header.channels, channel_keys(header.channels), strict=True)):
        records = points(session, index)[0]
        energy = _series(records, index)
        measured = CumulativeSeries.of((record.boottime_ns, record.measured_ns[index]) for record in records)
        if energy is None or measured is None:
            continue
        both = usable(records)
        reading = ChannelReading(
            job=job,
            attribution=kind_of(channel.component, channel.scope, held.exclusive),
            energy=energy,
            measured=measured,
            job_cpu=CumulativeSeries.of((record.boottime_ns, record.job_cpu_us or 0) for record in both),
            node_busy=CumulativeSeries.of((record.boottime_ns, record.node_busy_us or 0) for record in both),
            idle=idles[index],
            # A job of which no CPUs are known gets no idle energy: it stays in the rest.
            alloc_cpus=(held.cpus or 0) if held.node_cpus else 0,
            node_cpus=held.node_cpus or 1,
        )
        found.extend((key, channel, part) for part in _parted(reading, stopped))
    return found


def _parted(reading: ChannelReading, stopped: Sequence[tuple[int, int]]) -> Iterator[ChannelReading]:
    """A reading of an exclusive node, without the times in which the job may have been suspended.

    In these its share is not known: they are read like those of a job whose CPU time is not known.
    """
    if not reading.attribution.is_whole_node or not stopped:
        yield reading
        return
    spans: list[tuple[int, int, bool]] = []
    for start_ns, end_ns in pairwise(reading.energy.times_ns):
        stops_here = falls_in(start_ns, end_ns, stopped)
        if spans and spans[-1][2] == stops_here:
            spans[-1] = (spans[-1][0], end_ns, stops_here)
        else:
            spans.append((start_ns, end_ns, stops_here))
    for start_ns, end_ns, stops_here in spans:
        part = clip(reading, start_ns, end_ns)
        if part is not None:
            yield replace(part, attribution=Attribution.CPU_SHARE, job_cpu=None, alloc_cpus=0) if stops_here else part


def clip(reading: ChannelReading, since_ns: int | None, until_ns: int | None) -> ChannelReading | None:
    """The part of a reading between two instants since boot; None where there is no time in it."""
    start_ns = reading.energy.start_ns if since_ns is None else since_ns
    end_ns = reading.energy.end_ns if until_ns is None else until_ns

    def cut(series: CumulativeSeries | None) -> CumulativeSeries | None:
        return None if series is None else series.clip(start_ns, end_ns)

    energy, measured = cut(reading.energy), cut(reading.measured)
    if energy is None or measured is None:
        return None
    return replace(
        reading,
        energy=energy,
        measured=measured,
        job_cpu=cut(reading.job_cpu),
        node_busy=cut(reading.node_busy),
        idle=cut(reading.idle),
    )
