"""The expected intensities of a forecast whose error is known only by its size.

The least of many noisy values tends to have a negative error, so a plan on the forecast itself promises too much. The
mean of a posterior distribution is unbiased however the time was chosen (Dawid, Selection paradoxes of Bayesian
inference, 1994; Efron, Tweedie's formula and selection bias, JASA 106, 2011). So each slot gets its posterior mean, and
everything is planned on that series.

In logarithms, the forecast is the true value plus an error. Both are Ornstein-Uhlenbeck processes, which means that two
instants are correlated by exp(-distance / correlation time):

- the error has the standard deviation and correlation of ``ErrorGrowth``;
- the true value has the mean of the forecast, the correlation time PRIOR_CORRELATION, and that standard deviation of
  PRIOR_SDS under which the forecast is the most likely (empirical Bayes), or a smaller one that is about as likely. On
  a forecast that varies no more than its errors that is a small one, and few jobs wait.

The inverse of the covariance of such a process has three diagonals (Rybicki and Press, Phys. Rev. Lett. 74, 1060,
1995), so the cost is linear in the number of slots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.carbon_signal import MAX_G_PER_KWH
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.time import from_us

PRIOR_CORRELATION = timedelta(hours=24)
"""Of the true values. scripts/bench/decide gives much the same results from 12 to 40 h."""

PRIOR_SDS = tuple(0.025 * 2**index for index in range(8))
"""Standard deviations of the logarithm of the true values, from a nearly flat grid (2.5 %) to one that changes much."""

_LIKELIER = 2.0
"""By so much twice the logarithm of the likelihood has to grow for a larger standard deviation, as for one parameter
more (Akaike, A new look at the statistical model identification, IEEE Trans. Autom. Control 19, 1974). On forecasts of
nothing but errors half as many jobs wait then; the years of scripts/bench/decide save as much.
"""

_LEAST_SHARE = 0.01  # of the mean: lower values have no logarithm that means anything
_LEAST_SD = 1e-3
_FRACTIONS = 1024  # g/kWh are rounded to this part of one: sums of slots are exact, and short numbers are faster
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ErrorGrowth:
    """Relative standard deviation of a forecast's error: ``start`` at once, rising evenly to ``end`` at ``horizon``.

    Errors at two instants are correlated by exp(-distance / ``correlation``), so the mean over a long window is more
    certain than a single slot. The default's 20 % at 48 h is an assumption for a grid with much wind, to be replaced by
    the errors of a site's own forecasts.
    """

    start: float = 0.03
    end: float = 0.20
    horizon: timedelta = timedelta(hours=48)
    correlation: timedelta = timedelta(hours=6)

    def __post_init__(self) -> None:
        if not (0 <= self.start < math.inf and 0 <= self.end < math.inf):
            raise InputError.at("forecast error", f"from {self.start} to {self.end}", "shares of 0 or more")
        if self.horizon <= timedelta() or self.correlation <= timedelta():
            raise InputError.at("forecast error", f"horizon {self.horizon}, correlation {self.correlation}")

    def relative_sd(self, ahead: timedelta) -> float:
        """So far ahead of the time of issue."""
        return self.start + (self.end - self.start) * min(1.0, max(timedelta(), ahead) / self.horizon)


DEFAULT_ERROR = ErrorGrowth()
"""Assumed of all forecasts."""


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """``expected``: the series with the expected value of each slot, in the same slots and with the same gaps."""

    expected: CarbonSeries
    _known: tuple[int, ...] = ()
    _posterior: _Factors | None = None

    @classmethod
    def of(cls, series: CarbonSeries, error: ErrorGrowth | None, now: datetime) -> Shrinkage:
        """``now`` is the time of issue where the series has none. Without ``error`` the forecast is taken as exact."""
        # The error is a share of the true value, so a forecast of nothing has none.
        known = tuple(index for index, value in enumerate(series.values) if value)
        lengths = [series.edges_us[index + 1] - series.edges_us[index] for index in known]
        values = [series.values[index] or 0.0 for index in known]
        if error is None or not known:
            return cls(series)
        least = _LEAST_SHARE * _mean(values, lengths)
        logs = [math.log(max(value, least)) for value in values]
        middle = _mean(logs, lengths)
        deviations = [value - middle for value in logs]
        at_h = [(series.edges_us[index] + length / 2) / 3.6e9 for index, length in zip(known, lengths, strict=True)]
        issued = series.issued_at or now
        sds = [max(_LEAST_SD, error.relative_sd(from_us(round(at * 3.6e9)) - issued)) for at in at_h]
        noise = _Precision.of(at_h, error.correlation / _HOUR).scaled(sds)
        process = _Precision.of(at_h, PRIOR_CORRELATION / _HOUR)
        pull = noise.times(deviations)
        best: tuple[float, list[float], _Factors] | None = None
        for sd in PRIOR_SDS:
            prior = process.scaled([sd] * len(known))
            posterior = _Factors.of(prior.plus(noise))
            found = posterior.solve(pull)
            # Twice the logarithm of the likelihood of the forecast, up to a constant.
            likelihood = prior.log_det - posterior.log_det + sum(a * b for a, b in zip(pull, found, strict=True))
            if best is None or likelihood > best[0] + _LIKELIER:
                best = likelihood, found, posterior
        assert best is not None
        _, found, posterior = best
        expected = list(series.values)
        for index, one, variance in zip(known, found, posterior.variances(), strict=True):
            expected[index] = min(MAX_G_PER_KWH, math.exp(middle + one + variance / 2))
        return cls(replace(series, values=tuple(_evened(series, expected))), known, posterior)

    def sd(self, shares: Mapping[int, float]) -> float:
        """Of a sum of slots, in g/kWh; ``shares`` are the factors by the index of the slot, such as of a difference."""
        if self._posterior is None:
            return 0.0
        parts = [shares.get(index, 0.0) * (self.expected.values[index] or 0.0) for index in self._known]
        return math.sqrt(max(0.0, sum(a * b for a, b in zip(parts, self._posterior.solve(parts), strict=True))))


def _evened(series: CarbonSeries, expected: Sequence[float | None]) -> Iterator[float | None]:
    """The expected values, with one for consecutive slots of one forecast value: their mean.

    Of such slots none is better by the forecast. The posterior means differ as the forecast is less certain later, and
    as values before and after are near or far, for which a job would wait until the end of a long clean time.
    """
    for value, group in groupby(range(len(series.values)), key=lambda index: series.values[index]):
        same = list(group)
        if not value:
            yield from (expected[index] for index in same)
            continue
        lengths = [series.edges_us[index + 1] - series.edges_us[index] for index in same]
        level = _mean([expected[index] or 0.0 for index in same], lengths)
        yield from [round(level * _FRACTIONS) / _FRACTIONS] * len(same)


def _mean(values: Sequence[float], lengths: Sequence[int]) -> float:
    return sum(value * length for value, length in zip(values, lengths, strict=True)) / sum(lengths)


@dataclass(frozen=True, slots=True)
class _Precision:
    """A symmetric matrix of three diagonals, the inverse of a covariance; ``log_det`` is of its determinant."""

    diagonal: list[float]
    beside: list[float]
    log_det: float = 0.0

    @classmethod
    def of(cls, at_h: Sequence[float], correlation_h: float) -> _Precision:
        """Of an Ornstein-Uhlenbeck process of variance 1 at these instants."""
        diagonal, beside, log_det = [1.0], [], 0.0
        for before, after in pairwise(at_h):
            distance = (after - before) / correlation_h
            keep, new = math.exp(-distance), -math.expm1(-2 * distance)
            diagonal[-1] += keep * keep / new
            diagonal.append(1 / new)
            beside.append(-keep / new)
            log_det -= math.log(new)
        return cls(diagonal, beside, log_det)

    def scaled(self, sds: Sequence[float]) -> _Precision:
        """Of the same process with these standard deviations."""
        return _Precision(
            [value / (sd * sd) for value, sd in zip(self.diagonal, sds, strict=True)],
            [value / (a * b) for value, (a, b) in zip(self.beside, pairwise(sds), strict=True)],
            self.log_det - 2 * sum(map(math.log, sds)),
        )

    def plus(self, other: _Precision) -> _Precision:
        return _Precision(
            [a + b for a, b in zip(self.diagonal, other.diagonal, strict=True)],
            [a + b for a, b in zip(self.beside, other.beside, strict=True)],
        )

    def times(self, vector: Sequence[float]) -> list[float]:
        product = [a * b for a, b in zip(self.diagonal, vector, strict=True)]
        for index, value in enumerate(self.beside):
            product[index] += value * vector[index + 1]
            product[index + 1] += value * vector[index]
        return product


@dataclass(frozen=True, slots=True)
class _Factors:
    """The matrix as L D L^T: the diagonal of D, and what is below the diagonal of L (Thomas algorithm)."""

    pivots: list[float]
    lower: list[float]
    log_det: float

    @classmethod
    def of(cls, matrix: _Precision) -> _Factors:
        pivots, lower = [matrix.diagonal[0]], []
        for value, beside in zip(matrix.diagonal[1:], matrix.beside, strict=True):
            lower.append(beside / pivots[-1])
            pivots.append(value - lower[-1] * beside)
        return cls(pivots, lower, sum(map(math.log, pivots)))

    def solve(self, vector: Sequence[float]) -> list[float]:
        """The inverse of the matrix, times the vector."""
        found = list(vector)
        for index, factor in enumerate(self.lower):
            found[index + 1] -= factor * found[index]
        found = [value / pivot for value, pivot in zip(found, self.pivots, strict=True)]
        for index in range(len(self.lower) - 1, -1, -1):
            found[index] -= self.lower[index] * found[index + 1]
        return found

    def variances(self) -> list[float]:
        """The diagonal of the inverse."""
        found = [1 / pivot for pivot in self.pivots]
        for index in range(len(self.lower) - 1, -1, -1):
            found[index] += self.lower[index] ** 2 * found[index + 1]
        return found
