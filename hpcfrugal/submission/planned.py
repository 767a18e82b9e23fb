"""The plan of a job that is to be submitted, by its own schedule or by that of its low-carbon queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcfrugal.core.quick import dataclass
from hpcfrugal.job import JobSpec
from hpcfrugal.job.backend import Backend
from hpcfrugal.job.sbatch_flags import sbatch_flags
from hpcfrugal.settings.config import Config, template_dirs
from hpcfrugal.submission.local_limits import task_count, tasks_in_turn

if TYPE_CHECKING:
    from hpcfrugal.planning.decide.plan import Plan
    from hpcfrugal.planning.decide.time_budget import TimeBudget
    from hpcfrugal.queues.admission import QueueAdmission


@dataclass(slots=True)
class Submission:
    """What the jobs of one command share.

    ``start_now``: they are not delayed. ``queue`` is the low-carbon queue for all, in place of that of a file.
    ``script_arguments`` follow those of a file. In a
    queue each job counts for the ``admission`` of the next one, and all share the ``time_budget`` for Slurm.
    """

    backend: Backend
    config: Config
    start_now: bool = False
    queue: str | None = None
    script_arguments: tuple[str, ...] = ()
    admission: QueueAdmission | None = None
    time_budget: TimeBudget | None = None
    template_dirs: tuple[Path, ...] = field(default_factory=template_dirs)

    @property
    def slurm(self) -> bool:
        """Whether they run under Slurm."""
        return self.backend.name != "local"


def planned(spec: JobSpec, source: Path, submission: Submission, now: datetime) -> tuple[JobSpec, Plan | None]:
    """The job with its queue's defaults, and its plan; None for a job that starts as soon as it can.

    Raises:
        InputError: the deadline has passed, the queue does not exist or cannot follow the job.
        ForecastError: there is no forecast, and the job has ``require_forecast``.
    """
    return _in_queue(spec, source, submission, now, lambda queued: _plan(queued, source, submission, now))


def preview(spec: JobSpec, source: Path, submission: Submission, now: datetime, *, refresh: bool = False) -> Plan:
    """The plan as it would be now, also of a job that starts as soon as it can. Raises what ``planned`` raises.

    ``refresh``: fetch the forecast even if a cached one is recent.
    """
    from hpcfrugal.planning.decide.job_plan import plan_job

    def make(queued: JobSpec) -> Plan:
        return plan_job(
            queued,
            submission.config,
            now=now,
            where=str(source),
            slurm=submission.slurm,
            options=sbatch_flags(queued),
            **({} if submission.slurm else _as_a_whole(queued)),
            again=refresh,
        )

    _, plan = _in_queue(spec, source, submission, now, make)
    assert plan is not None
    return plan


def _in_queue(
    spec: JobSpec, source: Path, submission: Submission, now: datetime, make: Callable[[JobSpec], Plan | None]
) -> tuple[JobSpec, Plan | None]:
    """The job with the defaults of its queue, and the plan that ``make`` makes of it, fitted into the queue."""
    config = submission.config
    where = f"{source}: schedule.queue"
    if submission.queue is not None:
        where = "queue"
        spec = spec.changed(schedule=spec.schedule.changed(queue=submission.queue))
    name = spec.schedule.queue
    # With Slurm the admission looks it up. Here, without any queue in the settings, that of a file is ignored: the file
    # may be for another machine.
    if name is not None and (submission.queue is not None or (not submission.slurm and config.tables("queues"))):
        from hpcfrugal.queues.settings import the_queue

        the_queue(config, name, where=where)
    if name is None or not submission.slurm:
        return spec, make(spec)
    from hpcfrugal.queues.admission import QueueAdmission

    admission = submission.admission = submission.admission or QueueAdmission(config)
    spec, found = admission.admit(spec, where=str(source), start_now=submission.start_now)
    plan = make(spec)
    if found is not None and plan is not None:
        return admission.place(spec, found, plan, now, released=submission.start_now)
    return spec, plan


def _as_a_whole(spec: JobSpec) -> dict[str, Any]:
    """How the tasks of an array run on this machine, which starts them all by one plan."""
    in_turn = tasks_in_turn(spec.resources)
    return {"in_turn": in_turn, "at_once": task_count(spec.resources) / in_turn}


def _plan(spec: JobSpec, source: Path, submission: Submission, now: datetime) -> Plan | None:
    schedule, config = spec.schedule, submission.config
    if schedule.effective_policy == "asap":
        return None
    from hpcfrugal.planning.decide.job_plan import plan_job, start_now_plan

    if submission.start_now:
        return start_now_plan(spec, now, "an immediate start was asked for")
    if not submission.slurm:
        return plan_job(spec, config, now=now, where=str(source), slurm=False, **_as_a_whole(spec))
    from hpcfrugal.planning.decide.time_budget import TimeBudget

    budget = submission.time_budget = submission.time_budget or TimeBudget()
    options = sbatch_flags(spec)
    return plan_job(spec, config, now=now, where=str(source), options=options, time_budget=budget)
