"""Expected power of a job: the mean of similar jobs, otherwise a model from its requested resources."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcfrugal.accounting.model import GPU_BUSY, OTHER, dram_energy_uj, find_gpu
from hpcfrugal.accounting.tables import gpu_tdp
from hpcfrugal.core.format import count
from hpcfrugal.core.units import parse_memory
from hpcfrugal.job.resources import Resources
from hpcfrugal.planning.decide.history import FEWEST_RUNS, History

_GRES_GPU = re.compile(r"(?:gres/)?gpu(?:[:=](?P<type>[^:=\d][^:=]*))?(?:[:=](?P<count>\d+))?")


@dataclass(frozen=True, slots=True)
class Power:
    """Mean power in watts over the run, and its source as a text; None: unknown."""

    power_w: float | None = None
    source: str | None = None

    def of_tasks(self, at_once: float) -> Power:
        """That of so many tasks of an array, on average, if this is that of one."""
        if self.power_w is None or at_once == 1:
            return self
        return Power(self.power_w * at_once, f"{self.source}, for each of {at_once:.3g} tasks at a time")


def expected_power(resources: Resources, history: History) -> Power:
    """The mean power of at least ``FEWEST_RUNS`` similar jobs, otherwise that of the requested devices at full load.

    For an array: of one task. The model is the one of accounting without a sensor, for nodes of which nothing is known.
    Resources that are not requested (such as all the memory of a node) are not included.
    """
    if history.power_w is not None and history.power_jobs >= FEWEST_RUNS:
        quality = "measured" if history.measured else "modelled in part"
        return Power(history.power_w, f"history, {history.power_jobs} jobs, {quality}")
    tasks = _tasks(resources)
    cpus = tasks * (resources.cpus_per_task or 1)
    parts = [count(cpus, "CPU")]
    power_uw = OTHER.core_mw * OTHER.full * cpus
    if memory_b := _memory_b(resources, cpus):
        power_uw += dram_energy_uj([(memory_b, 10**9)])
        parts.append(f"{memory_b / 1e9:.3g} GB")
    for kind, gpus in _gpus(resources, tasks):
        power_uw += gpus * find_gpu(gpu_tdp(), kind).tdp.tdp_mw * GPU_BUSY.share
        parts.append(count(gpus, "GPU") + (f" ({kind})" if kind else ""))
    return Power(power_uw / 1e6, f"modelled: {', '.join(parts)} at full load")


def _tasks(resources: Resources) -> int:
    if resources.ntasks is not None:
        return resources.ntasks
    return (resources.min_nodes or 1) * (resources.ntasks_per_node or 1)


def _memory_b(resources: Resources, cpus: int) -> int:
    """Requested bytes; 0 if unknown (``mem: 0`` means all memory of a node)."""
    if resources.mem_per_cpu is not None:
        return parse_memory(resources.mem_per_cpu) * cpus
    return parse_memory(resources.mem) * (resources.min_nodes or 1) if resources.mem is not None else 0


def _gpus(resources: Resources, tasks: int) -> list[tuple[str | None, int]]:
    """Types and numbers of the GPUs of the whole job, from the first key that requests any."""
    nodes = resources.min_nodes or 1
    for asked, times in ((resources.gpus, 1), (resources.gpus_per_node, nodes), (resources.gpus_per_task, tasks)):
        if asked is not None:
            parts = (part.rpartition(":") for part in asked.split(","))
            return [(kind or None, int(number) * times) for kind, _, number in parts if int(number)]
    found = (_GRES_GPU.fullmatch(part.strip()) for part in (resources.gres or "").split(","))
    counted = [(match["type"], int(match["count"] or 1) * nodes) for match in found if match]
    return [(kind, number) for kind, number in counted if number]
