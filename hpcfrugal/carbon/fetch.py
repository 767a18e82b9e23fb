"""One answer of one provider: from the cache while it holds, else asked for, else the last one that was had.

However many processes want it at once, one of them asks, and the others take its answer. The whole of it, waiting
included, ends by one deadline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hpcfrugal.carbon.cache import Cache, Failure, Kept
from hpcfrugal.carbon.providers.base import Answer, Ask
from hpcfrugal.carbon.select import ProviderChoice
from hpcfrugal.carbon.series import CarbonSeries, Kind
from hpcfrugal.core.errors import ForecastError, SourceError
from hpcfrugal.core.http import Client, within

if TYPE_CHECKING:
    import httpx

LEAST_KEPT_S = 60.0
"""An answer is kept for so long whatever the server says: a burst of submissions shall be one request."""

MOST_KEPT_S = 86_400.0
OLDEST_STALE = timedelta(hours=24)
"""How old an answer may be that stands in for one that can't be had. A forecast is mostly for 48 h."""

FAILURE_KEPT_S = 30.0
_MOST_FAILURE_KEPT_S = 3600.0
_RESERVE_S = 0.2  # of the deadline, for what follows the wait for a lock

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was had: ``stale`` where the provider failed and this is its last answer."""

    kept: Kept
    stale: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetcher:
    """What fetching needs besides the question. ``again`` passes over what is kept."""

    cache: Cache
    clock: Clock
    transport: httpx.BaseTransport | None = None
    again: bool = False

    def fetch(self, choice: ProviderChoice, kind: Kind, start: datetime, end: datetime, deadline: float) -> Fetched:
        """The forecast from now on, or what was between ``start`` and ``end``.

        Raises:
            ForecastError: none to be had by ``deadline`` (of ``time.monotonic``); it doesn't say whose.
        """
        begun = self.clock()
        if not choice.provider.cached:
            return Fetched(self._ask(choice, kind, start, end, deadline), False, ())
        who = {
            "name": choice.settings.name,
            "kind": choice.settings.kind,
            "url": choice.settings.url,
            "zone": choice.zone,
            "region": choice.region,
            "signal": choice.signal,
            # Only a digest: a provider of others may have anything in its settings.
            "options": hashlib.sha256(repr(sorted(choice.settings.own.items())).encode()).hexdigest()[:16],
            "of": kind,
        }
        # A forecast is asked for as far as it reaches, so that every job has the same question.
        key = who if kind == "forecast" else {**who, "start": start.isoformat(), "end": end.isoformat()}
        if found := self._kept(key, begun):
            return found
        with self.cache.lock(who, deadline - _RESERVE_S) as mine:
            # Another process may have asked while we waited.
            if found := self._kept(key, begun):
                return found
            try:
                if not mine:
                    raise ForecastError("is being asked by another command, which got no answer yet")
                kept = self._ask(choice, kind, start, end, deadline)
            except ForecastError as error:
                now = self.clock()
                if mine:
                    self.cache.write_failure(key, _failure(error, now))
                return self._instead(key, error, now)
            self.cache.write(key, kept)
            return Fetched(kept, False, ())

    def _kept(self, key: dict[str, Any], begun: datetime) -> Fetched | None:
        now = self.clock()
        kept = self.cache.read(key)
        if kept is not None and kept.fresh(now) and (not self.again or kept.fetched_at >= begun):
            return Fetched(kept, False, ())
        failure = self.cache.read_failure(key)
        if failure is not None and failure.at <= now < failure.until and (not self.again or failure.at >= begun):
            ago = (now - failure.at).total_seconds()
            said = failure.message if ago < 1 else f"{failure.message} ({ago:.0f} s ago)"
            return self._instead(key, ForecastError(said, hint=failure.hint), now)
        return None

    def _instead(self, key: dict[str, Any], error: ForecastError, now: datetime) -> Fetched:
        """The last answer, where it still says something of the time to come; else raises ``error``."""
        kept = self.cache.read(key)
        if kept is None or not timedelta(0) <= now - kept.fetched_at <= OLDEST_STALE:
            raise error
        if key["of"] == "forecast" and kept.series.end <= now:
            raise error
        return Fetched(kept, True, (error.message,))

    def _ask(self, choice: ProviderChoice, kind: Kind, start: datetime, end: datetime, deadline: float) -> Kept:
        now = self.clock()
        ask = Ask(choice.region, choice.signal, start, end, now)
        method = choice.provider.forecast if kind == "forecast" else choice.provider.actuals
        answer = _answer(method, ask, Client(deadline, self.transport))
        series = replace(answer.series, zone=choice.zone)
        if kind == "forecast" and series.end <= now:
            raise ForecastError(f"gave a forecast that ended at {series.end:%Y-%m-%d %H:%M}Z")
        return Kept(series, answer.notes, now, now + timedelta(seconds=self._holds_s(choice, answer, kind, end, now)))

    def _holds_s(self, choice: ProviderChoice, answer: Answer, kind: Kind, end: datetime, now: datetime) -> float:
        if choice.settings.refresh is not None:
            return choice.settings.refresh.total_seconds()
        if kind == "actual" and end <= now - choice.provider.settles:
            return MOST_KEPT_S
        told = answer.ttl_s if answer.ttl_s is not None else choice.provider.refresh.total_seconds()
        return min(max(told, LEAST_KEPT_S), MOST_KEPT_S)


def _answer(method: Callable[[Ask, Client], Answer], ask: Ask, client: Client) -> Answer:
    """The provider's answer. A provider from a plugin may fail in any way, and no job may fail because of that."""
    try:
        with client:
            answer = within(client.remaining_s(), lambda: method(ask, client))
    except SourceError as error:
        raise ForecastError(error.message, hint=error.hint, retry_after_s=error.retry_after_s) from error
    except Exception as error:
        # Only the type of the error: its text could quote a URL or a header.
        raise ForecastError(f"failed ({type(error).__name__})") from error
    if not isinstance(answer, Answer) or not isinstance(answer.series, CarbonSeries):
        raise ForecastError("returned no series")
    return answer


def _failure(error: ForecastError, now: datetime) -> Failure:
    wait = FAILURE_KEPT_S
    if error.retry_after_s is not None:
        wait = min(max(wait, error.retry_after_s), _MOST_FAILURE_KEPT_S)
    return Failure(error.message, error.hint, now, now + timedelta(seconds=wait))
