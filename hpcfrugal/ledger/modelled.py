"""The model applied to the proxies of a session: CPU time, memory and the list of GPUs. Pure functions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from hpcfrugal.accounting.buckets import EnergyCurve, Instants
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
from hpcfrugal.accounting.series import CumulativeSeries, differences
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.readings import SessionReadings
from hpcfrugal.ledger.stops import Span, outside
from hpcfrugal.sidecar.energy_split import steady_energies_uj
from hpcfrugal.spool.sample_header import GpuInfo
from hpcfrugal.spool.sidecar_session import SidecarSession, newest

CPU_BIAS = "calibrated on wall power of servers: with fans and power supply, which RAPL does not read"
DRAM_BIAS = "size and number of the modules unknown"

_NO_CPU_TIME = "less CPU time than the system counts"

_SEEN = 0.5
"""The GPUs' use counts where it is known for this part of their time."""


@dataclass(frozen=True, slots=True)
class Modelled:
    """Energy with the inputs of the model in words. No curve: unknown, and ``inputs`` is the reason.

    ``busy_ns`` is the time for which the model takes the cores to have been busy.
    """

    source: str
    inputs: str
    curves: tuple[EnergyCurve, ...] = ()
    range: ModelRange = EXACT
    busy_ns: int = 0

    @property
    def energy_uj(self) -> int:
        return sum(curve.rise_uj for curve in self.curves)


def model_cpu(read: SessionReadings, rows: Mapping[str, Tdp]) -> Modelled:
    """The node's idle power and, by its busy cores, what is above it; of a shared node the job's part of both.

    The job's part of the idle power is that of its CPUs. Where none are allotted to it, its CPU time decides alone.
    Unknown, not 0, where the CPU time is too short to be counted.
    """
    source = "model-tdp"
    session, header = read.session, read.header
    cores = header.cores_node or header.cpus_node
    if cores is None:
        return Modelled(source, "the number of cores is unknown")
    # Of an exclusive node all counts, as it does where a meter reads it.
    by_node = bool(read.held.exclusive) and newest(session.node_busy_us) is not None
    times_ns, used_us = _rising(session, session.node_busy_us if by_node else session.job_cpu_us)
    if len(times_ns) < 2 or times_ns[-1] == times_ns[0]:
        return Modelled(source, "the job's CPU time is unknown")
    held, part = _held(read, by_node=by_node)
    if used_us[-1] == 0 and held is None:
        # Something ran, so this is a time below the resolution (a tick of 10 ms and more in procfs), not none.
        return Modelled(source, _NO_CPU_TIME)
    design = _design(read, rows, cores)
    kind = server_class(header.cpu_model)
    power = cpu_power(design, kind, cores, read.idle_power_uw("cpu"))
    if held is None:
        power, held = CpuPower(0, power.full_uw, cores), (1, 1)
    steps = zip(differences(used_us), differences(times_ns), strict=True)
    steps_ns = [busy_core_ns(cpu_us, span_ns, cores, held) for cpu_us, span_ns in steps]
    first = min(1, session.read_before)  # of a session that is read on, the first step is all before
    steps_ns[:first] = [read.busy_before_ns] * first
    busy_ns = list(accumulate(steps_ns, initial=0))
    energies_uj = [
        cpu_energy_uj(power, at_ns - times_ns[0], busy, held) for at_ns, busy in zip(times_ns, busy_ns, strict=True)
    ]
    # While the job is stopped the node may be busy with others.
    stopped = read.stops if by_node else []
    curves = _curves(session, times_ns, energies_uj, outside(times_ns, stopped))
    if not curves:
        return Modelled(source, "the job may have been stopped all the time")
    load = busy_ns[-1] / (times_ns[-1] - times_ns[0]) / cores if by_node else None
    time = "node busy CPU time" if by_node else f"job CPU time from {header.cpu_time_source or 'an unnamed source'}"
    inputs = (
        f"design power {design.power_uw / 1e6:.4g} W ({design.source}), so {power.idle_uw / 1e6:.4g} W idle and "
        f"{power.full_uw / 1e6:.4g} W with {_cores(header.cores_node, cores)} busy; {part} by {time}; {CPU_BIAS}"
    )
    if stopped:
        inputs += "; without the time in which the job may have been stopped"
    return Modelled(source, inputs, curves, cpu_range(load, design, kind), busy_ns[-1])


def _rising(session: SidecarSession, cpu_us: Sequence[int | None]) -> tuple[list[int], list[int]]:
    """Instants since boot, and the CPU time since the header at each, without what is not known or has fallen."""
    times_ns, used_us = [session.header.boottime_ns], [0]
    for at_ns, known_us in zip(session.boottime_ns, cpu_us, strict=True):
        if known_us is not None and known_us >= used_us[-1]:
            times_ns.append(at_ns)
            used_us.append(known_us)
    return times_ns, used_us


def _cores(known: int | None, cores: int) -> str:
    return f"{cores} cores" if known is not None else f"{cores} hardware threads (number of cores unknown)"


def _held(read: SessionReadings, *, by_node: bool) -> tuple[tuple[int, int] | None, str]:
    """The part of the node's CPUs that the job holds, as a quotient, and in words; None where none are allotted."""
    if by_node:
        return (1, 1), "the whole node"
    held = read.held
    if held.cpus is None or held.node_cpus is None:
        return None, "the job's CPU time without a part of the idle power"
    cpus = min(held.cpus, held.node_cpus)
    return (cpus, held.node_cpus), f"{cpus} of {held.node_cpus} CPUs"


def _design(read: SessionReadings, rows: Mapping[str, Tdp], cores: int) -> DesignPower:
    """The design power of the node's CPUs: the settings, RAPL's limit, the table, the number of cores."""
    header = read.header
    if read.facts.tdp_uw is not None:
        return DesignPower(read.facts.tdp_uw, "tdp_w in the settings")
    if header.cpu_limit_uw is not None:
        return DesignPower(header.cpu_limit_uw, "RAPL: limit of all packages")
    return design_power(rows, header.cpu_model, cores)


def model_dram(read: SessionReadings) -> Modelled:
    """0.2 W/GB times the memory that the job holds: allocated, else all of its own node's, else its share of the node's
    by CPU time, as a reading of the memory would be divided; the memory that it used where no CPU time is known.
    """
    source = "model-memory"
    session, header = read.session, read.header
    held_b, held = header.memory_alloc_b, "allocated"
    if held_b is None and read.held.exclusive:
        held_b, held = header.memory_node_b, "of the node, held exclusively"
    times_ns = session.times_ns
    # One record's memory is that of the time since the one before.
    memory_b: Sequence[int | None] = session.memory_b if held_b is None else [held_b] * len(session)
    if held_b is None:
        held = "used on average (allocation unknown)"
        shares_b = _shares_of_memory(session)
        # Of a job that used less CPU time than is counted, the share would be 0, and its memory is known.
        if shares_b is not None and any(shares_b):
            memory_b, held = shares_b, "on average, the job's share of the node's memory by CPU time"
    known_ns = [0 if known is None else span for known, span in zip(memory_b, differences(times_ns), strict=True)]
    if not any(known_ns):
        return Modelled(source, "memory allocated and memory used are unknown")
    # The model is a sum over spans, rounded once at each record, so that no rounding adds up.
    weighted = list(accumulate(((known or 0) * ns for known, ns in zip(memory_b, known_ns, strict=True)), initial=0))
    energies_uj = [dram_energy_uj([(each, 1)]) for each in weighted]
    known = [at for at, span_ns in enumerate(known_ns) if span_ns]
    curves = _curves(session, times_ns, energies_uj, _runs(known) if None in memory_b else [slice(0, len(times_ns))])
    size_gb = held_b / 1e9 if held_b is not None else weighted[-1] / sum(known_ns) / 1e9
    inputs = f"{DRAM_NW_PER_B_E4 / 1e4:g} W/GB x {size_gb:.3f} GB {held} x time; {DRAM_BIAS}"
    return Modelled(source, inputs, curves, DRAM_RANGE)


def _shares_of_memory(session: SidecarSession) -> list[int | None] | None:
    """The job's part of the node's memory, by the CPU time before each record; None where that is not known."""
    memory_b = session.header.memory_node_b
    times = [(0, 0), *zip(session.job_cpu_us, session.node_busy_us, strict=True)]
    if memory_b is None or any(job_us is None or busy_us is None for job_us, busy_us in times):
        return None
    shares: list[int | None] = []
    for (old_us, old_busy_us), (job_us, busy_us) in pairwise(times):
        used_us, elapsed_us = max(0, (job_us or 0) - (old_us or 0)), (busy_us or 0) - (old_busy_us or 0)
        shares.append(memory_b * min(used_us, elapsed_us) // elapsed_us if elapsed_us > 0 else 0)
    return shares


def _runs(positions: Sequence[int]) -> list[slice]:
    """From numbers of intervals the parts of their ends in which each interval follows on the one before."""
    starts = [at for at, position in enumerate(positions) if at == 0 or positions[at - 1] != position - 1]
    return [slice(positions[start], positions[end - 1] + 2) for start, end in pairwise([*starts, len(positions)])]


def model_gpu(read: SessionReadings, gpu: GpuInfo, table: TdpTable) -> Modelled:
    """A share of the power limit of the device, else of its design power, times the time that the job held it."""
    source = "model-tdp"
    session = read.session
    if session.elapsed_ns == 0:
        return Modelled(source, "no time has passed between records")
    match = find_gpu(table, gpu.name)
    limit_uw = match.tdp.tdp_mw * 1000 if gpu.limit_uw is None else gpu.limit_uw
    use = _gpu_use(session)
    power_uw, ends = gpu_power(limit_uw, use, known=match.exact or gpu.limit_uw is not None)
    times_ns = session.times_ns
    energies_uj = steady_energies_uj(power_uw, [at_ns - times_ns[0] for at_ns in times_ns])
    which = "NVML: enforced limit" if gpu.limit_uw is not None else _which(match.tdp, match.exact, gpu.name)
    how = "its use and the workload unknown" if use is None else f"in use {use:.0%} of the time; the workload unknown"
    inputs = f"{power_uw / limit_uw:.0%} of {limit_uw / 1e6:.4g} W ({which}) x time held; {how}"
    return Modelled(source, inputs, _curves(session, times_ns, energies_uj, [slice(0, len(times_ns))]), ends)


def _gpu_use(session: SidecarSession) -> float | None:
    """The part of the time that the job's GPUs were in use, by their own account; None where it is not known."""
    busy_us, seen_us = session.use.get("gpu_busy_us"), session.use.get("gpu_seen_us")
    held_us = session.elapsed_ns / 1000 * len(session.header.gpus)
    if busy_us is None or not seen_us or seen_us < _SEEN * held_us:
        return None
    return float(busy_us / seen_us)


def part_within(series: Modelled, session: SidecarSession, spans: Sequence[Span]) -> Modelled:
    """The part of a series that lies in ``spans`` (time since boot, in order), on straight lines between records."""
    walls = [(session.wall_of(start_ns), session.wall_of(end_ns)) for start_ns, end_ns in spans]
    cut: list[EnergyCurve] = []
    for curve in series.curves:
        times_ns = curve.instants.times_ns
        columns = [CumulativeSeries.of(times_ns, column) for column in (curve.energy_uj, curve.measured_ns)]
        first = bisect_right(walls, times_ns[0], key=lambda wall: wall[1])
        for start_ns, end_ns in walls[first:]:
            if start_ns >= times_ns[-1]:
                break
            parts = [column and column.clip(start_ns, end_ns) for column in columns]
            if parts[0] is not None and parts[1] is not None:
                cut.append(EnergyCurve(Instants(parts[0].times_ns), parts[0].values, parts[1].values))
    return replace(series, curves=tuple(cut))


def _curves(
    session: SidecarSession, times_ns: Sequence[int], energies_uj: Sequence[int], parts: Sequence[slice]
) -> tuple[EnergyCurve, ...]:
    """Parts of the energy at instants since boot; all of their time counts as measured.

    What a session that is read on had up to its first record is not among them.
    """
    offset_ns = session.header.wall_ns - session.header.boottime_ns
    walls_ns = [at_ns + offset_ns for at_ns in times_ns]
    if session.read_before:
        parts = [slice(max(part.start, 1), part.stop) for part in parts]
    return tuple(EnergyCurve(Instants(walls_ns[part]), energies_uj[part], times_ns[part]) for part in parts)


def _which(tdp: Tdp, exact: bool, name: str | None) -> str:
    if exact:
        return tdp.model
    return f"no figure for {name[:60]!r}, the one for any device" if name else "model of the device unknown"
