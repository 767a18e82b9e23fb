"""From the sample file of one node to a job's energy: channels, sums and buckets. Pure functions.

Every counted component of a session is either measured, or modelled where no sensor gave a reading while time
went by, or unknown; an unknown one gets a channel of its own with the reason. Times are the header's wall
clock plus the time since boot that has passed, so a step of the wall clock moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from hpcfrugal.accounting.attribution import JobUse, NodeInterval, job_share, kind_of
from hpcfrugal.accounting.buckets import Interval
from hpcfrugal.accounting.model import Tdp, TdpTable
from hpcfrugal.accounting.series import CumulativeSeries
from hpcfrugal.ledger.channel_totals import ChannelTotals, NodeTotals
from hpcfrugal.ledger.fallbacks import fall_back, unknowns
from hpcfrugal.ledger.readings import (
    Allocation,
    allocation,
    channel_keys,
    falls_in,
    idle_series,
    intervals,
    points,
    stops,
    usable,
    wall_of,
)
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.sample_record import SampleRecord
from hpcfrugal.spool.samples import SidecarSession

SHARED_GPU = "a shared GPU: the job's part is not known"
"""Why a GPU of which the job holds a part has no energy, neither read nor modelled."""

MAYBE_STOPPED = "the job may have been suspended for a time, in which the node's energy may be other jobs'"
"""Why not all energy of an exclusive node is the job's: while Slurm suspends the job, others run on its CPUs."""

IDLE_TOO_HIGH = "the idle power in the settings is not below what was read: all of it counts as idle energy"
"""Why the CPU time of the jobs has no part in their shares. The figure may be another sensor's, or wrong."""


def derive(
    sessions: Sequence[SidecarSession],
    cpu_table: Mapping[str, Tdp],
    gpu_table: TdpTable,
    facts: NodeFacts | None = None,
) -> NodeTotals:
    """Account for the job on one node, of which ``facts`` were kept when the job was over."""
    totals: dict[str, ChannelTotals] = {}
    problems: list[str] = []
    sampled_ns = sum(_elapsed_ns(session) for session in sessions)
    for session in sessions:
        with_energy = _measured(session, facts, totals, problems)
        if _elapsed_ns(session) > 0:
            fall_back(_as_held(session, facts), with_energy, totals, (cpu_table, gpu_table), sampled_ns, facts)
    if sessions:
        unknowns(sessions[-1], totals)
    for sums in totals.values():
        if sums.counted and sums.energy_uj is None and _replaced(sums, totals):
            sums.counted = False
    return NodeTotals(tuple(totals[name] for name in sorted(totals)), tuple(problems))


def derive_meter(sessions: Sequence[SidecarSession], facts: NodeFacts | None = None) -> NodeTotals:
    """Account for the job on one node by a meter of the whole node: only what was read, nothing is modelled."""
    totals: dict[str, ChannelTotals] = {}
    problems: list[str] = []
    for session in sessions:
        _measured(session, facts, totals, problems)
    return NodeTotals(tuple(totals[name] for name in sorted(totals)), tuple(problems))


def _as_held(session: SidecarSession, facts: NodeFacts | None) -> SidecarSession:
    """The session with what is known of the node beside what its sidecar knew: the model takes whole nodes whole."""
    header = replace(session.header, exclusive=allocation(session, facts).exclusive)
    return SidecarSession(header, session.records, session.end_reason)


def _elapsed_ns(session: SidecarSession) -> int:
    return session.records[-1].boottime_ns - session.header.boottime_ns if session.records else 0


def _replaced(sums: ChannelTotals, totals: dict[str, ChannelTotals]) -> bool:
    """Whether a model stands in for this channel, which then must not count as a gap."""
    if sums.reason == SHARED_GPU or sums.is_part:
        return False
    return any(
        other.attribution.is_modelled
        and other.key.component == sums.key.component
        and (sums.key.component != "gpu" or other.gpu_uuid == sums.gpu_uuid)
        for other in totals.values()
    )


def _measured(
    session: SidecarSession, facts: NodeFacts | None, totals: dict[str, ChannelTotals], problems: list[str]
) -> set[int]:
    """Add the session's own channels to ``totals``; returns which of them gave the job energy."""
    header = session.header
    held = allocation(session, facts)
    # Shares of an exclusive node do not depend on its idle power.
    idles = idle_series(session, facts) if not held.exclusive else []
    stopped = stops(session) if held.exclusive else []
    with_energy: set[int] = set()
    for index, (channel, key) in enumerate(zip(header.channels, channel_keys(header.channels), strict=True)):
        attribution = kind_of(channel.component, channel.scope, held.exclusive)
        sums = totals.setdefault(
            str(key),
            ChannelTotals(
                key=key,
                quality=channel.quality,
                boundary=channel.boundary,
                scope=channel.scope,
                counted=channel.counted,
                attribution=attribution,
                detail=channel.detail,
                gpu_uuid=channel.gpu_uuid,
            ),
        )
        found, backwards = points(session, index)
        if backwards:
            problems.append(f"{key}: {backwards} readings run backwards")
        if session.records:
            sums.errors += session.records[-1].errors[index]
        _note_extremes(session, index, sums)
        if not found:
            sums.reason = sums.reason or "no reading succeeded"
            continue
        sums.note_readings(
            *((at_ns, wall_of(session, at_ns)) for at_ns in (found[0].boottime_ns, found[-1].boottime_ns))
        )
        whole = intervals(session, index, found)
        sums.node.extend(whole)
        if _elapsed_ns(session) > 0 and not any(interval.measured_ns for interval in whole):
            errors = session.records[-1].errors[index]
            sums.reason = sums.reason or (f"read error {errors} times" if errors else "its counter stands still")
        shares: list[Interval] | None = whole
        if attribution.is_unknown:
            sums.reason = SHARED_GPU
            continue
        if attribution.is_whole_node:
            sums.inputs = held.alone
            inside = [falls_in(old.boottime_ns, new.boottime_ns, stopped) for old, new in pairwise(found)]
            if any(inside):
                sums.reason = MAYBE_STOPPED
                shares = [interval for interval, stops_here in zip(whole, inside, strict=True) if not stops_here]
        if attribution.is_share:
            shares = _take_share(session, index, found, sums, held, (idles[index], facts))
        if shares is None:
            sums.reason = "the job's or the node's CPU time is unknown, so is the job's share of the node"
            continue
        sums.job.extend(shares)
        if any(interval.measured_ns for interval in shares):
            with_energy.add(index)
    return with_energy


def _take_share(
    session: SidecarSession,
    index: int,
    found: Sequence[SampleRecord],
    sums: ChannelTotals,
    held: Allocation,
    idling: tuple[CumulativeSeries | None, NodeFacts | None],
) -> list[Interval] | None:
    """The job's share of a channel of a node that it shares; None where its CPU time or the node's is unknown."""
    idle, facts = idling
    idle_power = _idle_power(sums.key.component, facts) if idle is not None else None
    lies_within = not sums.counted and sums.boundary == "components"
    sums.inputs = _inputs(idle_power, held, lies_within=lies_within)
    if held.cpus is not None and held.node_cpus is not None:
        sums.idle_power = idle_power
    shares = _shared(session, index, found, held, idle)
    if shares is None:
        return None
    if sums.idle_power is not None:
        sums.idle_uj = (sums.idle_uj or 0) + sum(idle_uj for _, idle_uj in shares)
    if idle is not None and len(found) > 1 and _is_all_idle(session, index, found, idle):
        sums.reason = IDLE_TOO_HIGH
    return [part for part, _ in shares]


def _is_all_idle(session: SidecarSession, index: int, found: Sequence[SampleRecord], idle: CumulativeSeries) -> bool:
    """Whether the settings say that the node draws as much at rest as was read of it, or more."""
    read_uj = intervals(session, index, (found[0], found[-1]))[0].energy_uj
    return 0 < read_uj <= idle.between(found[0].boottime_ns, found[-1].boottime_ns)


def _note_extremes(session: SidecarSession, index: int, sums: ChannelTotals) -> None:
    """Peak power, and how often the counter fell or was not read in time; None where the sidecar does not tell."""
    peaks = [record.max_w[index] for record in session.records if record.max_w is not None]
    sums.max_w = max((peak for peak in (sums.max_w, *peaks) if peak is not None), default=None)
    for record in reversed(session.records):
        if record.resets is not None:
            sums.resets = (sums.resets or 0) + record.resets[index]
            break
    for record in reversed(session.records):
        if record.gaps is not None:
            sums.gaps = (sums.gaps or 0) + record.gaps[index]
            break


def _shared(
    session: SidecarSession, index: int, points: Sequence[SampleRecord], held: Allocation, idle: CumulativeSeries | None
) -> list[tuple[Interval, int]] | None:
    """The job's part of each interval between readings that have both CPU times, and how much of it is idle energy.

    None where no interval has both.
    """
    both = usable(points)
    if len(both) < 2 and len(points) >= 2:
        return None
    # Of a job whose CPUs are not known no part of the idle energy is known either: it gets none.
    alloc_cpus = (held.cpus or 0) if held.node_cpus else 0
    shares: list[tuple[Interval, int]] = []
    idles_uj = [None] * len(both) if idle is None else idle.rises([record.boottime_ns for record in both])
    for (old, new), whole, idle_uj in zip(pairwise(both), intervals(session, index, both), idles_uj, strict=False):
        share = job_share(
            NodeInterval(
                whole.energy_uj,
                (new.node_busy_us or 0) - (old.node_busy_us or 0),
                held.node_cpus or 1,
                idle_uj,
            ),
            JobUse((new.job_cpu_us or 0) - (old.job_cpu_us or 0), alloc_cpus),
        )
        if share is not None:
            part = Interval(whole.start_ns, whole.end_ns, share.energy_uj, whole.measured_ns)
            shares.append((part, share.idle_uj))
    return shares


def _idle_power(component: str, facts: NodeFacts | None) -> str | None:
    """The idle power of a component of the node and where the figure is from; None where it is not known."""
    power_uw = dict(facts.idle_power_uw).get(component) if facts else None
    if facts is None or power_uw is None:
        return None
    return f"{power_uw / 1e6:g} W ({facts.idle_power_source or 'no source named'})"


def _inputs(idle_power: str | None, held: Allocation, *, lies_within: bool) -> str:
    """The inputs of a share by CPU time, in words. A core lies within a package, which has the idle power."""
    dynamic = "job CPU time / node busy CPU time"
    if idle_power is None and lies_within:
        return f"{dynamic}; idle power of a part of a package is not known, counted as 0"
    if idle_power is None:
        return f"{dynamic}; idle power of the node unknown, counted as 0"
    if held.cpus is None or held.node_cpus is None:
        return f"{dynamic} of what is above the idle power of {idle_power}; no idle energy: the job's CPUs are unknown"
    above = f"{dynamic} of what is above the idle power of {idle_power}"
    return f"{above}; {held.cpus} of {held.node_cpus} CPUs' part of the idle energy"
