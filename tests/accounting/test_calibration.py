"""Calibration of the model: the factor, the range from twenty jobs on, and the error of held-out jobs."""

from __future__ import annotations

import math

import pytest

from hpcfrugal.accounting.calibration import fit_model
from hpcfrugal.accounting.quantiles import quantile


def test_the_factor_is_drawn_towards_one() -> None:
    """Five jobs at twice the model count as much as five that agree with it: the root of 2."""
    fit = fit_model([2.0] * 5)
    assert fit.factor == pytest.approx(math.sqrt(2))
    # each job held out by the other four: 2 over 2 to the power of 4 / 9
    assert fit.error == pytest.approx(1 - 2 ** (4 / 9 - 1))
    assert (fit.jobs, fit.low, fit.high) == (5, None, None)


def test_from_twenty_jobs_on_the_range_is_their_own() -> None:
    ratios = [0.5 * 1.02**number for number in range(20)]
    assert fit_model(ratios[:19]).low is None
    fit = fit_model(ratios)
    factor = math.exp(sum(map(math.log, ratios)) / 25)
    assert fit.factor == pytest.approx(factor)
    held_out = []
    for at, ratio in enumerate(ratios):
        rest = ratios[:at] + ratios[at + 1 :]
        held_out.append(ratio / math.exp(sum(map(math.log, rest)) / 24))
    assert (fit.low, fit.high) == (pytest.approx(quantile(held_out, 0.05)), pytest.approx(quantile(held_out, 0.95)))
    assert (fit.low or 0) < 1 < (fit.high or 0)


def test_quantiles_lie_between_values() -> None:
    assert [quantile([3, 1, 2], share) for share in (0, 0.25, 0.5, 0.95, 1)] == [1, 1.5, 2, pytest.approx(2.9), 3]
    assert quantile([7], 0.95) == 7
