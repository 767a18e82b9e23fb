"""Energy of jobs of which only Slurm's accounting is known: by a model, or as Slurm itself measured it.

The model is that of the sidecar's fallback, see ``accounting.model``, of a part of a node: CPUs, CPU time, memory, GPUs
and time; the model of its CPUs is known where the settings have it. A calibration may bring it closer to the measured
jobs of a site. Energy is spread evenly over the time of the job and over its nodes, in integers.
Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.buckets import EnergyByTime, EnergyCurve, Instants
from hpcfrugal.accounting.model import (
    DRAM_NW_PER_B_E4,
    DRAM_RANGE,
    OTHER,
    DesignPower,
    ModelRange,
    ServerClass,
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
from hpcfrugal.accounting.slurm_energy import COVERS, JudgedEnergy
from hpcfrugal.accounting.tables import cpu_tdp, gpu_tdp
from hpcfrugal.core.format import count
from hpcfrugal.core.record import MAX_INT, assemble
from hpcfrugal.ledger.accounted_slurm import energy_by_slurm, had_nodes_alone
from hpcfrugal.ledger.clusters import NO_FIGURES, ClusterFigures
from hpcfrugal.ledger.modelled import CPU_BIAS, DRAM_BIAS
from hpcfrugal.ledger.packed import pack
from hpcfrugal.ledger.readings import ChannelKey
from hpcfrugal.ledger.rows import ChannelRow
from hpcfrugal.slurm.sacct_jobs import SacctJob
from hpcfrugal.spool.cluster_documents import CalibratedModel, NodeClass, SlurmSetup

_S = 10**9

_MOST_UJ = MAX_INT
"""More energy than this of one component is no figure of the ledger: 53 MW for a day."""

_REASON = "no sidecar ran: from Slurm's accounting"
_PER_CORE = f"model of the CPU unknown, {OTHER.core_mw / 1000:g} W per core or thread, of those that the job held"
_CPU_TIME = {True: "CPU time of its steps", False: "CPU time unknown: all taken to be busy"}
_MEMORY = f"{DRAM_NW_PER_B_E4 / 10_000:g} W/GB of the memory allocated; {DRAM_BIAS}"
_GPUS = "a share of the power limit of each GPU that the job held, whose use is unknown"


SLURM_ENERGY = "slurm-energy"
"""The source of energy that Slurm gathered."""


@dataclass(slots=True)
class _Sums:
    """Energy of one component over all parts of a job, on all of its nodes, each with the ends of its range."""

    quality: str = "modelled"
    boundary: str = "components"
    attribution: Attribution = Attribution.MODEL
    counted: bool = True
    inputs: str = ""
    source: str = ""
    detail: str | None = None
    reason: str = _REASON
    unknown: str | None = None
    calibrated: CalibratedModel | None = None
    parts: list[tuple[int, int, int]] = field(default_factory=list)
    """Of each row."""

    def add(self, energy_uj: int, ends: ModelRange) -> None:
        """Add the modelled energy of a row."""
        self.add_range(energy_uj, *ends.of(energy_uj))

    def add_range(self, energy_uj: int, low_uj: int, high_uj: int) -> None:
        """The same with the ends of its range; all by the factor of the calibration, where there is one."""
        known = self.calibrated
        if known is not None:
            energy_uj, low_uj, high_uj = (uj * known.factor_ppm // 10**6 for uj in (energy_uj, low_uj, high_uj))
            if known.low_permille is not None and known.high_permille is not None:
                low_uj, high_uj = ModelRange(known.low_permille, known.high_permille).of(energy_uj)
        self.parts.append((energy_uj, low_uj, high_uj))


def channels_of(rows: Sequence[SacctJob], figures: ClusterFigures = NO_FIGURES, *, final: bool) -> Iterator[ChannelRow]:
    """The channels of a job by the rows of its time, in order. Of one that has not started there are none.

    Energy is unknown, with the reason, of a job that is not over, and where a figure is missing that the model needs.
    Where Slurm measured the energy by the verdict that is in force, the model of what that includes does not count.
    """
    if not any(row.start_s is not None for row in rows):
        return
    spans = [Instants([(row.start_s or 0) * _S, (row.end_s or row.start_s or 0) * _S]) for row in rows]
    elapsed_ns = [(row.elapsed_s or 0) * _S for row in rows]
    found: list[tuple[str, _Sums]] = []
    included: frozenset[str] = frozenset()
    if final and (known := energy_by_slurm(rows, figures)) is not None:
        by_slurm = _by_slurm(*known, rows[-1].elapsed_s or 0)
        covers = COVERS.get(known[1].plugin or "")
        component = "node" if covers is None else min(covers)
        if by_slurm.counted:
            included = frozenset(_MODELS) if covers is None else covers
        found.append((component, by_slurm))
    for component in _MODELS:
        if component == "gpu" and all(row.gpus == 0 for row in rows):
            continue
        sums = _modelled(component, rows, figures, final=final)
        sums.counted = component not in included
        found.append((component, sums))
    nodes = sorted({node for row in rows for node in row.node_names}) or [""]
    for component, sums in found:
        if any(uj > _MOST_UJ for part in sums.parts for uj in part):
            sums.unknown = "its figures are larger than there can be"
        for at, node in enumerate(nodes):
            curves = [
                EnergyCurve(span, [0, _part(part[0], at, len(nodes))], [0, time_ns])
                for part, span, time_ns in zip(sums.parts, spans, elapsed_ns, strict=sums.unknown is None)
            ]
            yield _channel(component, node, sums, curves, (at, len(nodes)))


def _by_slurm(judged: JudgedEnergy, setup: SlurmSetup, elapsed_s: int) -> _Sums:
    """What Slurm gathered: measured, or more than the job used. Of what is measured, the range is that of its edges:
    one reading of Slurm's at each end."""
    measured = judged.use == "measured"
    energy_uj = (judged.energy_j or 0) * 10**6
    covers = COVERS.get(setup.plugin or "")
    edge_uj = energy_uj * min(setup.step_s or 0, elapsed_s) // max(1, elapsed_s) if measured else 0
    sums = _Sums(
        quality=judged.use,
        boundary="node" if covers is None else "components",
        attribution=Attribution.EXCLUSIVE if measured else Attribution.NONE,
        counted=measured,
        source=SLURM_ENERGY,
        detail=f"acct_gather_energy/{setup.plugin}" + ("" if covers is None else f": {' and '.join(sorted(covers))}"),
        reason=f"energy {judged.why}" if measured else f"an upper bound, not counted: {judged.why}",
    )
    sums.parts.append((energy_uj, energy_uj - edge_uj, energy_uj + edge_uj))
    return sums


def _modelled(component: str, rows: Sequence[SacctJob], figures: ClusterFigures, *, final: bool) -> _Sums:
    """The model of a component over all parts of a job."""
    sums, outdated = _Sums(), False
    for row in rows:
        if not final:
            sums.unknown = "the job was not over when Slurm was asked"
        elif row.elapsed_s is None or row.start_s is None or row.end_s is None:
            sums.unknown = "its time is unknown"
        else:
            if figures.calibration is not None:
                alone = had_nodes_alone(row, figures) is True
                model = figures.model_of(row.node_names, component, gpu=bool(row.gpus), alone=alone)
                outdated = model is not None and figures.is_outdated(model, row.node_names)
                sums.calibrated = None if outdated else model
            _MODELS[component](row, sums, _classes(row, figures))
    if outdated and figures.calibration is not None:
        sums.inputs += (
            f"; calibration {figures.calibration.version} is outdated and does not count: the nodes, their settings or"
            " the model have changed since"
        )
    if sums.calibrated is not None and figures.calibration is not None:
        used = sums.calibrated
        sums.inputs += (
            f"; times {used.factor_ppm / 1e6:.3g} by {count(used.jobs, 'measured job')} of its kind on such nodes"
            f" (calibration {figures.calibration.version}; of held-out jobs half were off by more than"
            f" {used.error_permille / 10:g} %)"
        )
    return sums


def _classes(row: SacctJob, figures: ClusterFigures) -> list[NodeClass]:
    """The class of each of its nodes; empty where that of any is not known."""
    known = [figures.class_by_node.get(node) for node in row.node_names]
    return [one for one in known if one is not None] if None not in known else []


def _design(cpus: int, classes: Sequence[NodeClass]) -> tuple[DesignPower, ServerClass, int | None]:
    """The design power of so many CPUs of these nodes, the kind of the servers, and the idle power if that is known:
    means of the nodes, of which each has the same part of the job."""
    parts = [(one, _node_design(one)) for one in classes]
    if not parts or any(design is None for _, design in parts):
        return design_power({}, None, cpus), OTHER, None
    power_uw = sum(Fraction(design.power_uw * cpus, one.cpus * len(parts)) for one, design in parts if design)
    sources = sorted({design.source for _, design in parts if design})
    kinds = {server_class(one.cpu) for one in classes}
    idles = [one.cpu_idle_w for one in classes]
    idle_uw = sum(Fraction(round((one.cpu_idle_w or 0) * 1e6) * cpus, one.cpus * len(parts)) for one in classes)
    return (
        DesignPower(int(power_uw), "; ".join(sources)),
        kinds.pop() if len(kinds) == 1 else OTHER,
        None if None in idles else int(idle_uw),
    )


def _node_design(one: NodeClass) -> DesignPower | None:
    """The design power of a node's CPUs, by the settings; None where these have none."""
    if one.tdp_w is not None:
        return DesignPower(round(one.tdp_w * 1e6), "tdp_w in the settings")
    design = design_power(cpu_tdp(), one.cpu, one.cores or one.cpus)
    return design if one.cpu is not None and design.known else None


def _cpu(row: SacctJob, sums: _Sums, classes: Sequence[NodeClass]) -> None:
    if row.cpus is None:
        sums.unknown = "the number of its CPUs is unknown"
        return
    span_ns = (row.elapsed_s or 0) * _S
    design, kind, idle_uw = _design(row.cpus, classes)
    power = cpu_power(design, kind, row.cpus, idle_uw)
    ends = cpu_range(None, design, kind)
    busy_ns = row.cpus * span_ns
    base = f"{design.source}; the job's part by its CPUs" if design.known else _PER_CORE
    sums.source, sums.inputs = "model-tdp", f"{base}; {_CPU_TIME[row.cpu_us is not None]}; {CPU_BIAS}"
    if row.cpu_us is not None:
        busy_ns = busy_core_ns(row.cpu_us, span_ns, row.cpus, (1, 1))
    else:
        # It may have been idle all the time.
        ends = ModelRange(ends.low * power.idle_uw // max(1, power.full_uw), ends.high)
    sums.add(cpu_energy_uj(power, span_ns, busy_ns), ends)


def _dram(row: SacctJob, sums: _Sums, classes: Sequence[NodeClass]) -> None:
    if row.memory_b is None:
        sums.unknown = "the memory that it held is unknown"
        return
    sums.source, sums.inputs = "model-memory", _MEMORY
    sums.add(dram_energy_uj([(row.memory_b, (row.elapsed_s or 0) * _S)]), DRAM_RANGE)


def _gpu(row: SacctJob, sums: _Sums, classes: Sequence[NodeClass]) -> None:
    if row.gpus is None:
        sums.unknown = "whether it held GPUs is unknown"
        return
    names = row.gpus_by_type
    by_node = {one.gpu_name or "" for one in classes}
    unnamed = by_node.pop() if len(by_node) == 1 else ""
    names[unnamed] = names.get(unnamed, 0) + row.gpus - sum(names.values())
    sums.source, sums.inputs = "model-gpu", _GPUS
    found = []
    for name, number in names.items():
        power_uw, ends = _gpu_power(name)
        energy_uj = number * power_uw * (row.elapsed_s or 0)
        found.append((energy_uj, *ends.of(energy_uj)))
    energy_uj, low_uj, high_uj = map(sum, zip(*found, strict=True))
    sums.add_range(energy_uj, low_uj, high_uj)


_MODELS: dict[str, Callable[[SacctJob, _Sums, Sequence[NodeClass]], None]] = {"cpu": _cpu, "dram": _dram, "gpu": _gpu}


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
    has_range = known and (sums.quality == "modelled" or any(low != high for _, low, high in sums.parts))
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
        quality=sums.quality if known else "unknown",
        boundary=sums.boundary,
        scope="job",
        counted=sums.counted,
        attribution=sums.attribution if known else Attribution.NONE,
        detail=sums.detail,
        gpu_uuid=None,
        inputs=sums.inputs or None if known else None,
        idle_power=None,
        idle_uj=None,
        reason=sums.reason if known else f"{sums.reason}; {sums.unknown}",
        energy_uj=energy.energy_uj if known else None,
        low_uj=low_uj if has_range else None,
        high_uj=high_uj if has_range else None,
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
