"""From a job file to a rendered script: checked and planned, nothing written yet."""

from __future__ import annotations

import math
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hpcfrugal.core.directories import working_directory
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.job import JobSpec, load_job
from hpcfrugal.job.backend import RenderedJob
from hpcfrugal.job.render import Rendered, SegmentPlan, UserScript, render_script
from hpcfrugal.spool import RunDir, new_run_id
from hpcfrugal.submission.local_limits import refuse_for_local, tasks_at_once
from hpcfrugal.submission.planned import Submission, planned
from hpcfrugal.submission.script import (
    flags_for,
    interpreter,
    read_script,
    refuse_large_array,
    refuse_other_cluster,
    script_text,
)
from hpcfrugal.submission.warnings import warnings_of

if TYPE_CHECKING:
    from hpcfrugal.planning.decide.plan import Plan


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that is checked, planned and rendered, with nothing written yet.

    ``plan`` is None for a job that starts as soon as it can, ``zone`` and ``pue`` if they are unknown. ``warnings``
    are settings without effect, or with which the job fails at its start, a sentence each. ``ledger`` is that of the
    settings.
    """

    source: Path
    spec: JobSpec
    run_id: str
    run_dir: RunDir
    created_at: datetime
    workdir: Path
    rendered: Rendered
    arguments: tuple[str, ...]
    user_script: bytes | None
    plan: Plan | None
    ledger: Path
    zone: str | None
    pue: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def for_backend(self) -> RenderedJob:
        """The job as it is handed to a backend, once its script is in the run directory."""
        spec, planned = self.spec, self.plan.begin_at if self.plan is not None else None
        return RenderedJob(
            run_id=self.run_id,
            name=spec.name,
            script=self.run_dir.script,
            content=self.rendered.data,
            workdir=self.workdir,
            arguments=self.arguments,
            output=spec.output,
            error=spec.error,
            limit=spec.resources.time,
            begin=planned or spec.schedule.earliest,
            array=spec.resources.array,
            tasks_at_once=tasks_at_once(spec.resources),
        )


def prepare(source: Path, submission: Submission, now: datetime | None = None) -> Prepared:
    """Load, check, plan and render a job file. Writes nothing.

    Raises:
        InputError: every problem of the file at once.
        SetupError: there is no forecast, and the file has ``require_forecast``.
    """
    return prepare_spec(load_job(source), source, submission, now)


def prepare_spec(spec: JobSpec, source: Path, submission: Submission, now: datetime | None = None) -> Prepared:
    """Check, plan and render a job; messages name ``source``. Writes nothing. Raises what ``prepare`` raises."""
    config = submission.config
    if submission.script_arguments:
        if spec.script is None:
            raise InputError.at(f"{source}: command", "takes no arguments", "write them into the command")
        spec = spec.changed(args=(*spec.args, *submission.script_arguments))
    if not submission.slurm:
        refuse_for_local(spec, source)
    else:
        refuse_other_cluster(spec, source, submission.backend)
        refuse_large_array(spec, source, submission.backend)
    created_at = now or datetime.now(UTC)
    run_id = new_run_id(created_at, secrets.token_hex(8))
    run_dir = RunDir.of(config.spool, run_id)
    user_script = script = None
    if spec.script is not None:
        user_script = read_script(Path(spec.script), source)
        script = UserScript(interpreter(user_script), str(run_dir.user_script), script_text(user_script))
    spec, plan = planned(spec, source, submission, created_at)
    segments = _segments(spec, plan)
    flags = flags_for(spec, begin=plan.begin_at if plan is not None else None, interrupted=segments is not None)
    rendered = render_script(
        spec,
        flags=[flag for flag in flags if not _needs_argv(flag)],
        script=script,
        run_id=run_id,
        run_dir=run_dir.path,
        slurm=submission.slurm,
        pythons=config.sidecar.python,
        template_dirs=submission.template_dirs,
        where=str(source),
        segments=segments,
    )
    workdir = Path(spec.workdir) if spec.workdir else working_directory()
    arguments = tuple(flag for flag in flags if _needs_argv(flag))
    zone = spec.schedule.zone or config.carbon.zone
    return Prepared(
        source, spec, run_id, run_dir, created_at, workdir, rendered, arguments, user_script, plan, config.ledger, zone,
        config.carbon.constant_pue, warnings_of(spec, workdir, slurm=submission.slurm),
    )  # fmt: skip


def _segments(spec: JobSpec, plan: Plan | None) -> SegmentPlan | None:
    """The part of the plan that the batch script of a job in segments needs."""
    interruptible = spec.schedule.interruptible
    if plan is None or not plan.segments or interruptible is None or plan.limit is None or plan.deadline_at is None:
        return None
    return SegmentPlan(
        windows=tuple((int(one.start_at.timestamp()), math.ceil(one.end_at.timestamp())) for one in plan.segments),
        limit_s=math.ceil(plan.limit.total_seconds()),
        deadline_s=int(plan.deadline_at.timestamp()),
        margin_s=math.ceil(plan.wait.most.total_seconds()) if plan.wait.most is not None else 0,
        signal=interruptible.signal,
        grace_s=math.ceil(interruptible.grace.total_seconds()),
        restart_cost_s=math.ceil(interruptible.restart_cost.total_seconds()),
        checkpoint_cost_s=math.ceil(interruptible.checkpoint_cost.total_seconds()),
    )


def _needs_argv(flag: str) -> bool:
    """Whether it has to be an argument: a value with a line break fits on no #SBATCH line."""
    return "\n" in flag or "\r" in flag
