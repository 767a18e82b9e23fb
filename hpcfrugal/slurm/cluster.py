"""The cluster: its name, what it gives out, the release of its Slurm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import whole_number, word
from hpcfrugal.slurm.command import Result, first_line


@dataclass(frozen=True, slots=True)
class EnergyGathering:
    """How Slurm gathers energy. ``plugin`` is AcctGatherEnergyType without its prefix; None: none.

    ``contain``: each job has an extern step (PrologFlags). ``step_s`` is AcctGatherNodeFreq; 0 or None: not set.
    """

    plugin: str | None = None
    contain: bool = False
    step_s: int | None = None


@dataclass(frozen=True, slots=True)
class PowerSaving:
    """When Slurm switches idle nodes off (slurm.conf(5)), in seconds; ``suspend_s`` None: it does not."""

    suspend_s: int | None = None
    suspend_timeout_s: int = 30
    resume_timeout_s: int = 60


@dataclass(frozen=True, slots=True)
class Cluster:
    """``allocates_cpus``: each CPU is given to one job, unless a partition lets jobs share. Where memory alone is what
    jobs consume, any number of them may be given one CPU (slurm.conf(5), SelectTypeParameters). ``release`` is that of
    the controller, such as 22.05.8. The indices of the tasks of an array are below ``max_array_size``, where it is
    shown.
    """

    name: str
    allocates_cpus: bool
    release: str | None = None
    energy: EnergyGathering = field(default_factory=EnergyGathering)
    power_saving: PowerSaving = field(default_factory=PowerSaving)
    max_array_size: int | None = None


@dataclass(frozen=True, slots=True)
class ClusterRequest(Request[Cluster]):
    """The controller's configuration."""

    timeout_s = 30.0

    def argv(self) -> list[str]:
        """``scontrol show config``."""
        return ["scontrol", "show", "config"]

    def answer(self, result: Result) -> Cluster:
        """Raises SetupError: the controller does not answer, or names no cluster."""
        cells = (line.partition("=") for line in result.out.splitlines())
        config = {key.strip(): value.strip() for key, _, value in cells}
        if "ClusterName" not in config:
            raise SetupError(
                f"Slurm does not answer: {first_line(result.err)}"
                if result.code
                else "Slurm's configuration has no ClusterName"
            )
        consumed = config.get("SelectTypeParameters", "").upper()
        allocates = config.get("SelectType") == "select/linear" or any(
            resource in consumed for resource in ("CR_CPU", "CR_CORE", "CR_SOCKET")
        )
        return Cluster(
            config["ClusterName"],
            allocates,
            word(config.get("SLURM_VERSION", "")),
            _energy(config),
            _saving(config),
            whole_number(config.get("MaxArraySize", "")),
        )


def _energy(config: Mapping[str, str]) -> EnergyGathering:
    plugin = word(config.get("AcctGatherEnergyType", ""))
    plugin = None if plugin is None else plugin.rpartition("/")[2]
    flags = {flag.strip().lower() for flag in config.get("PrologFlags", "").split(",")}
    return EnergyGathering(
        None if plugin == "none" else plugin, "contain" in flags, _seconds(config.get("AcctGatherNodeFreq", ""))
    )


def _saving(config: Mapping[str, str]) -> PowerSaving:
    usual = PowerSaving()
    suspend_s = _seconds(config.get("SuspendTime", ""))
    if not suspend_s or word(config.get("SuspendProgram", "")) is None:
        suspend_s = None
    timeouts = (_seconds(config.get(key, "")) for key in ("SuspendTimeout", "ResumeTimeout"))
    usually = (usual.suspend_timeout_s, usual.resume_timeout_s)
    return PowerSaving(
        suspend_s, *(default if known is None else known for known, default in zip(timeouts, usually, strict=True))
    )


def _seconds(text: str) -> int | None:
    """``30 sec``; None for NONE, INFINITE and what is not there."""
    match = re.fullmatch(r"([0-9]{1,9})(?: sec)?", text)
    return None if match is None else int(match[1])


@dataclass(frozen=True, slots=True)
class ReleaseRequest(Request[str]):
    """The release of Slurm's commands, such as ``slurm 22.05.8``."""

    timeout_s = 10.0

    def argv(self) -> list[str]:
        """``sbatch --version``."""
        return ["sbatch", "--version"]

    def answer(self, result: Result) -> str:
        """Raises SetupError: sbatch does not run."""
        return result.output().strip()
