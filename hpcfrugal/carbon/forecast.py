"""Forecasts and actual carbon intensities for the rest of the program.

Each call takes less than five seconds and returns a result or raises one ForecastError with the reasons. A forecast
comes with its provider, its time of issue, and whether it replaces a newer one that could not be fetched. Gaps in
actuals are never filled from a forecast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from hpcfrugal.carbon.fetch import Clock, Fetched, Fetcher, utc_now
from hpcfrugal.carbon.select import ProviderChoice, Selection, select, zone_of
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.cache import Cache
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.directories import cache_dir
from hpcfrugal.core.errors import DataError, ForecastError
from hpcfrugal.core.time import iso, whole_hour
from hpcfrugal.settings.config import Config

BUDGET_S = 3.0
"""Seconds for one forecast, over all providers tried. A command that waits for it then takes less than five seconds,
even on a busy login node, where the command itself takes one or two."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast as of ``asked_at``. ``stale``: the provider failed, and this is its last answer.

    ``notes`` are sentences for the user: which providers failed and why, and remarks of the provider on its values.
    """

    series: CarbonSeries
    provider: str
    issued_at: datetime
    fetched_at: datetime
    asked_at: datetime
    stale: bool
    notes: tuple[str, ...]

    @property
    def age(self) -> timedelta:
        """Time since it was issued."""
        return max(timedelta(0), self.asked_at - self.issued_at)


@dataclass(frozen=True, slots=True)
class Actuals:
    """Actual intensities as of ``fetched_at``. The provider may still revise those from ``settled_before`` on."""

    series: CarbonSeries
    provider: str
    fetched_at: datetime
    settled_before: datetime
    notes: tuple[str, ...]


def get_forecast(
    config: Config,
    zone: str | None,
    signal: Signal,
    start: datetime,
    end: datetime,
    *,
    provider: str | None = None,
    refresh: bool = False,
    clock: Clock = utc_now,
) -> Forecast:
    """The newest forecast for a zone within ``[start, end)``; it may end earlier, and gaps stay gaps.

    ``zone`` and ``provider`` default to the settings. ``refresh`` sends a request even if an answer is cached.

    Raises:
        ForecastError: there is none; the message has the reason for each provider that was tried.
        InputError: the settings of a provider are wrong.
    """
    deadline = time.monotonic() + BUDGET_S
    zone = zone_of(config, zone, provider)
    fetcher = Fetcher(Cache(cache_dir() / "carbon"), clock, refresh)
    selection = select(config, zone, signal, "forecast", provider=provider)
    failed = list(selection.failed)

    def ask(choice: ProviderChoice, left: int) -> Forecast:
        # Each gets an equal share of the remaining time, so that a slow one leaves time for the next.
        share = (deadline - time.monotonic()) / left
        fetched = fetcher.fetch(choice, "forecast", start, end, time.monotonic() + share)
        return _forecast(fetched, choice, start, end, clock(), (*_messages(failed), *fetcher.cache.notes))

    return _first(selection, ask, failed)


def get_actuals(
    config: Config,
    zone: str | None,
    signal: Signal,
    start: datetime,
    end: datetime,
    *,
    provider: str | None = None,
    clock: Clock = utc_now,
) -> Actuals:
    """The actual intensities within ``[start, end)`` that are known now; gaps stay gaps.

    To compare with a forecast, name the forecast's provider.

    Raises:
        ForecastError: there are none; the message has the reason for each provider that was tried.
        InputError: the settings of a provider are wrong.
    """
    zone = zone_of(config, zone, provider)
    now = clock()
    fetcher = Fetcher(Cache(cache_dir() / "carbon"), clock)
    selection = select(config, zone, signal, "actual", provider=provider)
    failed = list(selection.failed)

    def ask(choice: ProviderChoice, _: int) -> Actuals:
        if start >= min(end, now):
            raise ForecastError(f"has no actual intensities yet for {_minutes(start)} to {_minutes(end)}")
        series, fetched_at, notes = _pieces(fetcher, choice, start, min(end, now))
        notes = (*_messages(failed), *notes, *fetcher.cache.notes)
        # Counted from the request: recent values do not become final by being cached.
        return Actuals(series, choice.provider.label, fetched_at, fetched_at - choice.provider.settles, notes)

    return _first(selection, ask, failed)


def _first(selection: Selection, ask: Callable[[ProviderChoice, int], _T], failed: list[ForecastError]) -> _T:
    """The answer of the first provider that has one; the errors of those before it are added to ``failed``.

    ``ask`` gets a provider and the number of those left, including it. Raises ``failed`` as one error if all fail.
    """
    for index, choice in enumerate(selection.choices):
        try:
            return ask(choice, len(selection.choices) - index)
        except ForecastError as error:
            failed.append(ForecastError(f"{choice.settings.name}: {error.message}", hint=error.hint))
    hint = next((error.hint for error in failed if error.hint), None)
    raise ForecastError("; ".join(_messages(failed)), hint=hint)


def _pieces(
    fetcher: Fetcher, choice: ProviderChoice, start: datetime, end: datetime
) -> tuple[CarbonSeries, datetime, tuple[str, ...]]:
    """The range, joined from requests of at most the provider's ``span``, with the time of the oldest one and notes."""
    # Whole hours, so that jobs that ran at the same time make the same request.
    at, last = whole_hour(start), whole_hour(end + timedelta(hours=1) - timedelta.resolution)
    whole: CarbonSeries | None = None
    fetched_at = fetcher.clock()
    notes: list[str] = []
    while at < last:
        piece_end = min(at + choice.provider.span, last)
        try:
            fetched = fetcher.fetch(choice, "actual", at, piece_end, time.monotonic() + BUDGET_S)
        except ForecastError as error:
            if whole is None:
                raise
            # The requests that follow would fail too, and each would take the whole budget.
            notes.append(f"from {iso(at)} on: {choice.settings.name}: {error.message}")
            break
        answer = fetched.answer
        whole = answer.series if whole is None else whole.overlaid(answer.series)
        fetched_at = min(fetched_at, answer.fetched_at)
        notes += [note for note in (*answer.notes, *_stale_note(fetched, choice, fetcher.clock())) if note not in notes]
        at = piece_end
    assert whole is not None
    try:
        return whole.slice(start, end), fetched_at, tuple(notes)
    except DataError:
        raise ForecastError(f"has no actual intensities yet for {_minutes(start)} to {_minutes(end)}") from None


def _forecast(
    fetched: Fetched, choice: ProviderChoice, start: datetime, end: datetime, now: datetime, before: tuple[str, ...]
) -> Forecast:
    name, answer = choice.provider.label, fetched.answer
    whole = answer.series
    try:
        series = whole.slice(start, end)
    except DataError:
        raise ForecastError(f"covers only {iso(whole.start)} to {iso(whole.end)}") from None
    notes = (*before, *answer.notes, *_stale_note(fetched, choice, now))
    if whole.issued_at is None:
        notes += (f"{name}: the time of issue of the forecast is unknown; the time of the request is used",)
    issued_at = whole.issued_at or answer.fetched_at
    return Forecast(series, name, issued_at, answer.fetched_at, now, fetched.failure is not None, notes)


def _stale_note(fetched: Fetched, choice: ProviderChoice, now: datetime) -> tuple[str, ...]:
    if fetched.failure is None:
        return ()
    minutes = (now - fetched.answer.fetched_at).total_seconds() / 60
    age = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    return (f"{choice.settings.name}: {fetched.failure}; its answer from {age} ago is used",)


def _messages(failed: list[ForecastError]) -> tuple[str, ...]:
    return tuple(error.message for error in failed)


def _minutes(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"
