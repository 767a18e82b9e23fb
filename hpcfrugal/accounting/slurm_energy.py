"""What Slurm's own energy of a job is worth: ConsumedEnergyRaw of the job and of its steps.

Plugins read the whole node, so each step has the energy of its nodes while it ran, whatever else ran there. slurmctld
adds up the steps of a job, or with PrologFlags=Contain takes that of the extern step alone, which is there from the
start of the job to its end (``_internal_step_complete`` in src/stepmgr/stepmgr.c of Slurm 25.05). So without an extern
step the job's own figure has a node's energy twice, where a step ran beside the batch script, or it lacks that of the
batch script: 22.05 was seen to add up the other steps alone, so that a job without any has no figure.

What releases got wrong is from their CHANGELOG files: bad figures after a restart of slurmd (mended in 24.11.0), DRAM
of Intel servers from Haswell to Sapphire Rapids in too large units with rapl, about four times as much (25.05.0), and
0 with ipmi without named sensors (24.05.2). Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from hpcfrugal.accounting.quantiles import quantile
from hpcfrugal.core.quick import dataclass

EnergyUse = Literal["measured", "upper bound", "unusable"]

NODE_PLUGINS = frozenset({"ipmi", "xcc", "pm_counters", "ibmaem", "cray_aries"})
"""Plugins that read the power of the whole node."""

COVERS = {"rapl": frozenset({"cpu", "dram"}), "gpu": frozenset({"gpu"}), "rsmi": frozenset({"gpu"})}
"""The components that other plugins read."""

RAPL_DRAM_MENDED = (25, 5)
_CLOSE = 0.02
"""Figures of a job and its steps that are the same differ by no more: they are read at slightly different times."""

_NOT_SET = (0xFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF)
_MOST_STEPS = 64
"""So many figures of steps that mean "not set" may have been added up."""

_LEAST_S = 2
"""A job that took so many times the step of Slurm's readings, or less, may have been read at no time of its own."""

UNKNOWN_NODE_W = (5.0, 20_000.0)
"""Least and greatest power of a node of which nothing is known."""


class StepEnergy(NamedTuple):
    """Joules by Slurm of the job, of its batch and extern step, and of its other steps together; None: not printed."""

    job_j: int | None
    batch_j: int | None = None
    extern_j: int | None = None
    steps_j: int | None = None


class PlausiblePower(NamedTuple):
    """The least and the greatest power of all nodes of a job together, in watts."""

    least_w: float
    most_w: float


@dataclass(frozen=True, slots=True)
class GatheredJob:
    """A job as its figure is judged. ``alone``: it had all CPUs of its nodes; None: not known. ``plausible`` is the
    power of its nodes together, ``step_s`` the time between Slurm's readings; None: not known."""

    energy: StepEnergy
    elapsed_s: int | None
    nodes: int
    alone: bool | None
    contain: bool
    plausible: PlausiblePower
    step_s: int | None = None
    resized: bool = False


@dataclass(frozen=True, slots=True)
class JudgedEnergy:
    """``energy_j`` is the energy of the job's nodes in its time, None where there is none that can be used. ``why`` is
    the reason, the same text for all jobs that have it."""

    use: EnergyUse
    energy_j: int | None
    why: str


def judge_energy(job: GatheredJob) -> JudgedEnergy:
    """What a job's figure is worth by itself. The release, the plugin and a comparison may lessen that of all jobs."""
    energy = job.energy
    if not any(energy):
        return _unusable("Slurm has no energy of the job, or 0")
    if any(_is_not_set(one) for one in energy if one):
        return _unusable('a number that means "not set" was added up')
    if not job.elapsed_s or job.resized:
        return _unusable("the job was resized" if job.resized else "the time of the job is not known")
    if job.step_s and job.elapsed_s <= _LEAST_S * job.step_s:
        return _unusable("the job was too short for Slurm's readings")
    energy_j, why = _of_nodes(energy, job.nodes, contain=job.contain)
    if energy_j is None:
        return _unusable(why)
    power_w = energy_j / job.elapsed_s
    if power_w < job.plausible.least_w:
        return _unusable("less power than idle nodes draw")
    if power_w > job.plausible.most_w:
        return _unusable("more power than the nodes can draw")
    if job.alone is None:
        return JudgedEnergy("upper bound", energy_j, "it is not known whether the job had its nodes alone")
    if not job.alone:
        return JudgedEnergy("upper bound", energy_j, "the job did not have its nodes alone")
    return JudgedEnergy("measured", energy_j, why)


def _unusable(why: str) -> JudgedEnergy:
    return JudgedEnergy("unusable", None, why)


def _is_not_set(joules: int) -> bool:
    return any(joules % number == 0 and joules <= _MOST_STEPS * number for number in _NOT_SET)


def _of_nodes(energy: StepEnergy, nodes: int, *, contain: bool) -> tuple[int | None, str]:
    """The energy of the job's nodes in its time, and of which steps; None where these do not make the job's figure."""
    job_j, batch_j, extern_j, steps_j = energy
    if extern_j:
        every_j = extern_j + (batch_j or 0) + (steps_j or 0)
        if job_j and not (_same(job_j, extern_j) or _same(job_j, every_j)):
            return None, "the job's figure is neither that of its extern step nor the sum of its steps"
        return extern_j, "of the extern step"
    if batch_j is None and steps_j is None:
        if contain and extern_j is None and job_j:
            return job_j, "of the job, with an extern step that is not in the text"
        return None, "no step has energy"
    if contain:
        return None, "the extern step has no energy"
    sums_j = ((batch_j or 0) + (steps_j or 0), steps_j or 0)
    if job_j and not any(_same(job_j, sum_j) for sum_j in sums_j):
        return None, "the job's figure is not the sum of its steps"
    if not batch_j:
        return None, "without a batch or extern step, the time between steps is not counted"
    if nodes > 1:
        return None, "the batch step is of one of several nodes"
    return batch_j, "of the batch step"


def _same(one_j: int, other_j: int) -> bool:
    return abs(one_j - other_j) <= max(2, _CLOSE * max(one_j, other_j))


def release_of(text: str | None) -> tuple[int, int] | None:
    """``22.05.8`` as (22, 5)."""
    major, _, rest = (text or "").partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


class EnergyComparison(NamedTuple):
    """Slurm's figure over ours: of how many jobs, the median, and 5 and 95 %."""

    jobs: int
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> EnergyComparison | None:
        """None where nothing was compared."""
        if not ratios:
            return None
        return cls(len(ratios), quantile(ratios, 0.5), quantile(ratios, 0.05), quantile(ratios, 0.95))


COMPARED_ENOUGH = 5
"""So many compared jobs decide."""

SAME_BOUNDARY = (0.9, 1.1)
WIDER_BOUNDARY = (0.95, 2.0)
"""What Slurm's figure is of ours where both read the same, and where its plugin reads the whole node and ours its
processors, memory and GPUs alone: power supplies, fans and disks come to it."""

_SPREAD = 1.25


def judge_setup(
    plugin: str | None,
    release: str | None,
    judged: Sequence[EnergyUse],
    compared: EnergyComparison | None,
    bounds: tuple[float, float],
) -> tuple[EnergyUse, list[str]]:
    """The verdict on a plugin and release by what each job's figure is worth and by the comparison, with the reasons.

    ``bounds`` are the median ratios that are right.
    """
    if plugin is None:
        return "unusable", ["Slurm gathers no energy (AcctGatherEnergyType)"]
    if plugin not in NODE_PLUGINS and plugin not in COVERS:
        return "unusable", [f"what the plugin {plugin} reads is not known to this program"]
    if not any(use != "unusable" for use in judged):
        return "unusable", ["no job has a figure that can be used"]
    known = release_of(release)
    if compared is not None and compared.jobs >= COMPARED_ENOUGH:
        low, high = bounds
        if compared.median < low:
            return "unusable", [f"it is {compared.median:.2f} of what we measured: something is missing"]
        if compared.median > high:
            return "upper bound", [f"it is {compared.median:.2f} of what we measured"]
        if compared.low < low / _SPREAD or compared.high > high * _SPREAD:
            spread = f"from {compared.low:.2f} to {compared.high:.2f}"
            return "upper bound", [f"it is {spread} of what we measured: it cannot be relied on for a job"]
        reasons = [f"it agrees with {compared.jobs} jobs that we measured"]
    elif plugin == "rapl" and (known is None or known < RAPL_DRAM_MENDED):
        return "upper bound", ["before 25.05 the rapl plugin has the memory of many servers about four times too large"]
    else:
        reasons = [f"compared with {compared.jobs if compared else 0} measured jobs, too few to confirm it"]
    if "measured" not in judged:
        return "upper bound", [*reasons, "no job is known to have had its nodes alone"]
    return "measured", reasons
