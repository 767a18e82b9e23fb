"""The model applied to the proxies of a session: CPU time, memory and the list of GPUs. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hpcfrugal.accounting.buckets import Interval
from hpcfrugal.accounting.model import Tdp, TdpTable, cpu_energy_uj, dram_energy_uj, find_cpu, find_gpu, gpu_energy_uj
from hpcfrugal.ledger.readings import falls_in, stops
from hpcfrugal.spool.samples import GpuInfo, SidecarSession


@dataclass(frozen=True, slots=True)
class ModelledSeries:
    """Energy by interval with the inputs of the model in words. No interval: unknown, and ``inputs`` is the reason."""

    source: str
    inputs: str
    intervals: tuple[Interval, ...] = ()


def model_cpu(session: SidecarSession, table: TdpTable) -> ModelledSeries:
    """TDP per core times the job's CPU time on the node; the node's busy time where it is exclusive.

    Unknown, not 0, where the CPU time is too short to be counted.
    """
    source = "model-tdp"
    header = session.header
    # Of an exclusive node all counts, as it does where a meter reads it.
    by_node = bool(header.exclusive) and any(record.node_busy_us is not None for record in session.records)
    points = [(header.boottime_ns, 0)]
    for record in session.records:
        cpu_us = record.node_busy_us if by_node else record.job_cpu_us
        if cpu_us is not None and cpu_us >= points[-1][1]:
            points.append((record.boottime_ns, cpu_us))
    if len(points) < 2 or points[-1][0] == points[0][0]:
        return ModelledSeries(source, "the job's CPU time is unknown")
    if points[-1][1] == 0:
        # Something ran, so this is a time below the resolution (a tick of 10 ms and more in procfs), not none.
        return ModelledSeries(source, "less CPU time than the system counts")
    match = find_cpu(table, header.cpu_model)
    cumulative = [(boottime_ns, cpu_energy_uj(match.tdp, cpu_us)) for boottime_ns, cpu_us in points]
    which = _which(match.tdp, match.exact, header.cpu_model)
    time = "node busy CPU time" if by_node else f"job CPU time from {header.cpu_time_source or 'an unnamed source'}"
    inputs = f"{_power(match.tdp)} per core ({which}) x {time}"
    # While the job is stopped the node may be busy with others.
    stopped = stops(session) if by_node else []
    intervals = _intervals(session, cumulative, stopped)
    if not intervals:
        return ModelledSeries(source, "the job may have been stopped all the time")
    if stopped:
        inputs += ", without the time in which the job may have been stopped"
    return ModelledSeries(source, inputs, intervals)


def model_dram(session: SidecarSession) -> ModelledSeries:
    """0.3725 W/GB times the memory that the job holds: allocated, else all of its own node's, else used."""
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
    return ModelledSeries(source, f"0.3725 W/GB x {size_gb:.3f} GB {held} x time", tuple(intervals))


def model_gpu(session: SidecarSession, gpu: GpuInfo, table: TdpTable) -> ModelledSeries:
    """TDP of the device times the time that the job held it."""
    source = "model-tdp"
    header = session.header
    points = [header.boottime_ns, *(record.boottime_ns for record in session.records)]
    if points[-1] == points[0]:
        return ModelledSeries(source, "no time has passed between records")
    match = find_gpu(table, gpu.name)
    cumulative = [(point, gpu_energy_uj(match.tdp, point - points[0])) for point in points]
    inputs = f"{_power(match.tdp)} ({_which(match.tdp, match.exact, gpu.name)}) x time held"
    return ModelledSeries(source, inputs, _intervals(session, cumulative))


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


def _power(tdp: Tdp) -> str:
    return f"{tdp.tdp_mw / tdp.cores / 1000:.4g} W"


def _which(tdp: Tdp, exact: bool, name: str | None) -> str:
    if exact:
        return tdp.model
    return f"no figure for {name[:60]!r}, the one for any device" if name else "model of the device unknown"
