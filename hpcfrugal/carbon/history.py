"""The actual intensities at the times when energy was used, fetched after the fact and stored in the spool.

Hours whose intensities are stored and final are not requested again. The others are joined into a few ranges, so that
all jobs of a zone and time share one request; the newest range comes first. A provider that fails costs one line of
output and is tried again at the next sync. If a provider never has actuals for a zone, that is stored too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from hpcfrugal.accounting.spans import joined
from hpcfrugal.carbon.fetch import Clock, utc_now
from hpcfrugal.carbon.forecast import Actuals, get_actuals
from hpcfrugal.carbon.select import Selection, select
from hpcfrugal.carbon.use_period import UsePeriod
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import ForecastError, HpcfrugalError
from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.core.time import from_ns, instant_ns
from hpcfrugal.settings.config import Config
from hpcfrugal.spool.intensity import (
    IntensitySource,
    KnownIntensity,
    intensity_dir,
    keep_intensities,
    kept_intensities,
)

GAP_SETTLES = timedelta(days=7)
"""How long missing intensities are still requested after the provider's other values have become final."""

MAX_GATHER_S = 15.0
"""Seconds after which no further request is made; the rest follows at the next sync."""

_HOUR_NS = 3600 * 10**9
_JOINED_NS = 6 * _HOUR_NS
_MAX_FAILURES = 2


@dataclass(frozen=True, slots=True)
class Gathered:
    """The number of spool files that changed, and a sentence for each problem."""

    changed: int
    troubles: tuple[str, ...]


@dataclass(slots=True)
class _Gathering:
    config: Config
    spool_root: Path
    clock: Clock
    give_up_at: float
    changed: int = 0

    def now_ns(self) -> int:
        return instant_ns(self.clock())

    def source(self, zone: str, signal: Signal, provider: str | None, wanted: Sequence[UsePeriod]) -> Iterator[str]:
        """Make the requests for one zone; yields problems."""
        due = list(_hours(((one.start_ns, one.end_ns) for one in wanted), self.now_ns()))
        try:
            selection = self.select(zone, signal, provider)
            failed = list(selection.failed)
            if not selection.choices and provider is not None:
                if selection.forecast_only:
                    yield from self.store_none(IntensitySource(zone, signal, provider), due)
                if signal == "average":
                    # The provider of the forecast has no actuals; for the footprint any other will do.
                    provider, selection = None, self.select(zone, signal, None)
                    failed += selection.failed
            for choice in selection.choices:
                due = self.without_settled(IntensitySource(zone, signal, choice.provider.label), due)
        except HpcfrugalError as error:
            yield f"{_what(zone, signal)}: not requested: {error.message}"
            return
        except (OSError, UnsafeFile) as error:
            yield _not_stored(zone, signal, error)
            return
        failures: list[str] = []
        for start_ns, end_ns in sorted(joined(due, _JOINED_NS), reverse=True):
            if len(failures) == _MAX_FAILURES or not selection.choices or time.monotonic() > self.give_up_at:
                break
            try:
                self.ask(zone, signal, provider, start_ns, end_ns)
            except ForecastError as error:
                failures.append(error.message)
            except (OSError, UnsafeFile) as error:
                yield _not_stored(zone, signal, error)
                break
        if failures:
            yield f"{_what(zone, signal)}: {failures[0]}; the next sync tries again"
        for one in failed if due else ():
            if not any(one.message in message for message in failures):
                yield f"{_what(zone, signal)}: {one.message}"

    def select(self, zone: str, signal: Signal, provider: str | None) -> Selection:
        """The providers to ask. It is not an error if none has the data, since no later sync would change that.

        Raises ``InputError`` if the settings are wrong.
        """
        found = select(self.config, zone, signal, "actual", provider=provider)
        return replace(found, failed=()) if found.unserved else found

    def store_none(self, source: IntensitySource, due: Sequence[tuple[int, int]]) -> Iterator[str]:
        """Store that there are no intensities, so that none are expected; yields a note the first time.

        Raises ``OSError`` or ``UnsafeFile`` if it cannot be stored.
        """
        left = self.without_settled(source, due)
        if not left:
            return
        first = next(intensity_dir(self.spool_root).glob(f"*/{source.file_name}"), None) is None
        now_ns = self.now_ns()
        none = [KnownIntensity(start_ns, end_ns, None, now_ns, None, settled=True) for start_ns, end_ns in joined(left)]
        self.changed += keep_intensities(self.spool_root, source, none)
        if first:
            yield f"{_what(source.zone, source.signal)}: {source.provider} offers forecasts only and is not queried"

    def without_settled(self, source: IntensitySource, due: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        if not due:
            return []
        stored = kept_intensities(self.spool_root, source, due[0][0], due[-1][1])
        settled = list(joined((one.start_ns, one.end_ns) for one in stored if one.settled))
        return [
            (start_ns, end_ns)
            for start_ns, end_ns in due
            if not any(first_ns <= start_ns and end_ns <= last_ns for first_ns, last_ns in settled)
        ]

    def ask(self, zone: str, signal: Signal, provider: str | None, start_ns: int, end_ns: int) -> None:
        """Fetch and store one range. Raises ``ForecastError``; ``OSError`` or ``UnsafeFile`` if it cannot be stored."""
        actuals = get_actuals(
            self.config, zone, signal, from_ns(start_ns), from_ns(end_ns), provider=provider, clock=self.clock
        )
        source = IntensitySource(zone, signal, actuals.provider)
        known = list(_known(actuals, start_ns, min(end_ns, self.now_ns())))
        self.changed += keep_intensities(self.spool_root, source, known)


def gather(config: Config, spool_root: Path, wanted: Iterable[UsePeriod], *, clock: Clock = utc_now) -> Gathered:
    """Fetch the intensities that are wanted and not final yet into the spool. Failures become ``troubles``."""
    gathering = _Gathering(config, spool_root, clock, time.monotonic() + MAX_GATHER_S)
    groups: dict[tuple[str, Signal, str | None], list[UsePeriod]] = {}
    for one in wanted:
        groups.setdefault((one.zone, one.signal, one.provider), []).append(one)
    troubles: list[str] = []
    # Those that name a provider come first: its answers often cover the others too.
    for (zone, signal, provider), some in sorted(groups.items(), key=lambda item: (item[0][2] is None, str(item[0]))):
        troubles += gathering.source(zone, signal, provider, some)
    return Gathered(gathering.changed, tuple(dict.fromkeys(troubles)))


def _what(zone: str, signal: str) -> str:
    return f"actual {signal} carbon intensity of {zone}"


def _not_stored(zone: str, signal: str, error: OSError | UnsafeFile) -> str:
    if isinstance(error, UnsafeFile):
        return f"{_what(zone, signal)}: a file in the spool cannot be used: {error}; `hpcfrugal ledger check` names it"
    return f"{_what(zone, signal)}: cannot be stored in the spool: {error.strerror}"


def _hours(spans: Iterable[tuple[int, int]], now_ns: int) -> Iterator[tuple[int, int]]:
    """The full hours that overlap the spans, each once, in order; those that have not begun are left out."""
    hours = {
        hour for start_ns, end_ns in spans for hour in range(start_ns // _HOUR_NS, -(-min(end_ns, now_ns) // _HOUR_NS))
    }
    for hour in sorted(hours):
        yield hour * _HOUR_NS, (hour + 1) * _HOUR_NS


def _known(actuals: Actuals, start_ns: int, end_ns: int) -> Iterator[KnownIntensity]:
    """The answer as it is stored: intensities, and the gaps before the last one. Later values may still arrive.

    A value for a time that was not over when it was fetched is left out: it is a forecast, even if the provider calls
    it an actual.
    """
    series = actuals.series
    fetched_ns = instant_ns(actuals.fetched_at)
    end_ns = min(end_ns, fetched_ns)
    settled_ns = instant_ns(actuals.settled_before)
    gap_settled_ns = settled_ns - GAP_SETTLES // timedelta(microseconds=1) * 1000
    issued_ns = instant_ns(series.issued_at) if series.issued_at is not None else None

    def one(first_ns: int, last_ns: int, level: float | None, method: str | None = None) -> KnownIntensity:
        until_ns = gap_settled_ns if level is None else settled_ns
        return KnownIntensity(first_ns, last_ns, level, fetched_ns, issued_ns, last_ns <= until_ns, method)

    at_ns = start_ns
    for first, last, level, method in series.slots():
        first_ns, last_ns = max(instant_ns(first), start_ns), min(instant_ns(last), end_ns)
        if first_ns >= last_ns:
            continue
        if at_ns < first_ns:
            yield one(at_ns, first_ns, None)
        yield one(first_ns, last_ns, level, method)
        at_ns = last_ns
