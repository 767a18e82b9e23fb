"""Keeps the grid of a queue's plan small enough for any slots of the forecast and any time limits of jobs.

The planner's step divides the queue's step and all slots of the forecast, and one grid covers all jobs. Otherwise one
odd second in a forecast, or one job of several years, would leave all jobs without a plan.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.time import span_us
from hpcfrugal.planning.optimise.capacity import MAX_STEPS, grid_step_us
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob
from hpcfrugal.queues.start_constraints import ASSUMED_LIMIT, latest_start

# Steps for the forecast, and for the time limit of one job; the rest of MAX_STEPS is for delays.
_MOST = MAX_STEPS // 4


def resampled(series: CarbonSeries, queue: Queue) -> CarbonSeries:
    """The series unchanged or, if its slots need too fine a grid, its mean over each step of the queue. Also if they do
    not begin at whole seconds: Slurm has no fractions, so each planned start would seem to differ from the one it has.

    A step with an unknown part is a gap. The first and last step may be covered in part, and have the mean of that
    part.
    """
    edges, step, grid = series.edges_us, span_us(queue.step), grid_step_us(series, queue.step)
    span = max(edges[-1] - edges[0], span_us(queue.max_delay))
    whole_seconds = edges[0] % 1_000_000 == 0 and grid % 1_000_000 == 0
    if whole_seconds and (grid == step or span // grid <= _MOST):
        return series
    steps = range(edges[0] // step * step, -(-edges[-1] // step) * step + 1, step)
    values = []
    for before, after in pairwise(steps):
        first, last = max(before, edges[0]), min(after, edges[-1])
        cost = series.cost_between(first, last)
        values.append(None if cost is None else cost / ((last - first) << series.sums.shift))
    return replace(series, edges_us=tuple(steps), values=tuple(values))


def within_grid(job: QueuedJob, queue: Queue, series: CarbonSeries) -> QueuedJob:
    """The job, with a very long time limit cut to the length of the grid for ``series``.

    Nodes are reserved for it that far ahead; later rounds cover the rest of its run.
    """
    most = timedelta(microseconds=grid_step_us(series, queue.step) * _MOST)
    if (job.limit or ASSUMED_LIMIT) <= most:
        return job
    # Its latest start is still that for its full limit.
    return replace(job, limit=most, comment=replace(job.comment, latest=latest_start(job), by=None))
