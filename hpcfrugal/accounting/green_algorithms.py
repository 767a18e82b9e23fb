"""The method of the Green Algorithms: energy and CO2e of a job from what it held, by figures of the site.

    E = t x (n_c x P_c x u_c + n_g x P_g + n_m x P_m) x PUE x 0.001        C = E x CI

(Lannelongue, Grealey, Inouye, Green Algorithms: Quantifying the Carbon Footprint of Computation, Adv. Sci. 8, 2100707,
2021, doi:10.1002/advs.202100707.) E in kWh, t in hours, P in watts per core, GPU and GB of memory; u_c is the share of
the cores' time that was used. As in GreenAlgorithms4HPC, CPU time that was not counted stands for cores in use all the
time, CPU time above that of the cores counts as it is, and GPUs are in use all the time. Slurm's G are GB.
"""

from __future__ import annotations

from hpcfrugal.core.quick import dataclass

METHOD = "green-algorithms"
METHOD_VERSION = "Lannelongue 2021"

MEMORY_W_PER_GB = 0.3725
"""Of the paper."""

_GB = 1 << 30
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class GreenAlgorithmsPower:
    """Figures of a site or of one of its partitions; None: not given. Without a PUE, energy is that of the machines."""

    core_w: float
    gpu_w: float | None
    memory_w_per_gb: float
    pue: float | None
    g_per_kwh: float | None


@dataclass(frozen=True, slots=True)
class HeldResources:
    """What a job held for a time, and the CPU time that it used; None: not known."""

    elapsed_s: int | None
    cpus: int | None
    cpu_s: float | None
    gpus: int | None
    memory_b: int | None


def green_algorithms_kwh(held: HeldResources, power: GreenAlgorithmsPower) -> float | None:
    """Energy with the PUE, if there is one; None where a figure is missing that it needs."""
    if held.elapsed_s is None or held.cpus is None or held.memory_b is None or held.gpus is None:
        return None
    if held.gpus and power.gpu_w is None:
        return None
    hours = held.elapsed_s / _HOUR_S
    core_hours = held.cpu_s / _HOUR_S if held.cpu_s else held.cpus * hours
    gpu_wh = held.gpus * (power.gpu_w or 0.0) * hours
    memory_wh = held.memory_b / _GB * power.memory_w_per_gb * hours
    return (core_hours * power.core_w + gpu_wh + memory_wh) * (power.pue or 1.0) / 1000
