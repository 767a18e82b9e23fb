"""The cluster: its name, what it gives out, the release of its Slurm."""

from __future__ import annotations

from dataclasses import dataclass

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.command import Result, first_line


@dataclass(frozen=True, slots=True)
class Cluster:
    """``allocates_cpus``: each CPU is given to one job, unless a partition lets jobs share. Where memory alone is what
    jobs consume, any number of them may be given one CPU (slurm.conf(5), SelectTypeParameters).
    """

    name: str
    allocates_cpus: bool


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
        return Cluster(config["ClusterName"], allocates)


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
