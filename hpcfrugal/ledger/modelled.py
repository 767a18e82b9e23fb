"""The model applied to the proxies of a segment: CPU time, memory and the list of GPUs. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hpcfrugal.accounting.buckets import Interval
from hpcfrugal.accounting.model import (
    Tdp,
    TdpTable,
    cpu_energy_uj,
    dram_energy_uj,
    find_cpu,
    find_gpu,
    gpu_energy_uj,
)
from hpcfrugal.spool.samples import Gpu, Segment


@dataclass(frozen=True, slots=True)
class ModelledSeries:
    """Energy by interval with the inputs of the model in words. No interval: unknown, and inputs say why."""

    source: str
    inputs: str
    intervals: tuple[Interval, ...] = ()


def model_cpu(segment: Segment, table: TdpTable) -> ModelledSeries:
    """TDP per core times the job's CPU time on the node; the node's busy time where the job has it for itself.

    Unknown, not 0, where the CPU time is too short to be counted.
    """
    source = "model-tdp"
    header = segment.header
    # Of a node that the job has for itself all counts, as it does where a meter reads it.
    by_node = bool(header.exclusive) and any(record.node_busy_us is not None for record in segment.records)
    points = [(header.boottime_ns, 0)]
    for record in segment.records:
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
    return ModelledSeries(source, inputs, _intervals(segment, cumulative))


def model_dram(segment: Segment) -> ModelledSeries:
    """0.3725 W/GB times the memory that the job holds: allocated, else all of its own node's, else used."""
    source = "model-memory"
    header = segment.header
    held_b, held = header.memory_alloc_b, "allocated"
    if held_b is None and header.exclusive:
        held_b, held = header.memory_node_b, "of the node, held exclusively"
    # The model is a sum over spans, rounded once at each record, so that no rounding adds up.
    weighted, known_ns = 0, 0
    before_ns = header.boottime_ns
    intervals: list[Interval] = []
    done_uj = 0
    for record in segment.records:
        memory_b = held_b if held_b is not None else record.memory_b
        span_ns = record.boottime_ns - before_ns
        if memory_b is not None and span_ns > 0:
            weighted += memory_b * span_ns
            known_ns += span_ns
            upto_uj = dram_energy_uj([(weighted, 1)])
            intervals.append(
                Interval(_wall(segment, before_ns), _wall(segment, record.boottime_ns), upto_uj - done_uj, span_ns)
            )
            done_uj = upto_uj
        before_ns = record.boottime_ns
    if not intervals:
        return ModelledSeries(source, "memory allocated and memory used are unknown")
    size_gb = held_b / 1e9 if held_b is not None else weighted / known_ns / 1e9
    if held_b is None:
        held = "used on average (allocation unknown)"
    return ModelledSeries(source, f"0.3725 W/GB x {size_gb:.3f} GB {held} x time", tuple(intervals))


def model_gpu(segment: Segment, gpu: Gpu, table: TdpTable) -> ModelledSeries:
    """TDP of the device times the time that the job held it."""
    source = "model-tdp"
    header = segment.header
    points = [header.boottime_ns, *(record.boottime_ns for record in segment.records)]
    if points[-1] == points[0]:
        return ModelledSeries(source, "no time has passed between records")
    match = find_gpu(table, gpu.name)
    cumulative = [(point, gpu_energy_uj(match.tdp, point - points[0])) for point in points]
    inputs = f"{_power(match.tdp)} ({_which(match.tdp, match.exact, gpu.name)}) x time held"
    return ModelledSeries(source, inputs, _intervals(segment, cumulative))


def _intervals(segment: Segment, cumulative: list[tuple[int, int]]) -> tuple[Interval, ...]:
    return tuple(
        Interval(_wall(segment, old_ns), _wall(segment, new_ns), new_uj - old_uj, new_ns - old_ns)
        for (old_ns, old_uj), (new_ns, new_uj) in pairwise(cumulative)
    )


def _wall(segment: Segment, boottime_ns: int) -> int:
    return segment.header.wall_ns + boottime_ns - segment.header.boottime_ns


def _power(tdp: Tdp) -> str:
    return f"{tdp.tdp_mw / tdp.cores / 1000:.4g} W"


def _which(tdp: Tdp, exact: bool, name: str | None) -> str:
    if exact:
        return tdp.model
    return f"no figure for {name[:60]!r}, the one for any device" if name else "model of the device unknown"
