"""Modelled energy of jobs of which only Slurm's accounting is known: CPUs, CPU time, memory, GPUs and time.

The model is that of the sidecar's fallback, see ``accounting.model``, of a part of a node: neither the model of its
CPUs nor how many it has is known. Energy is spread evenly over the time of the job and over its nodes, in integers.
Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.buckets import EnergyByTime, EnergyCurve, Instants
from hpcfrugal.accounting.model import (
    DRAM_NW_PER_B_E4,
    DRAM_RANGE,
    OTHER,
    ModelRange,
    busy_core_ns,
    cpu_energy_uj,
    cpu_power,
    cpu_range,
    design_power,
    dram_energy_uj,
    find_gpu,
    gpu_power,
)
from hpcfrugal.accounting.tables import gpu_tdp
from hpcfrugal.core.record import MAX_INT, assemble
from hpcfrugal.ledger.modelled import CPU_BIAS, DRAM_BIAS
from hpcfrugal.ledger.packed import pack
from hpcfrugal.ledger.readings import ChannelKey
from hpcfrugal.ledger.rows import ChannelRow
from hpcfrugal.slurm.sacct_jobs import SacctJob

_S = 10**9

_MOST_UJ = MAX_INT
"""More energy than this of one component is no figure of the ledger: 53 MW for a day."""

_REASON = "no sidecar ran: from Slurm's accounting"
_PER_CORE = f"model of the CPU unknown, {OTHER.core_mw / 1000:g} W per core or thread"
_INPUTS = {
    "model-tdp": f"{_PER_CORE}, of those that the job held; CPU time of its steps; {CPU_BIAS}",
    "model-tdp-busy": f"{_PER_CORE}, of those that the job held; CPU time unknown: all taken to be busy; {CPU_BIAS}",
    "model-memory": f"{DRAM_NW_PER_B_E4 / 10_000:g} W/GB of the memory allocated; {DRAM_BIAS}",
    "model-gpu": "a share of the power limit of each GPU that the job held, whose use is unknown",
}


@dataclass(slots=True)
class _Sums:
    """Energy of one component over all parts of a job, on all of its nodes, each with the ends of its range."""

    inputs: str = ""
    source: str = ""
    unknown: str | None = None
    parts: list[tuple[int, int, int]] = field(default_factory=list)
    """Of each row."""

    def add(self, energy_uj: int, ends: ModelRange) -> None:
        self.parts.append((energy_uj, *ends.of(energy_uj)))


def channels_of(rows: Sequence[SacctJob], *, final: bool) -> Iterator[ChannelRow]:
    """The channels of a job by the rows of its time, in order. Of one that has not started there are none.

    Energy is unknown, with the reason, of a job that is not over, and where a figure is missing that the model needs.
    """
    if not any(row.start_s is not None for row in rows):
        return
    components = {"cpu": _cpu, "dram": _dram, "gpu": _gpu}
    spans = [Instants([(row.start_s or 0) * _S, (row.end_s or row.start_s or 0) * _S]) for row in rows]
    elapsed_ns = [(row.elapsed_s or 0) * _S for row in rows]
    for component, model in components.items():
        if component == "gpu" and all(row.gpus == 0 for row in rows):
            continue
        sums = _Sums()
        for row in rows:
            if not final:
                sums.unknown = "the job was not over when Slurm was asked"
            elif row.elapsed_s is None or row.start_s is None or row.end_s is None:
                sums.unknown = "its time is unknown"
            else:
                model(row, sums)
        if any(uj > _MOST_UJ for part in sums.parts for uj in part):
            sums.unknown = "its figures are larger than there can be"
        nodes = sorted({node for row in rows for node in row.node_names}) or [""]
        for at, node in enumerate(nodes):
            curves = [
                EnergyCurve(span, [0, _part(part[0], at, len(nodes))], [0, time_ns])
                for part, span, time_ns in zip(sums.parts, spans, elapsed_ns, strict=sums.unknown is None)
            ]
            yield _channel(component, node, sums, curves, (at, len(nodes)))


def _cpu(row: SacctJob, sums: _Sums) -> None:
    if row.cpus is None:
        sums.unknown = "the number of its CPUs is unknown"
        return
    span_ns = (row.elapsed_s or 0) * _S
    design = design_power({}, None, row.cpus)
    power = cpu_power(design, OTHER, row.cpus)
    ends = cpu_range(None, design, OTHER)
    busy_ns = row.cpus * span_ns
    sums.source, sums.inputs = "model-tdp", _INPUTS["model-tdp-busy" if row.cpu_us is None else "model-tdp"]
    if row.cpu_us is not None:
        busy_ns = busy_core_ns(row.cpu_us, span_ns, row.cpus, (1, 1))
    else:
        # It may have been idle all the time.
        ends = ModelRange(ends.low * power.idle_uw // power.full_uw, ends.high)
    sums.add(cpu_energy_uj(power, span_ns, busy_ns), ends)


def _dram(row: SacctJob, sums: _Sums) -> None:
    if row.memory_b is None:
        sums.unknown = "the memory that it held is unknown"
        return
    sums.source, sums.inputs = "model-memory", _INPUTS["model-memory"]
    sums.add(dram_energy_uj([(row.memory_b, (row.elapsed_s or 0) * _S)]), DRAM_RANGE)


def _gpu(row: SacctJob, sums: _Sums) -> None:
    if row.gpus is None:
        sums.unknown = "whether it held GPUs is unknown"
        return
    names = row.gpus_by_type
    names[""] = row.gpus - sum(names.values())
    sums.source, sums.inputs = "model-gpu", _INPUTS["model-gpu"]
    found = []
    for name, number in names.items():
        power_uw, ends = _gpu_power(name)
        energy_uj = number * power_uw * (row.elapsed_s or 0)
        found.append((energy_uj, *ends.of(energy_uj)))
    energy_uj, low_uj, high_uj = map(sum, zip(*found, strict=True))
    sums.parts.append((energy_uj, low_uj, high_uj))


@cache
def _gpu_power(name: str) -> tuple[int, ModelRange]:
    """Power in microwatts and range of a GPU by its type in Slurm; empty: not known."""
    match = find_gpu(gpu_tdp(), name or None)
    return gpu_power(match.tdp.tdp_mw * 1000, None, known=match.exact)


def _channel(
    component: str, node: str, sums: _Sums, curves: Sequence[EnergyCurve], of_nodes: tuple[int, int]
) -> ChannelRow:
    """The channel of a component on one of the nodes: an equal part, in integers that add up to the whole."""
    known = sums.unknown is None and bool(curves)
    key = ChannelKey(component, component, sums.source if known else "none")
    energy, low_uj, high_uj = EnergyByTime(), 0, 0
    first_ns = last_ns = None
    if known:
        first_ns, last_ns = curves[0].instants.times_ns[0], curves[-1].instants.times_ns[-1]
        low_uj, high_uj = (sum(_part(part[end], *of_nodes) for part in sums.parts) for end in (1, 2))
        for curve in curves:
            energy.add(curve)
    return assemble(
        ChannelRow,
        key,
        node=node,
        packed=pack(energy, energy.measured_ns, first_ns, last_ns),
        channel=str(key),
        quality="modelled" if known else "unknown",
        boundary="components",
        scope="job",
        counted=True,
        attribution=Attribution.MODEL if known else Attribution.NONE,
        detail=None,
        gpu_uuid=None,
        inputs=sums.inputs if known else None,
        idle_power=None,
        idle_uj=None,
        reason=_REASON if known else f"{_REASON}; {sums.unknown}",
        energy_uj=energy.energy_uj if known else None,
        low_uj=low_uj if known else None,
        high_uj=high_uj if known else None,
        node_energy_uj=None,
        errors=0,
        max_mw=None,
        resets=None,
        gaps=None,
        sensor_gap_ns=None,
        first_boottime_ns=None,
        last_boottime_ns=None,
    )


def _part(whole: int, at: int, nodes: int) -> int:
    return whole * (at + 1) // nodes - whole * at // nodes
