"""The model applied to the proxies of a session: CPU time, memory and the list of GPUs. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hpcfrugal.accounting.buckets import Interval
from hpcfrugal.accounting.idle import steady_energy_uj
from hpcfrugal.accounting.model import (
    DRAM_NW_PER_B_E4,
    DRAM_RANGE,
    EXACT,
    CpuPower,
    DesignPower,
    ModelRange,
    Tdp,
    TdpTable,
    busy_core_ns,
    cpu_energy_uj,
    cpu_power,
    cpu_range,
    design_power,
    dram_energy_uj,
    find_gpu,
    gpu_power,
    server_class,
)
from hpcfrugal.ledger.readings import allocation, falls_in, stops
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.samples import GpuInfo, SidecarSession

CPU_BIAS = "calibrated on wall power of servers: with fans and power supply, which RAPL does not read"
DRAM_BIAS = "size and number of the modules unknown"

_SEEN = 0.5
"""The GPUs' use counts where it is known for this part of their time."""


@dataclass(frozen=True, slots=True)
class ModelledSeries:
    """Energy by interval with the inputs of the model in words. No interval: unknown, and ``inputs`` is the reason."""

    source: str
    inputs: str
    intervals: tuple[Interval, ...] = ()
    range: ModelRange = EXACT


def model_cpu(session: SidecarSession, rows: Mapping[str, Tdp], facts: NodeFacts | None) -> ModelledSeries:
    """The node's idle power and, by its busy cores, what is above it; of a shared node the job's part of both.

    The job's part of the idle power is that of its CPUs. Where none are allotted to it, its CPU time decides alone.
    Unknown, not 0, where the CPU time is too short to be counted.
    """
    source = "model-tdp"
    header = session.header
    cores = header.cores_node or header.cpus_node
    if cores is None:
        return ModelledSeries(source, "the number of cores is unknown")
    # Of an exclusive node all counts, as it does where a meter reads it.
    by_node = bool(header.exclusive) and any(record.node_busy_us is not None for record in session.records)
    points = [(header.boottime_ns, 0)]
    for record in session.records:
        cpu_us = record.node_busy_us if by_node else record.job_cpu_us
        if cpu_us is not None and cpu_us >= points[-1][1]:
            points.append((record.boottime_ns, cpu_us))
    if len(points) < 2 or points[-1][0] == points[0][0]:
        return ModelledSeries(source, "the job's CPU time is unknown")
    held, part = _held(session, facts, by_node=by_node)
    if points[-1][1] == 0 and held is None:
        # Something ran, so this is a time below the resolution (a tick of 10 ms and more in procfs), not none.
        return ModelledSeries(source, "less CPU time than the system counts")
    design = _design(session, rows, facts, cores)
    kind = server_class(header.cpu_model)
    idle_uw = dict(facts.idle_power_uw).get("cpu") if facts else None
    power = cpu_power(design, kind, cores, idle_uw)
    if held is None:
        power, held = CpuPower(0, power.full_uw, cores), (1, 1)
    busy_ns = 0
    cumulative = [(points[0][0], 0)]
    for (old_ns, old_us), (new_ns, new_us) in pairwise(points):
        busy_ns += busy_core_ns(new_us - old_us, new_ns - old_ns, cores, held)
        cumulative.append((new_ns, cpu_energy_uj(power, new_ns - points[0][0], busy_ns, held)))
    # While the job is stopped the node may be busy with others.
    stopped = stops(session) if by_node else []
    intervals = _intervals(session, cumulative, stopped)
    if not intervals:
        return ModelledSeries(source, "the job may have been stopped all the time")
    load = busy_ns / (points[-1][0] - points[0][0]) / cores if by_node else None
    time = "node busy CPU time" if by_node else f"job CPU time from {header.cpu_time_source or 'an unnamed source'}"
    inputs = (
        f"design power {design.power_uw / 1e6:.4g} W ({design.source}), so {power.idle_uw / 1e6:.4g} W idle and "
        f"{power.full_uw / 1e6:.4g} W with {_cores(header.cores_node, cores)} busy; {part} by {time}; {CPU_BIAS}"
    )
    if stopped:
        inputs += "; without the time in which the job may have been stopped"
    return ModelledSeries(source, inputs, intervals, cpu_range(load, design, kind))


def _cores(known: int | None, cores: int) -> str:
    return f"{cores} cores" if known is not None else f"{cores} hardware threads (number of cores unknown)"


def _held(session: SidecarSession, facts: NodeFacts | None, *, by_node: bool) -> tuple[tuple[int, int] | None, str]:
    """The part of the node's CPUs that the job holds, as a quotient, and in words; None where none are allotted."""
    if by_node:
        return (1, 1), "the whole node"
    held = allocation(session, facts)
    if held.cpus is None or held.node_cpus is None:
        return None, "the job's CPU time without a part of the idle power"
    cpus = min(held.cpus, held.node_cpus)
    return (cpus, held.node_cpus), f"{cpus} of {held.node_cpus} CPUs"


def _design(session: SidecarSession, rows: Mapping[str, Tdp], facts: NodeFacts | None, cores: int) -> DesignPower:
    """The design power of the node's CPUs: the settings, RAPL's limit, the table, the number of cores."""
    header = session.header
    if facts is not None and facts.tdp_uw is not None:
        return DesignPower(facts.tdp_uw, "tdp_w in the settings")
    if header.cpu_limit_uw is not None:
        return DesignPower(header.cpu_limit_uw, "RAPL: limit of all packages")
    return design_power(rows, header.cpu_model, cores)


def model_dram(session: SidecarSession) -> ModelledSeries:
    """0.2 W/GB times the memory that the job holds: allocated, else all of its own node's, else used."""
    source = "model-memory"
    header = session.header
    held_b, held = header.memory_alloc_b, "allocated"
    if held_b is None and header.exclusive:
        held_b, held = header.memory_node_b, "of the node, held exclusively"
    # The model is a sum over spans, rounded once at each record, so that no rounding adds up.
    weighted, known_ns = 0, 0
    before_ns = header.boottime_ns
    intervals: list[Interval] = []
    done_uj = 0
    for record in session.records:
        memory_b = held_b if held_b is not None else record.memory_b
        span_ns = record.boottime_ns - before_ns
        if memory_b is not None and span_ns > 0:
            weighted += memory_b * span_ns
            known_ns += span_ns
            upto_uj = dram_energy_uj([(weighted, 1)])
            intervals.append(
                Interval(_wall(session, before_ns), _wall(session, record.boottime_ns), upto_uj - done_uj, span_ns)
            )
            done_uj = upto_uj
        before_ns = record.boottime_ns
    if not intervals:
        return ModelledSeries(source, "memory allocated and memory used are unknown")
    size_gb = held_b / 1e9 if held_b is not None else weighted / known_ns / 1e9
    if held_b is None:
        held = "used on average (allocation unknown)"
    inputs = f"{DRAM_NW_PER_B_E4 / 1e4:g} W/GB x {size_gb:.3f} GB {held} x time; {DRAM_BIAS}"
    return ModelledSeries(source, inputs, tuple(intervals), DRAM_RANGE)


def model_gpu(session: SidecarSession, gpu: GpuInfo, table: TdpTable) -> ModelledSeries:
    """A share of the power limit of the device, else of its design power, times the time that the job held it."""
    source = "model-tdp"
    header = session.header
    points = [header.boottime_ns, *(record.boottime_ns for record in session.records)]
    if points[-1] == points[0]:
        return ModelledSeries(source, "no time has passed between records")
    match = find_gpu(table, gpu.name)
    limit_uw = match.tdp.tdp_mw * 1000 if gpu.limit_uw is None else gpu.limit_uw
    use = _gpu_use(session)
    power_uw, ends = gpu_power(limit_uw, use, known=match.exact or gpu.limit_uw is not None)
    cumulative = [(point, steady_energy_uj(power_uw, point - points[0])) for point in points]
    which = "NVML: enforced limit" if gpu.limit_uw is not None else _which(match.tdp, match.exact, gpu.name)
    how = "its use and the workload unknown" if use is None else f"in use {use:.0%} of the time; the workload unknown"
    inputs = f"{power_uw / limit_uw:.0%} of {limit_uw / 1e6:.4g} W ({which}) x time held; {how}"
    return ModelledSeries(source, inputs, _intervals(session, cumulative), ends)


def _gpu_use(session: SidecarSession) -> float | None:
    """The part of the time that the job's GPUs were in use, by their own account; None where it is not known."""
    last = session.records[-1]
    held_us = (last.boottime_ns - session.header.boottime_ns) / 1000 * len(session.header.gpus)
    if last.use.gpu_busy_us is None or not last.use.gpu_seen_us or last.use.gpu_seen_us < _SEEN * held_us:
        return None
    return last.use.gpu_busy_us / last.use.gpu_seen_us


def part_within(series: ModelledSeries, session: SidecarSession, spans: Sequence[tuple[int, int]]) -> ModelledSeries:
    """The part of a series that lies in ``spans`` (time since boot, in order), on straight lines between records."""
    walls = [(_wall(session, start_ns), _wall(session, end_ns)) for start_ns, end_ns in spans]
    cut: list[Interval] = []
    at = 0
    for whole in series.intervals:
        while at < len(walls) and walls[at][1] <= whole.start_ns:
            at += 1
        inside = at
        while inside < len(walls) and walls[inside][0] < whole.end_ns:
            cut.append(_cut(whole, max(walls[inside][0], whole.start_ns), min(walls[inside][1], whole.end_ns)))
            inside += 1
    return replace(series, intervals=tuple(cut))


def _cut(whole: Interval, start_ns: int, end_ns: int) -> Interval:
    length_ns = whole.end_ns - whole.start_ns

    def between(amount: int) -> int:
        return amount * (end_ns - whole.start_ns) // length_ns - amount * (start_ns - whole.start_ns) // length_ns

    return Interval(start_ns, end_ns, between(whole.energy_uj), between(whole.measured_ns))


def _intervals(
    session: SidecarSession, cumulative: list[tuple[int, int]], leave_out: Sequence[tuple[int, int]] = ()
) -> tuple[Interval, ...]:
    return tuple(
        Interval(_wall(session, old_ns), _wall(session, new_ns), new_uj - old_uj, new_ns - old_ns)
        for (old_ns, old_uj), (new_ns, new_uj) in pairwise(cumulative)
        if not falls_in(old_ns, new_ns, leave_out)
    )


def _wall(session: SidecarSession, boottime_ns: int) -> int:
    return session.header.wall_ns + boottime_ns - session.header.boottime_ns


def _which(tdp: Tdp, exact: bool, name: str | None) -> str:
    if exact:
        return tdp.model
    return f"no figure for {name[:60]!r}, the one for any device" if name else "model of the device unknown"
