"""The two questions that the rest of the program has: what will the intensity be, and what was it.

Each is answered in under five seconds or by one ForecastError that says why not. A forecast names its provider, when
it was issued and whether it is an old one that stands in. What was is never filled up from a forecast, and a yearly
mean only where the caller accounts for energy that is already used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from hpcfrugal.accounting.tables.electricity import yearly_mean
from hpcfrugal.carbon.cache import Cache
from hpcfrugal.carbon.fetch import Clock, Fetched, Fetcher
from hpcfrugal.carbon.select import Candidates, ProviderChoice, all_failed, candidates, zone_of
from hpcfrugal.carbon.series import CarbonSeries, Signal
from hpcfrugal.core.directories import cache_dir
from hpcfrugal.core.errors import DataError, ForecastError
from hpcfrugal.core.time import iso
from hpcfrugal.settings.config import Config

if TYPE_CHECKING:
    import httpx

BUDGET_S = 3.0
"""Seconds for one forecast, all providers tried included. A command that waits for it ends in under five, also on a
busy login node, where it takes a second or two for itself."""

_T = TypeVar("_T")

YEARLY_MEAN = "yearly-mean"
"""The ``provider`` of a series that is a country's yearly mean."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast as of ``asked_at``. ``stale``: the provider failed, and this is its last answer that still reaches
    ahead.

    ``notes`` are sentences for the reader: who failed and why, what the provider says of its figures.
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
        """Since it was issued."""
        return max(timedelta(0), self.asked_at - self.issued_at)


@dataclass(frozen=True, slots=True)
class Actuals:
    """What the intensity was, as told at ``fetched_at``. Figures of times from ``settled_before`` on may still be
    revised by the provider.

    ``is_mean``: this is a country's yearly mean, not what was measured at that time.
    """

    series: CarbonSeries
    provider: str
    fetched_at: datetime
    settled_before: datetime
    is_mean: bool
    notes: tuple[str, ...]


def _now() -> datetime:
    return datetime.now(UTC)


def get_forecast(
    config: Config,
    zone: str | None,
    signal: Signal,
    start: datetime,
    end: datetime,
    *,
    provider: str | None = None,
    again: bool = False,
    clock: Clock = _now,
    transport: httpx.BaseTransport | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Forecast:
    """The newest forecast of a zone within ``[start, end)``, as far as it reaches; gaps stay gaps.

    ``zone`` and ``provider`` are by default those of the settings. ``again`` asks even where an answer is kept.

    Raises:
        ForecastError: none to be had, with the reason of each provider that was tried.
        InputError: the settings of a provider are wrong.
    """
    deadline = time.monotonic() + BUDGET_S
    zone = zone_of(config, zone, provider)
    fetcher = Fetcher(Cache(cache_dir(environ) / "carbon"), clock, transport, again)
    whom = candidates(config, zone, signal, "forecast", provider=provider, environ=environ)
    failed = list(whom.troubles)

    def ask(choice: ProviderChoice, left: int) -> Forecast:
        # Each has an equal share of what is left, so that a slow one leaves time for the next.
        share = (deadline - time.monotonic()) / left
        got = fetcher.fetch(choice, "forecast", start, end, time.monotonic() + share)
        return _forecast(got, choice, start, end, clock(), (*_messages(failed), *fetcher.cache.notes))

    told = _first(whom, ask, failed)
    if told is None:
        raise all_failed(failed)
    return told


def get_actuals(
    config: Config,
    zone: str | None,
    signal: Signal,
    start: datetime,
    end: datetime,
    *,
    provider: str | None = None,
    allow_mean: bool = False,
    clock: Clock = _now,
    transport: httpx.BaseTransport | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Actuals:
    """What the intensity was within ``[start, end)``, as far as it is known by now; gaps stay gaps.

    For a comparison with a forecast name the forecast's provider. With ``allow_mean`` the yearly mean of the zone's
    country is the last resort, for the average signal.

    Raises:
        ForecastError: nothing to be had, with the reason of each provider that was tried.
        InputError: the settings of a provider are wrong.
    """
    zone = zone_of(config, zone, provider)
    now = clock()
    fetcher = Fetcher(Cache(cache_dir(environ) / "carbon"), clock, transport)
    try:
        whom = candidates(config, zone, signal, "actual", provider=provider, environ=environ)
    except ForecastError as error:
        whom = Candidates((), (error,))
    failed = list(whom.troubles)

    def ask(choice: ProviderChoice, left: int) -> Actuals:
        if start >= min(end, now):
            raise ForecastError(f"nothing was yet between {iso(start)} and {iso(end)}")
        series, fetched_at, notes = _pieces(fetcher, choice, start, min(end, now))
        said = (*_messages(failed), *notes, *fetcher.cache.notes)
        # What an answer says of the hours before it does not settle by being kept.
        return Actuals(series, choice.settings.name, fetched_at, fetched_at - choice.provider.settles, False, said)

    told = _first(whom, ask, failed)
    if told is not None:
        return told
    mean = yearly_mean(zone) if allow_mean and signal == "average" else None
    if mean is None:
        raise all_failed(failed)
    series = CarbonSeries.from_values(
        start, end - start, [mean.g_per_kwh], zone=zone, signal="average", kind="actual", provider=YEARLY_MEAN
    )
    note = f"the mean of {mean.name} in {mean.year}, not of the time asked for"
    return Actuals(series, YEARLY_MEAN, now, now, True, (*_messages(failed), note))


def _first(whom: Candidates, ask: Callable[[ProviderChoice, int], _T], failed: list[ForecastError]) -> _T | None:
    """What the first says that answers, None where nobody does; who failed before it, and why, goes to ``failed``.

    ``ask`` is given a provider, and how many are left with it.
    """
    for index, choice in enumerate(whom.choices):
        try:
            return ask(choice, len(whom.choices) - index)
        except ForecastError as error:
            failed.append(ForecastError(f"{choice.settings.name} {error.message}", hint=error.hint))
    return None


def _pieces(
    fetcher: Fetcher, choice: ProviderChoice, start: datetime, end: datetime
) -> tuple[CarbonSeries, datetime, tuple[str, ...]]:
    """The range in pieces that the provider answers at once, joined, with the time of the oldest answer."""
    # Whole hours, so that jobs of the same time have the same question.
    at = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    last = (end.astimezone(UTC) + timedelta(hours=1) - timedelta.resolution).replace(minute=0, second=0, microsecond=0)
    whole: CarbonSeries | None = None
    fetched_at = fetcher.clock()
    notes: list[str] = []
    while at < last:
        piece_end = min(at + choice.provider.span, last)
        try:
            got = fetcher.fetch(choice, "actual", at, piece_end, time.monotonic() + BUDGET_S)
        except ForecastError as error:
            if whole is None:
                raise
            # What comes after would fail alike, and each time cost the whole budget.
            notes.append(f"from {iso(at)} on: {choice.settings.name} {error.message}")
            break
        whole = got.kept.series if whole is None else whole.overlaid(got.kept.series)
        fetched_at = min(fetched_at, got.kept.fetched_at)
        notes += [note for note in (*got.kept.notes, *_stale_note(got, choice, fetcher.clock())) if note not in notes]
        at = piece_end
    assert whole is not None
    try:
        return whole.slice(start, end), fetched_at, tuple(notes)
    except DataError:
        raise ForecastError(f"knows nothing between {iso(start)} and {iso(end)} yet") from None


def _forecast(
    got: Fetched, choice: ProviderChoice, start: datetime, end: datetime, now: datetime, before: tuple[str, ...]
) -> Forecast:
    whole = got.kept.series
    try:
        series = whole.slice(start, end)
    except DataError:
        raise ForecastError(f"reaches from {iso(whole.start)} to {iso(whole.end)} only") from None
    notes = (*before, *got.kept.notes, *_stale_note(got, choice, now))
    issued_at = whole.issued_at
    if issued_at is None:
        issued_at = got.kept.fetched_at
        notes = (*notes, f"{choice.settings.name} does not say when it was issued; the time of its answer is taken")
    return Forecast(series, choice.settings.name, issued_at, got.kept.fetched_at, now, got.stale, notes)


def _stale_note(got: Fetched, choice: ProviderChoice, now: datetime) -> tuple[str, ...]:
    if not got.stale:
        return ()
    minutes = (now - got.kept.fetched_at).total_seconds() / 60
    age = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    return (f"{choice.settings.name} {'; '.join(got.notes)}; its answer of {age} ago is used",)


def _messages(failed: list[ForecastError]) -> tuple[str, ...]:
    return tuple(error.message for error in failed)
