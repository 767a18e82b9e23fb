"""Shrinkage of a forecast towards its mean, by the error that is expected of it.

A forecast is the true value plus an error that grows with the time ahead. The least of many noisy values tends to have
a negative error, so the saving by the forecast itself is too high on average. With a normal prior over the windows that
the job may choose from, of mean m and variance T, and an error of variance S, a window with the forecast f has the
expected value

    m + (f - m) * T / (T + S)

and a posterior mean is unbiased however the window was chosen (Dawid, Selection paradoxes of Bayesian
inference, 1994; Efron, Tweedie's formula and selection bias, JASA 106, 2011). m and T are taken from the forecast
itself (empirical Bayes), at the windows that begin on slot edges and at both bounds: m is their mean, T their variance
beyond that of noise alone. Noise has N, the mean of S, and up to N * (1 + sqrt(2 / n)) by chance, where n
is how many windows in it are independent (the time in which to start over twice the errors' correlation time, plus 1);
the latter is subtracted, so that mere noise seldom causes a wait. If a forecast is better than the error model, jobs
wait too seldom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, pvariance

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.time import from_us


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

    def relative_sd(self, ahead: timedelta, duration: timedelta) -> float:
        """Of the mean over a window that begins so far ahead.

        The variance of a window's mean is that of an instant times 2 (x - 1 + exp(-x)) / x**2, x = duration over
        correlation: the time average of an Ornstein-Uhlenbeck process (Gillespie, Phys. Rev. E 54, 2084, 1996).
        """
        middle = max(timedelta(), ahead + duration / 2)
        instant = self.start + (self.end - self.start) * min(1.0, middle / self.horizon)
        x = duration / self.correlation
        return instant * math.sqrt(2 * (x + math.expm1(-x)) / x**2 if x > 1e-3 else 1 - x / 3)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One start. Intensities are means over the expected run: by the forecast, expected, and its standard deviation.

    ``grams`` is None if the power is unknown.
    """

    start_at: datetime
    forecast_g_per_kwh: float
    expected_g_per_kwh: float
    sd_g_per_kwh: float
    grams: float | None


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """The prior over windows, and the expected value of a window from its forecast."""

    prior_mean: float
    prior_variance: float
    known_from: datetime
    duration: timedelta
    error: ErrorGrowth | None

    @classmethod
    def of(
        cls,
        series: CarbonSeries,
        forecast: dict[int, float],
        earliest: datetime,
        duration: timedelta,
        error: ErrorGrowth | None,
    ) -> Shrinkage:
        known_from = series.issued_at or earliest
        wanted = {*series.edges_us, min(forecast), max(forecast)}
        spread = [start for start in forecast if start in wanted]
        levels = [forecast[start] for start in spread]
        blank = cls(fmean(levels), 0.0, known_from, duration, error)
        noise = fmean(blank.noise_sd(forecast[start], start) ** 2 for start in spread)
        if error is not None:
            independent = 1 + (from_us(max(spread)) - from_us(min(spread))) / (2 * error.correlation)
            noise *= 1 + math.sqrt(2 / independent)
        prior_variance = max(0.0, pvariance(levels) - noise)
        return cls(blank.prior_mean, prior_variance, known_from, duration, error)

    def noise_sd(self, level: float, start: int) -> float:
        """Of the error of a window's forecast, in g/kWh."""
        if self.error is None:
            return 0.0
        return level * self.error.relative_sd(from_us(start) - self.known_from, self.duration)

    def weight(self, level: float, start: int) -> float:
        """The weight of the forecast against the prior's mean, 0 to 1."""
        noise = self.noise_sd(level, start) ** 2
        return self.prior_variance / (self.prior_variance + noise) if noise else 1.0

    def expected(self, level: float, start: int) -> float:
        if self.error is None:
            return level
        return self.prior_mean + (level - self.prior_mean) * self.weight(level, start)

    def outcome(self, level: float, start: int, power_w: float | None) -> Outcome:
        expected = self.expected(level, start)
        sd = math.sqrt(self.weight(level, start)) * self.noise_sd(level, start)
        kwh = None if power_w is None else power_w / 1000 * (self.duration / timedelta(hours=1))
        return Outcome(from_us(start), level, expected, sd, None if kwh is None else kwh * expected)

    def sd_of_difference(self, now: Outcome, then: Outcome) -> float:
        """Of the difference of two windows whose errors are correlated by their distance."""
        if self.error is None:
            return 0.0
        alike = math.exp(-((then.start_at - now.start_at) / self.error.correlation))
        a, b = now.sd_g_per_kwh, then.sd_g_per_kwh
        return math.sqrt(max(0.0, a * a + b * b - 2 * alike * a * b))
