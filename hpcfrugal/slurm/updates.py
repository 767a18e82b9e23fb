"""Changes of jobs that are in the queue, by scontrol and scancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import slurm_time
from hpcfrugal.slurm.command import Result, first_line


@dataclass(frozen=True, slots=True)
class UpdateJob(Request[str | None]):
    """Change a waiting job. Answers why Slurm refuses, such as for a job that has started; None where it is done."""

    job_id: str
    start_at: datetime | Literal["now"]
    comment: str | None = None

    timeout_s = 30.0

    def argv(self) -> list[str]:
        """``scontrol update``."""
        start = self.start_at if self.start_at == "now" else slurm_time(self.start_at)
        changes = [f"StartTime={start}", *([] if self.comment is None else [f"Comment={self.comment}"])]
        return ["scontrol", "update", f"JobId={self.job_id}", *changes]

    def answer(self, result: Result) -> str | None:
        """The first line of Slurm's message."""
        return _refusal(result)


@dataclass(frozen=True, slots=True)
class HoldJob(Request[str | None]):
    """Keep a waiting job, or tasks of an array, from starting. Answers as ``UpdateJob``."""

    job_id: str

    timeout_s = 30.0

    def argv(self) -> list[str]:
        """``scontrol hold``."""
        return ["scontrol", "hold", self.job_id]

    def answer(self, result: Result) -> str | None:
        """The first line of Slurm's message."""
        return _refusal(result)


@dataclass(frozen=True, slots=True)
class ReleaseJob(HoldJob):
    """Let a held job start. Answers as ``UpdateJob``."""

    def argv(self) -> list[str]:
        """``scontrol release``."""
        return ["scontrol", "release", self.job_id]


@dataclass(frozen=True, slots=True)
class CancelJobs(Request[None]):
    """Cancel jobs; one that is over already is no error."""

    job_ids: Sequence[str]

    def argv(self) -> list[str]:
        """``scancel``."""
        return ["scancel", *self.job_ids]

    def answer(self, result: Result) -> None:
        """Raises SetupError: Slurm refuses."""
        if result.problem is not None and "already completing or completed" not in result.err:
            raise SetupError(result.problem)


def _refusal(result: Result) -> str | None:
    # Of an array that has begun, running tasks are refused and waiting ones are changed: these say "No error".
    done = any(line.rstrip().endswith(": No error") for line in result.err.splitlines())
    return None if result.code == 0 or done else first_line(result.err or result.out)
