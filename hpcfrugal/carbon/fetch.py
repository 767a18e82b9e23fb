"""One answer of one provider: from the cache while it is valid, else by a request, else the previous answer.

If several processes need the same answer, one of them sends the request and the others use its result. One deadline
covers everything, including the wait for the lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest
from hpcfrugal.carbon.select import ProviderChoice
from hpcfrugal.carbon.series import CarbonSeries, SeriesKind
from hpcfrugal.core.cache import Cache
from hpcfrugal.core.errors import ForecastError, SourceError
from hpcfrugal.core.http import Client, within

MIN_CACHED_S = 60.0
"""Least time for which an answer is cached, whatever the server sends: a burst of submissions is one request."""

MAX_CACHED_S = 86_400.0
MAX_STALE_AGE = timedelta(hours=24)
"""Oldest answer that may replace a failed request. Most forecasts cover 48 h."""

FAILURE_CACHED_S = 30.0
_MAX_FAILURE_CACHED_S = 3600.0
_RESERVE_S = 0.2  # of the deadline, for what follows the wait for a lock

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer (never with credentials), when it was requested, and how long it is valid."""

    series: CarbonSeries
    notes: tuple[str, ...]
    fetched_at: datetime
    expires_at: datetime

    def fresh(self, now: datetime) -> bool:
        """Whether it is still valid. One from the future is not: it was written while the clock was wrong."""
        return self.fetched_at <= now < self.expires_at


@dataclass(frozen=True, slots=True)
class CachedFailure:
    """A failed request, and when it may be repeated: a thousand jobs submitted at once make one request."""

    message: str
    hint: str | None
    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Fetched:
    """``failure``: why there is no new answer, so that the previous one is used; None if the answer is valid."""

    answer: CachedAnswer
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Fetcher:
    """``refresh``: cached answers are not used."""

    cache: Cache
    clock: Clock
    refresh: bool = False

    def fetch(
        self, choice: ProviderChoice, kind: SeriesKind, start: datetime, end: datetime, deadline: float
    ) -> Fetched:
        """The forecast from now on, or the actuals between ``start`` and ``end``.

        Raises:
            ForecastError: no answer by ``deadline`` (of ``time.monotonic``); the message does not name the provider.
        """
        begun = self.clock()
        if not choice.provider.cached:
            return Fetched(self._ask(choice, kind, start, end, deadline))
        who = {
            "name": choice.settings.name,
            "kind": choice.settings.kind,
            "url": choice.settings.url,
            "zone": choice.zone,
            "region": choice.region,
            "signal": choice.signal,
            # Only a digest: the settings of a plugin may hold anything, also secrets.
            "options": hashlib.sha256(repr(sorted(choice.settings.own.items())).encode()).hexdigest()[:16],
            "of": kind,
        }
        # A forecast is always requested in full, so that every job makes the same request.
        key = who if kind == "forecast" else {**who, "start": start.isoformat(), "end": end.isoformat()}
        if found := self._cached(key, begun):
            return found
        with self.cache.lock(who, deadline - _RESERVE_S) as mine:
            # Another process may have fetched it while this one waited.
            if found := self._cached(key, begun):
                return found
            try:
                if not mine:
                    raise ForecastError("another command is asking it and has no answer yet")
                cached = self._ask(choice, kind, start, end, deadline)
            except ForecastError as error:
                now = self.clock()
                if mine:
                    self.cache.write(key, _failure(error, now))
                return self._instead(key, error, now)
            self.cache.write(key, cached)
            self.cache.remove(CachedFailure, key)
            return Fetched(cached)

    def _cached(self, key: dict[str, Any], begun: datetime) -> Fetched | None:
        now = self.clock()
        cached = self.cache.read(CachedAnswer, key)
        if cached is not None and cached.fresh(now) and (not self.refresh or cached.fetched_at >= begun):
            return Fetched(cached)
        failure = self.cache.read(CachedFailure, key)
        if failure is not None and failure.at <= now < failure.until and (not self.refresh or failure.at >= begun):
            ago = (now - failure.at).total_seconds()
            message = failure.message if ago < 1 else f"{failure.message} ({ago:.0f} s ago)"
            return self._instead(key, ForecastError(message, hint=failure.hint), now)
        return None

    def _instead(self, key: dict[str, Any], error: ForecastError, now: datetime) -> Fetched:
        """The previous answer, if it is recent enough and not entirely in the past; else raises ``error``."""
        cached = self.cache.read(CachedAnswer, key)
        if cached is None or not timedelta(0) <= now - cached.fetched_at <= MAX_STALE_AGE:
            raise error
        if key["of"] == "forecast" and cached.series.end <= now:
            raise error
        return Fetched(cached, error.message)

    def _ask(
        self, choice: ProviderChoice, kind: SeriesKind, start: datetime, end: datetime, deadline: float
    ) -> CachedAnswer:
        now = self.clock()
        request = IntensityRequest(choice.region, choice.signal, start, end, now)
        method = choice.provider.forecast if kind == "forecast" else choice.provider.actuals
        answer = _answer(method, request, Client(deadline))
        series = replace(answer.series, zone=choice.zone)
        if kind == "forecast" and series.end <= now:
            raise ForecastError(f"returned a forecast that ended at {series.end:%Y-%m-%d %H:%M}Z")
        ttl = timedelta(seconds=self._ttl_s(choice, answer, kind, end, now))
        return CachedAnswer(series, answer.notes, now, now + ttl)

    def _ttl_s(
        self, choice: ProviderChoice, answer: IntensityAnswer, kind: SeriesKind, end: datetime, now: datetime
    ) -> float:
        if choice.settings.refresh is not None:
            return choice.settings.refresh.total_seconds()
        if kind == "actual" and end <= now - choice.provider.settles:
            return MAX_CACHED_S
        ttl_s = answer.ttl_s if answer.ttl_s is not None else choice.provider.refresh.total_seconds()
        return min(max(ttl_s, MIN_CACHED_S), MAX_CACHED_S)


def _answer(
    method: Callable[[IntensityRequest, Client], IntensityAnswer], request: IntensityRequest, client: Client
) -> IntensityAnswer:
    """The provider's answer. A plugin may fail in any way, which must not make a job fail."""
    try:
        with client:
            answer = within(client.remaining_s(), lambda: method(request, client))
    except SourceError as error:
        raise ForecastError(error.message, hint=error.hint, retry_after_s=error.retry_after_s) from error
    except Exception as error:
        # Only the type of the error: its text could quote a URL or a header.
        raise ForecastError(f"failed ({type(error).__name__})") from error
    if not isinstance(answer, IntensityAnswer) or not isinstance(answer.series, CarbonSeries):
        raise ForecastError("returned no series")
    return answer


def _failure(error: ForecastError, now: datetime) -> CachedFailure:
    wait = FAILURE_CACHED_S
    if error.retry_after_s is not None:
        wait = min(max(wait, error.retry_after_s), _MAX_FAILURE_CACHED_S)
    return CachedFailure(error.message, error.hint, now, now + timedelta(seconds=wait))
