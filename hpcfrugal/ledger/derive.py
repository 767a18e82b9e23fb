"""From the sample file of one node to a job's energy: channels, sums and buckets. Pure functions.

Every counted component of a session is either measured, or modelled where no sensor gave a reading while time
went by, or unknown; an unknown one gets a channel of its own with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

from hpcfrugal.accounting.attribution import Attribution, JobUse, NodeIntervals, split_node
from hpcfrugal.accounting.buckets import EnergyCurve
from hpcfrugal.accounting.model import Tdp, TdpTable
from hpcfrugal.ledger.channel_totals import ChannelTotals, NodeTotals, SumsBefore, TotalsByName
from hpcfrugal.ledger.fallbacks import Fallbacks
from hpcfrugal.ledger.readings import Readings, SessionReadings, idle_power_text
from hpcfrugal.ledger.stops import outside
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.sidecar_session import SidecarSession

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
    before: SumsBefore | None = None,
) -> NodeTotals:
    """Account for the job on one node, of which ``facts`` were kept when the job was over.

    ``before``: the sums up to the first record of the session, where it is read on.
    """
    totals = TotalsByName(before.channels if before else None)
    problems: list[str] = []
    sampled_ns = sum(session.elapsed_ns for session in sessions)
    read: SessionReadings | None = None
    busy_ns = 0
    for session in sessions:
        read = SessionReadings(session, facts, before.busy_ns if before else 0)
        with_energy = _measured(read, totals, problems)
        if session.elapsed_ns > 0:
            busy_ns = Fallbacks(read, totals, sampled_ns).add(with_energy, cpu_table, gpu_table)
    if read is not None:
        Fallbacks(read, totals).add_unknown()
    _uncount_replaced(totals)
    for sums in totals.values():
        _note_edges(sums)
    return NodeTotals(tuple(totals[name] for name in sorted(totals)), tuple(problems), busy_ns)


def _note_edges(sums: ChannelTotals) -> None:
    """Give a range to energy whose source is not read at each sample, such as the counters of the node agent.

    The first and the last reading of the job are continued from one that is older. What was used in that time may be
    nothing or twice as much as at the mean power.
    """
    if sums.assumed_ns and sums.energy_uj is not None:
        edges_uj = sums.energy_uj * sums.assumed_ns // sums.measured_ns
        sums.low_uj, sums.high_uj = max(0, sums.energy_uj - edges_uj), sums.energy_uj + edges_uj


def derive_meter(sessions: Sequence[SidecarSession], facts: NodeFacts | None = None) -> NodeTotals:
    """Account for the job on one node by a meter of the whole node: only what was read, nothing is modelled."""
    totals = TotalsByName()
    problems: list[str] = []
    for session in sessions:
        _measured(SessionReadings(session, facts), totals, problems)
    return NodeTotals(tuple(totals[name] for name in sorted(totals)), tuple(problems))


def _uncount_replaced(totals: dict[str, ChannelTotals]) -> None:
    """Channels without energy for which a model stands in must not count as gaps."""

    def place(sums: ChannelTotals) -> tuple[str, str | None]:
        return sums.key.component, sums.gpu_uuid if sums.key.component == "gpu" else None

    modelled = {place(sums) for sums in totals.values() if sums.attribution.is_modelled}
    for sums in totals.values():
        if sums.energy_uj is None and place(sums) in modelled and sums.reason != SHARED_GPU and not sums.is_part:
            sums.counted = False


def _measured(read: SessionReadings, totals: TotalsByName, problems: list[str]) -> set[int]:
    """Add the session's own channels to ``totals``; returns which of them gave the job energy."""
    session = read.session
    with_energy: set[int] = set()
    for index, (channel, key) in enumerate(zip(read.channels, read.keys, strict=True)):
        attribution = read.attribution(index)
        sums = totals.of(
            key,
            quality=channel.quality,
            boundary=channel.boundary,
            scope=channel.scope,
            counted=channel.counted,
            attribution=attribution,
            detail=channel.detail,
            gpu_uuid=channel.gpu_uuid,
        )
        found = read.readings(index)
        if found.backwards:
            problems.append(f"{key}: {found.backwards} readings run backwards")
        _note_extremes(session, index, sums)
        if not found.times_ns:
            sums.reason = sums.reason or "no reading succeeded"
            continue
        first, last = ((found.times_ns[at], found.instants.times_ns[at]) for at in (0, -1))
        sums.note_readings(first, last)
        curve = found.curve
        sums.note_curve(curve)
        is_read_on = session.read_before > 0  # only where every channel gave energy before
        if not (is_read_on or curve.is_measured) and session.elapsed_ns > 0:
            errors = session.errors[index]
            sums.reason = sums.reason or (f"read error {errors} times" if errors else "its counter stands still")
        parts = _job_parts(read, index, attribution, sums, found, curve)
        for part in parts:
            sums.job.add(part)
        if is_read_on or any(part.is_measured for part in parts):
            with_energy.add(index)
    return with_energy


def _note_extremes(session: SidecarSession, index: int, sums: ChannelTotals) -> None:
    """Peak power, and how often reads failed, the counter fell or was not read in time; None where it is not known."""
    if session.errors:
        sums.errors += session.errors[index]
    peak_w = session.peak_w[index]
    sums.max_w = peak_w if sums.max_w is None or (peak_w is not None and peak_w > sums.max_w) else sums.max_w
    if session.resets is not None:
        sums.resets = (sums.resets or 0) + session.resets[index]
    if session.gaps is not None:
        sums.gaps = (sums.gaps or 0) + session.gaps[index]
    if session.assumed_ns is not None:
        sums.assumed_ns += session.assumed_ns[index]


def _job_parts(
    read: SessionReadings,
    index: int,
    attribution: Attribution,
    sums: ChannelTotals,
    found: Readings,
    curve: EnergyCurve,
) -> list[EnergyCurve]:
    """The job's part of a channel of which ``curve`` was read; empty where it is not known."""
    if attribution.is_unknown:
        sums.reason = SHARED_GPU
        return []
    if attribution.is_whole_node:
        sums.inputs = read.held.alone
        parts = [curve.part(part) for part in outside(found.times_ns, read.stops)]
        if sum(len(part.energy_uj) - 1 for part in parts) < len(found) - 1:
            sums.reason = MAYBE_STOPPED
        return parts
    if attribution.is_share:
        share = _share(read, index, sums, found, curve)
        if share is None:
            sums.reason = "the job's or the node's CPU time is unknown, so is the job's share of the node"
        return [] if share is None else [share]
    if attribution.is_whole:
        return [curve]
    raise ValueError(f"{attribution} has no rule")  # a new kind must not get all of the energy by default


def _share(
    read: SessionReadings, index: int, sums: ChannelTotals, found: Readings, curve: EnergyCurve
) -> EnergyCurve | None:
    """The job's share of a channel of a node that it shares, between readings that have both CPU times.

    None where no two have.
    """
    idle, held = read.idles[index], read.held
    idle_power = _idle_power(read, sums.key.component) if idle is not None else None
    lies_within = not sums.counted and sums.boundary == "components"
    sums.inputs = _inputs(idle_power, held.cpus, held.node_cpus, lies_within=lies_within)
    if held.cpus is not None and held.node_cpus is not None:
        sums.idle_power = idle_power
    both = found.usable
    if both.cpu.steps is None or len(both) < 2 <= len(found):
        return None
    alloc_cpus, node_cpus = held.idle_cpus
    intervals = len(both.rises_uj)
    job_us, busy_us = both.cpu.steps
    node = NodeIntervals(
        both.rises_uj,
        busy_us,
        [node_cpus] * intervals,
        None if idle is None else idle.rises_uj(both.times_ns),
    )
    use = JobUse(job_us, [alloc_cpus] * intervals if alloc_cpus else ())
    (share,) = split_node(node, [use]).shares
    if share is None:
        return None
    if sums.idle_power is not None:
        sums.idle_uj = (sums.idle_uj or 0) + sum(share.idle_uj)
    if idle is not None and 0 < curve.rise_uj <= idle.rise_uj:
        sums.reason = IDLE_TOO_HIGH  # the settings say that the node draws as much at rest as was read of it, or more
    measured_ns = curve.measured_ns if both is found else both.curve.measured_ns
    return EnergyCurve(both.instants, list(accumulate(share.energy_uj, initial=0)), measured_ns)


def _idle_power(read: SessionReadings, component: str) -> str | None:
    """The idle power of a component of the node and where the figure is from; None where it is not known."""
    power_uw = read.idle_power_uw(component)
    if power_uw is None:
        return None
    return idle_power_text(power_uw, read.facts.idle_power_source or "no source named")


@lru_cache(maxsize=256)
def _inputs(idle_power: str | None, cpus: int | None, node_cpus: int | None, *, lies_within: bool) -> str:
    """The inputs of a share by CPU time, in words. A core lies within a package, which has the idle power."""
    dynamic = "job CPU time / node busy CPU time"
    if idle_power is None and lies_within:
        return f"{dynamic}; idle power of a part of a package is not known, counted as 0"
    if idle_power is None:
        return f"{dynamic}; idle power of the node unknown, counted as 0"
    if cpus is None or node_cpus is None:
        return f"{dynamic} of what is above the idle power of {idle_power}; no idle energy: the job's CPUs are unknown"
    above = f"{dynamic} of what is above the idle power of {idle_power}"
    return f"{above}; {cpus} of {node_cpus} CPUs' part of the idle energy"
