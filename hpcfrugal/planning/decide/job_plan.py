"""The plan of one job, from Slurm's estimates, the ledger's history and a forecast."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

from hpcfrugal.carbon.forecast import get_forecast
from hpcfrugal.core.directories import cache_dir
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.pue import pue_at
from hpcfrugal.core.time import instant_ns
from hpcfrugal.core.user import user_name
from hpcfrugal.job import JobSpec
from hpcfrugal.job.batch_script import deadline_in
from hpcfrugal.planning.decide.bounds import Bounds, bounds_of
from hpcfrugal.planning.decide.history import FEWEST_RUNS, History, job_history
from hpcfrugal.planning.decide.job_facts import ASAP, JobFacts, plan_on_forecast, plan_start_now
from hpcfrugal.planning.decide.plan import DurationBasis, Plan
from hpcfrugal.planning.decide.power import Power, expected_power
from hpcfrugal.planning.decide.slurm_estimate import SlurmEstimate, SlurmQueries, without_queue
from hpcfrugal.planning.decide.time_budget import TimeBudget
from hpcfrugal.planning.optimise.runtimes import Runtimes
from hpcfrugal.settings.config import Config

ASSUMED = timedelta(hours=1)
"""The assumed run time of a job without a time limit and earlier runs."""

_LOOKED_AHEAD = timedelta(days=14)
_DAY = timedelta(days=1)


def plan_job(
    spec: JobSpec,
    config: Config,
    *,
    now: datetime,
    where: str,
    slurm: bool = True,
    options: Sequence[str] = (),
    in_turn: int = 1,
    at_once: float = 1,
    again: bool = False,
    time_budget: TimeBudget | None = None,
) -> Plan:
    """The plan of a job that is submitted ``now``; made in under five seconds, even if services do not answer.

    Args:
        where: name of the file in error messages.
        slurm: whether to query Slurm; ``options`` are those of the job, for ``sbatch --test-only``.
        in_turn: how many tasks of an array run one after the other, and ``at_once`` how many at a time on average; they
            are planned as a whole.
        again: fetch the forecast even if a cached one is recent.
        time_budget: shared by all jobs that one command plans.

    Raises:
        InputError: the deadline has passed, or the settings of a provider are wrong.
        ForecastError: there is no forecast, and the file sets ``require_forecast``.
    """
    schedule = spec.schedule
    ends_by = deadline_in(spec.directives)
    own_limit = None if spec.resources.time is None else spec.resources.time * in_turn
    bounds_of(schedule, own_limit, now, where=where, slurm_deadline=ends_by)
    queries = SlurmQueries(spec, options, now, cache_dir(), time_budget) if slurm else None
    pool = ThreadPoolExecutor(max_workers=1)
    pending_history = pool.submit(job_history, config.ledger, user_name(), spec.name)
    forecast, failure = None, None
    try:
        # From before now, so that the current slot is complete.
        forecast = get_forecast(
            config, schedule.zone, schedule.signal or "average", now - _DAY, now + _LOOKED_AHEAD, refresh=again
        )
    except ForecastError as error:
        failure = error
    finally:
        estimate = queries.answers() if queries is not None else without_queue(own_limit)
        history = pending_history.result()
        pool.shutdown()
    if failure is not None and schedule.require_forecast:
        raise ForecastError(f"{where}: schedule.require_forecast: {failure.message}", hint=failure.hint) from failure
    bounds = bounds_of(schedule, estimate.limit, now, where=where, slurm_deadline=ends_by)
    notes = (history.problem,) if history.problem else ()
    power = expected_power(spec.resources, history).of_tasks(at_once)
    facts = JobFacts(
        spec, now, bounds, estimate, power, *_runtimes(history, estimate, in_turn),
        pue=pue_at(config.carbon.pue, instant_ns(now)), notes=notes,
    )  # fmt: skip
    if forecast is None:
        assert failure is not None
        why = f"no forecast: {failure.message}"
        if schedule.effective_policy == "asap":
            return plan_start_now(replace(facts, notes=(*notes, why)), ASAP)
        return plan_start_now(facts, why)
    return plan_on_forecast(facts, forecast)


def start_now_plan(spec: JobSpec, now: datetime, reason: str) -> Plan:
    """The plan of a job that starts now in any case, made without any query."""
    limit = spec.resources.time
    estimate = SlurmEstimate(limit)
    bounds = Bounds(max(now, spec.schedule.earliest or now), None, None, limit)
    return plan_start_now(JobFacts(spec, now, bounds, estimate, Power(), *_runtimes(History(), estimate)), reason)


def _runtimes(history: History, estimate: SlurmEstimate, in_turn: int = 1) -> tuple[Runtimes, DurationBasis, str]:
    """Run times to plan with and where they come from; ``estimate`` has the limit of all tasks ``in_turn``."""
    turns = f"; {in_turn} tasks one after the other" if in_turn > 1 else ""
    if len(history.runtimes) >= FEWEST_RUNS:
        past = [runtime * in_turn for runtime in history.runtimes]
        source = f"history, {len(past)} runs{turns}"
        return Runtimes.from_samples(past, estimate.limit or past[-1]), "history", source
    if estimate.limit is not None:
        return Runtimes.certain(estimate.limit), "time limit", f"{estimate.limit_source}{turns}"
    assumed = f"assumed: no time limit and no earlier runs are known{turns}"
    return Runtimes.certain(ASSUMED * in_turn), "assumption", assumed
