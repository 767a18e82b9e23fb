"""One job's plan: asks Slurm, the ledger and the grid's forecast what they know, and decides on it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from hpcfrugal.carbon.forecast import get_forecast
from hpcfrugal.core.directories import cache_dir
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.user import user_name
from hpcfrugal.job import JobSpec
from hpcfrugal.planning.decide.bounds import Bounds, bounds_of
from hpcfrugal.planning.decide.history import FEWEST_RUNS, History, like_jobs
from hpcfrugal.planning.decide.plan import Plan
from hpcfrugal.planning.decide.power import Power, expected_power
from hpcfrugal.planning.decide.proposal import JobFacts, at_once, proposed
from hpcfrugal.planning.decide.slurm_estimate import SlurmEstimate, SlurmQueries
from hpcfrugal.planning.decide.time_budget import TimeBudget
from hpcfrugal.planning.optimise.runtimes import Runtimes
from hpcfrugal.settings.config import Config

ASSUMED = timedelta(hours=1)
"""The run time to plan with where neither a time limit nor earlier runs say anything."""

FROM_HISTORY = "history"
"""How a plan's ``duration_source`` begins where it comes from earlier runs."""

_LOOKED_AHEAD = timedelta(days=14)
_DAY = timedelta(days=1)
_POINTS = 8  # durations that a history is cut down to: enough to tell short runs from long ones


def plan_job(
    spec: JobSpec,
    config: Config,
    *,
    now: datetime,
    where: str,
    slurm: bool = True,
    options: Sequence[str] = (),
    again: bool = False,
    time_budget: TimeBudget | None = None,
) -> Plan:
    """The plan of a job that is submitted ``now``; made in under five seconds, whoever does not answer.

    Args:
        where: the file's name in error messages.
        slurm: whether Slurm can be asked; ``options`` are the job's, for ``sbatch --test-only``.
        again: ask for the forecast even where an answer is kept.
        time_budget: that of the command which plans it, where it plans several.

    Raises:
        InputError: the deadline has passed, or the settings of a provider are wrong.
        ForecastError: there is no forecast, and the file says ``require_forecast``.
    """
    schedule = spec.schedule
    bounds_of(schedule, spec.resources.time, now, where=where)
    questions = SlurmQueries(spec, options, now, cache_dir(), time_budget) if slurm else None
    pool = ThreadPoolExecutor(max_workers=1)
    history_to_come = pool.submit(like_jobs, config.ledger, user_name(), spec.name)
    forecast, trouble = None, None
    try:
        # From before now on, so that the slot that is running is there whole.
        forecast = get_forecast(
            config, schedule.zone, schedule.signal or "average", now - _DAY, now + _LOOKED_AHEAD, refresh=again
        )
    except ForecastError as error:
        trouble = error
    finally:
        limit_stated = SlurmEstimate(
            limit=spec.resources.time, limit_source="time limit" if spec.resources.time else None
        )
        estimate = questions.answers() if questions is not None else limit_stated
        history = history_to_come.result()
        pool.shutdown()
    if trouble is not None and schedule.require_forecast:
        raise ForecastError(f"{where}: schedule.require_forecast: {trouble.message}", hint=trouble.hint) from trouble
    bounds = bounds_of(schedule, estimate.limit, now, where=where)
    runtimes, source = _runtimes(history, estimate)
    power = expected_power(spec.resources, history)
    known = JobFacts(spec, now, bounds, estimate, history, power, runtimes, source, config.carbon.pue)
    if forecast is None:
        assert trouble is not None
        return at_once(known, f"no forecast: {trouble.message}")
    return proposed(known, forecast)


def start_now_plan(spec: JobSpec, now: datetime, reason: str) -> Plan:
    """The plan of a job that is not put off whatever the grid is like; nobody is asked."""
    limit = spec.resources.time
    estimate = SlurmEstimate(limit=limit, limit_source="time limit" if limit is not None else None)
    runtimes, source = _runtimes(History(), estimate)
    bounds = Bounds(max(now, spec.schedule.earliest or now), None, None, limit)
    return at_once(JobFacts(spec, now, bounds, estimate, History(), Power(None, None), runtimes, source), reason)


def _runtimes(history: History, estimate: SlurmEstimate) -> tuple[Runtimes, str]:
    """Run times to plan with and where they come from."""
    if len(history.runtimes) >= FEWEST_RUNS:
        limit = estimate.limit or history.runtimes[-1]
        count = len(history.runtimes)
        return Runtimes.from_samples(history.runtimes, limit, points=_POINTS), f"{FROM_HISTORY}, {count} runs"
    if estimate.limit is not None:
        return Runtimes.certain(estimate.limit), estimate.limit_source or "time limit"
    return Runtimes.certain(ASSUMED), "assumed: no time limit and no earlier runs are known"
