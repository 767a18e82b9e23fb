"""Calibrating a model by measured jobs of the same kind.

The factor is k = exp(sum of ln(measured / modelled) / (n + 5)): the geometric mean, drawn towards 1 as if five jobs
agreed with the model. Its error is that of jobs that were held out: each job in turn, with the factor of all others.
Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from hpcfrugal.accounting.quantiles import quantile

PRIOR_JOBS = 5
RANGE_JOBS = 20
"""From so many jobs on, the range is that of their own held-out ratios."""

CALIBRATED_RANGE = (0.05, 0.95)


class ModelFit(NamedTuple):
    """``factor`` is k. ``low`` and ``high``: 5 and 95 % of measured over calibrated energy of held-out jobs, None of
    fewer than 20. ``error`` is the median of how far the calibrated energy of a held-out job is off."""

    jobs: int
    factor: float
    low: float | None
    high: float | None
    error: float


def fit_model(ratios: Sequence[float]) -> ModelFit:
    """The calibration by measured over modelled energy of some jobs, at least one, each above 0."""
    logs = [math.log(ratio) for ratio in ratios]
    whole, number = math.fsum(logs), len(logs)
    held_out = [
        ratio / math.exp((whole - log) / (number - 1 + PRIOR_JOBS)) for ratio, log in zip(ratios, logs, strict=True)
    ]
    ends = [quantile(held_out, share) for share in CALIBRATED_RANGE] if number >= RANGE_JOBS else [None, None]
    error = quantile([abs(1 / ratio - 1) for ratio in held_out], 0.5)
    return ModelFit(number, math.exp(whole / (number + PRIOR_JOBS)), ends[0], ends[1], error)
