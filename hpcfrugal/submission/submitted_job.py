"""A submitted job as `submit --json` prints it and as Python gets it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcfrugal.core.quick import dataclass

if TYPE_CHECKING:
    from hpcfrugal.planning.decide.plan import Plan


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job that Slurm or the local backend has accepted.

    ``job_id`` is the array's own id for a job array; ``cluster`` is empty where its name is not known. ``run_id`` names
    the run in `status`, `report` and the ledger. ``output`` is the file of its standard output, with the patterns that
    only Slurm can fill in. ``warnings`` are settings without effect here, a sentence each. ``plan`` is None for a job
    that starts as soon as it can.
    """

    job_id: str
    cluster: str
    run_id: str
    run_dir: Path
    name: str
    output: Path
    warnings: tuple[str, ...]
    plan: Plan | None

    def to_json(self) -> dict[str, Any]:
        """The JSON object of `hpcfrugal submit --json`."""
        return {
            "job_id": self.job_id,
            "cluster": self.cluster,
            "run_id": self.run_id,
            "run_dir": str(self.run_dir),
            "name": self.name,
            "output": str(self.output),
            "warnings": list(self.warnings),
            "plan": None if self.plan is None else self.plan.to_json(),
        }
