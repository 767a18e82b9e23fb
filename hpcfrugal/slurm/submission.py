"""Submission by sbatch, and its dry run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.job.backend import Submitted
from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import instant
from hpcfrugal.slurm.command import NoAnswer, Result, fatal_line, first_line

# "sbatch: Job 17 to start at 2026-11-21T08:48:15 using 1 processors on nodes n1 in partition batch": what sbatch logs
# for --test-only (slurm_job_will_run in Slurm's src/api/allocate.c). 26.05 has "a using", with several clusters it is
# "on cluster c1 using".
_WILL_RUN = re.compile(
    r"Job \d+ to start at (\S+)(?: a| on cluster \S+)? using \d+ processors on nodes \S+(?: in partition (\S+))?"
)
_SUBMITTED = re.compile(r"([0-9]+)(?:;([\w.-]*))?", re.ASCII)
# These would only delay the start that is asked about, or belong to the real submission.
_NOT_TESTED = frozenset({"--begin", "--dependency", "--output", "--error", "--array"})


@dataclass(frozen=True, slots=True)
class SubmitJob(Request[Submitted]):
    """Submit the script with this content; ``cluster`` of the answer is empty where sbatch does not name it."""

    script: Path
    content: bytes
    options: Sequence[str]

    timeout_s = 120.0
    environment_of_job = True

    def argv(self) -> list[str]:
        """``sbatch --parsable``."""
        return ["sbatch", "--parsable", *self.options, str(self.script)]

    def answer(self, result: Result) -> Submitted:
        """
        Raises:
            SetupError: sbatch refused the job, or Slurm cannot be reached.
            NoAnswer: sbatch printed something else than a job id, or was killed: the job may be in the queue.
        """
        # Where there is an id the job is in the queue, whatever the exit code.
        submitted = self.partial_answer(result)
        if submitted is not None:
            return submitted
        if result.code == 0:
            raise NoAnswer(f"sbatch answered {result.out.strip()!r}, which is not a job id")
        if result.code < 0:
            raise NoAnswer(f"sbatch was ended by signal {-result.code}")
        if "configuration source" in result.err or "Unable to contact" in result.err:
            raise SetupError(
                f"Slurm cannot be reached: {fatal_line(result.err)}",
                hint="is this a login node of the cluster? `submit --backend local` runs a job on this machine",
            )
        raise SetupError(f"sbatch refused the job: {first_line(result.err)}")

    def partial_answer(self, result: Result) -> Submitted | None:
        """The last line that is "id" or "id;cluster": site plugins and wrappers print before and after it."""
        for line in reversed(result.out.splitlines()):
            match = _SUBMITTED.fullmatch(line.strip())
            if match is not None:
                return Submitted(cluster=match[2] or "", job_id=match[1])
        return None


@dataclass(frozen=True, slots=True)
class ExpectedStart:
    """When Slurm would start a job that is submitted now, and in which partition (None: Slurm does not name it)."""

    start_at: datetime
    partition: str | None


@dataclass(frozen=True, slots=True)
class StartTest(Request[ExpectedStart]):
    """The start that Slurm expects for a job with these options, if it is submitted now and may start now."""

    options: Sequence[str]

    def argv(self) -> list[str]:
        """``sbatch --test-only`` of an empty script."""
        tested = [option for option in self.options if option.partition("=")[0] not in _NOT_TESTED]
        return ["sbatch", "--test-only", *tested, "--wrap=:"]

    def answer(self, result: Result) -> ExpectedStart:
        """Raises SetupError: sbatch would refuse the job, or names no start."""
        match = _WILL_RUN.search(result.err)
        start_at = instant(match[1]) if match is not None else None
        if result.code != 0 or match is None or start_at is None:
            raise SetupError(f"sbatch --test-only: {first_line(result.err)}")
        return ExpectedStart(start_at, match[2])


@dataclass(frozen=True, slots=True)
class ScriptTest(StartTest):
    """The start that Slurm expects for a script, with its own options."""

    script: Path

    environment_of_job = True

    def argv(self) -> list[str]:
        """``sbatch --test-only`` of the script."""
        return ["sbatch", "--test-only", *self.options, str(self.script)]
