"""How a job comes into a low-carbon queue: what the queue adds to its file, and its place among the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.config import Config
from hpcfrugal.errors import SetupError
from hpcfrugal.jobspec import JobSpec
from hpcfrugal.planning.job_plan import FROM_HISTORY
from hpcfrugal.planning.outlook import TIMEOUT_S
from hpcfrugal.planning.plan import Expectation, Plan
from hpcfrugal.queues.board import QueuedJob, read_board
from hpcfrugal.queues.horizon import foreseen, gridded
from hpcfrugal.queues.replan import Planned, place
from hpcfrugal.queues.settings import Queue, the_queue
from hpcfrugal.queues.ticket import Ticket, with_ticket
from hpcfrugal.user import user_name

_COMMENT = "--comment="


def entered(spec: JobSpec, queue: Queue) -> JobSpec:
    """The job with what the queue says wherever its own file says nothing."""
    resources, schedule = spec.resources, spec.schedule
    if spec.directives and any("--partition" in line or " -p" in line for line in spec.directives):
        partition = resources.partition
    else:
        partition = resources.partition or queue.partition
    bound = schedule.max_delay if schedule.deadline is not None else schedule.max_delay or queue.max_delay
    return spec.model_copy(
        update={
            "resources": resources.model_copy(
                update={"partition": partition, "qos": resources.qos or queue.qos}
            ),
            "schedule": schedule.model_copy(
                update={
                    "queue": queue.name,
                    "max_delay": bound,
                    "zone": schedule.zone or queue.zone,
                    "signal": schedule.signal or queue.signal,
                    "min_saving": queue.min_saving if schedule.min_saving is None else schedule.min_saving,
                }
            ),
        }
    )  # fmt: skip


def _ticket(spec: JobSpec, queue: Queue, latest: datetime, released: bool) -> Ticket:
    limit = spec.resources.time
    odd = limit is not None and limit % timedelta(minutes=1) != timedelta()
    return Ticket(queue.name, latest, spec.schedule.earliest, limit if odd else None, released=released)


def with_comment(spec: JobSpec, ticket: Ticket) -> JobSpec:
    """The job with its ticket in its comment, beside the comment that its file asks for."""
    own = [flag.removeprefix(_COMMENT) for flag in spec.sbatch if flag.startswith(_COMMENT)]
    others = tuple(flag for flag in spec.sbatch if not flag.startswith(_COMMENT))
    comment = with_ticket(own[-1] if own else "", ticket)
    return spec.model_copy(update={"sbatch": (*others, f"{_COMMENT}{comment}")})


class Entrance:
    """The way of one submission's jobs into their queues: what Slurm has there is asked once, and each job that is
    placed is there for the next one, though Slurm has not seen it yet."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._board: list[QueuedJob] | None = None
        self._trouble: tuple[str, ...] = ()

    def enter(self, spec: JobSpec, *, where: str) -> tuple[JobSpec, Queue | None]:
        """The job with what its queue adds. One that is not to wait, ``policy: asap``, is in no queue.

        Raises:
            InputError: there is no such queue; ``where`` names the file.
        """
        name = spec.schedule.queue
        if name is None or spec.schedule.effective_policy == "asap":
            return spec, None
        queue = the_queue(self._config, name, where=f"{where}: schedule.queue")
        return entered(spec, queue), queue

    def place(self, spec: JobSpec, queue: Queue, plan: Plan, now: datetime, *, released: bool) -> tuple[JobSpec, Plan]:
        """The job with its ticket, and its plan with a start within the queue's capacity.

        Without a forecast the start stays as it is: safe, whoever else starts then. A job in segments follows its own
        plan and has no ticket.
        """
        plan = replace(plan, queue=queue.name)
        if plan.segments:
            return spec, plan
        ticket = _ticket(spec, queue, plan.latest_start_at or now + queue.max_delay, released)
        if plan.duration_source is not None and plan.duration_source.startswith(FROM_HISTORY):
            ticket = replace(ticket, run=plan.duration)
        if not released and plan.grid is not None and plan.limit is not None:
            board = self._read()
            series = gridded(_series(plan.grid.series), queue)
            job = foreseen(_as_queued(spec, plan, ticket, now), queue, series)
            found = place(queue, board, job, series, now, runs={job.job_id: ticket.run} if ticket.run else {})
            board.append(replace(job, begin_at=found.start_at))
            plan = _with_start(plan, queue, found, now)
            plan = replace(plan, notes=(*plan.notes, *self._trouble))
        return with_comment(spec, ticket), plan

    def _read(self) -> list[QueuedJob]:
        """What is in the queues. Where Slurm does not say so in time, only those that are submitted together count,
        until the next round; their starts are safe either way.
        """
        if self._board is None:
            try:
                self._board = read_board(TIMEOUT_S)
            except SetupError as error:
                self._board = []
                self._trouble = (f"what else waits in the queue is not known: {error.message}",)
        return self._board


def _with_start(plan: Plan, queue: Queue, found: Planned, now: datetime) -> Plan:
    expected = _expected(plan.expected, found)
    plan = replace(plan, reason=f"queue {queue.name}: {found.why}", expected=expected, best=None)
    if found.start_at <= now:
        return replace(plan, action="start-now", begin_at=None, start_at=plan.soonest_at)
    return replace(plan, action="wait", begin_at=found.start_at, start_at=found.start_at)


def _expected(expected: Expectation | None, found: Planned) -> Expectation | None:
    """The expectation at the start in the queue, by the forecast's own figures; the band as wide as it was."""
    if expected is None or found.saving is None or found.planned_g_per_kwh is None or found.now_g_per_kwh is None:
        return None
    low, high = (found.saving + edge - expected.saving for edge in expected.band)
    now_g = None if expected.now_g is None else expected.now_g * found.now_g_per_kwh / expected.now_g_per_kwh
    return replace(
        expected,
        now_g_per_kwh=found.now_g_per_kwh,
        now_forecast_g_per_kwh=found.now_g_per_kwh,
        then_g_per_kwh=found.planned_g_per_kwh,
        then_forecast_g_per_kwh=found.planned_g_per_kwh,
        saving=found.saving,
        band=(low, high),
        now_g=now_g,
        then_g=None if now_g is None else now_g * (1 - found.saving),
    )


def _series(series: CarbonSeries) -> CarbonSeries:
    """Without the piece of a slot at its start: cut at an odd second it would ask for steps of seconds."""
    edges = series.edges_us
    if len(edges) < 3:
        return series
    length = edges[2] - edges[1]
    return replace(series, edges_us=(edges[1] - length, *edges[1:])) if edges[1] - edges[0] < length else series


def _as_queued(spec: JobSpec, plan: Plan, ticket: Ticket, now: datetime) -> QueuedJob:
    """The job as it will stand in Slurm's queue."""
    resources = spec.resources
    nodes = resources.min_nodes or 1
    return QueuedJob(
        job_id="0",
        user=user_name(),
        name=spec.name,
        state="PENDING",
        nodes=nodes,
        cpus=max(nodes, (resources.ntasks or 1) * (resources.cpus_per_task or 1)),
        limit=plan.limit,
        submit_at=now.astimezone(UTC),
        begin_at=None,
        end_at=None,
        held=False,
        comment="",
        ticket=ticket,
    )
