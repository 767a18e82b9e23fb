"""After the fact: asks what the intensity was when energy was used, and keeps the answers in the spool.

Nothing is asked about hours whose figures are kept and settled. What is still to be asked is joined into few ranges, so
that all jobs of a zone and time are one question; the newest range is asked first. A provider that fails costs one line
and is asked again at the next sync. Of one that never tells what was in a zone, it is kept that it has no figure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hpcfrugal.accounting.spans import joined
from hpcfrugal.carbon.fetch import Clock
from hpcfrugal.carbon.forecast import Actuals, get_actuals
from hpcfrugal.carbon.select import TellsNoPast, Unserved, candidates
from hpcfrugal.carbon.series import Signal
from hpcfrugal.carbon.use_period import UsePeriod
from hpcfrugal.core.errors import ForecastError, HpcfrugalError
from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.core.time import from_us, instant_us
from hpcfrugal.settings.config import Config
from hpcfrugal.spool.intensity import (
    IntensitySource,
    KnownIntensity,
    intensity_dir,
    keep_intensities,
    kept_intensities,
)

if TYPE_CHECKING:
    import httpx

GAP_SETTLES = timedelta(days=7)
"""How long after its figures have settled a provider is still asked for one that it did not have."""

LONGEST_S = 15.0
"""After so many seconds nothing more is asked; what is left waits for the next sync."""

_HOUR_NS = 3600 * 10**9
_JOINED_NS = 6 * _HOUR_NS
_FAILURES = 2


@dataclass(frozen=True, slots=True)
class Gathered:
    """What came of it: how many files of the spool changed, and a sentence for each trouble."""

    changed: int
    troubles: tuple[str, ...]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Gathering:
    config: Config
    spool_root: Path
    clock: Clock
    transport: httpx.BaseTransport | None
    environ: Mapping[str, str]
    give_up_at: float
    changed: int = 0

    def now_ns(self) -> int:
        return instant_us(self.clock()) * 1000

    def source(self, zone: str, signal: Signal, provider: str | None, wanted: Sequence[UsePeriod]) -> Iterator[str]:
        """Ask about one zone; yields troubles."""
        due = list(_hours(((one.start_ns, one.end_ns) for one in wanted), self.now_ns()))
        try:
            names, troubles = self.names(zone, signal, provider)
            if not names and provider is not None:
                if self.never_told(zone, signal, provider):
                    yield from self.keep_none(IntensitySource(zone, signal, provider), due)
                if signal == "average":
                    # Who made the forecast tells no actuals: for the footprint anybody's will do.
                    provider, (names, more) = None, self.names(zone, signal, None)
                    troubles = [*troubles, *more]
            for name in names:
                due = self.without_settled(IntensitySource(zone, signal, name), due)
        except HpcfrugalError as error:
            yield f"{_of(zone, signal)}: not asked for: {error.message}"
            return
        except (OSError, UnsafeFile) as error:
            yield _not_kept(zone, signal, error)
            return
        failed: list[str] = []
        for start_ns, end_ns in sorted(joined(due, _JOINED_NS), reverse=True):
            if len(failed) == _FAILURES or not names or time.monotonic() > self.give_up_at:
                break
            try:
                self.ask(zone, signal, provider, start_ns, end_ns)
            except ForecastError as error:
                failed.append(error.message)
            except (OSError, UnsafeFile) as error:
                yield _not_kept(zone, signal, error)
                break
        if failed:
            yield f"{_of(zone, signal)}: {failed[0]}; asked again at the next sync"
        for trouble in troubles if due else ():
            if not any(trouble.message in message for message in failed):
                yield f"{_of(zone, signal)}: {trouble.message}"

    def names(self, zone: str, signal: Signal, provider: str | None) -> tuple[list[str], list[ForecastError]]:
        """Who may be asked, and why others may not be. Where nobody tells it there is neither: reports say so, and no
        sync can change it.

        Raises ``InputError`` where the settings are wrong.
        """
        try:
            found = candidates(self.config, zone, signal, "actual", provider=provider, environ=self.environ)
        except Unserved:
            return [], []
        except ForecastError as error:
            return [], [error]
        return [choice.settings.name for choice in found.choices], list(found.troubles)

    def never_told(self, zone: str, signal: Signal, provider: str) -> bool:
        """Whether a provider tells forecasts of a zone, but never what was."""
        try:
            candidates(self.config, zone, signal, "actual", provider=provider, environ=self.environ)
        except ForecastError as error:
            return isinstance(error, TellsNoPast)
        return False

    def keep_none(self, source: IntensitySource, due: Sequence[tuple[int, int]]) -> Iterator[str]:
        """Keep that there is no figure, so that nobody waits for one; said once, at the first.

        Raises ``OSError`` or ``UnsafeFile`` where it cannot be kept.
        """
        left = self.without_settled(source, due)
        if not left:
            return
        first = next(intensity_dir(self.spool_root).glob(f"*/{source.file_name}"), None) is None
        now_ns = self.now_ns()
        none = [KnownIntensity(start_ns, end_ns, None, now_ns, None, settled=True) for start_ns, end_ns in joined(left)]
        self.changed += keep_intensities(self.spool_root, source, none)
        if first:
            yield f"{_of(source.zone, source.signal)}: {source.provider} tells its forecasts only, and is not asked"

    def without_settled(self, source: IntensitySource, due: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        if not due:
            return []
        kept = kept_intensities(self.spool_root, source, due[0][0], due[-1][1])
        settled = list(joined((one.start_ns, one.end_ns) for one in kept if one.settled))
        return [
            (start_ns, end_ns)
            for start_ns, end_ns in due
            if not any(first_ns <= start_ns and end_ns <= last_ns for first_ns, last_ns in settled)
        ]

    def ask(self, zone: str, signal: Signal, provider: str | None, start_ns: int, end_ns: int) -> None:
        """One question. Raises ``ForecastError``, and ``OSError`` or ``UnsafeFile`` where the answer cannot be kept."""
        start, end = from_us(start_ns // 1000), from_us(end_ns // 1000)
        told = get_actuals(
            self.config, zone, signal, start, end, provider=provider, transport=self.transport, environ=self.environ,
            clock=self.clock,
        )  # fmt: skip
        source = IntensitySource(zone, signal, told.provider)
        self.changed += keep_intensities(
            self.spool_root, source, list(_known(told, start_ns, min(end_ns, self.now_ns())))
        )


def gather(
    config: Config,
    spool_root: Path,
    wanted: Iterable[UsePeriod],
    *,
    clock: Clock = _now,
    transport: httpx.BaseTransport | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Gathered:
    """Fetch what is wanted and not settled yet into the spool. Raises nothing for what providers do or say."""
    gathering = _Gathering(config, spool_root, clock, transport, environ, time.monotonic() + LONGEST_S)
    groups: dict[tuple[str, Signal, str | None], list[UsePeriod]] = {}
    for one in wanted:
        groups.setdefault((one.zone, one.signal, one.provider), []).append(one)
    troubles: list[str] = []
    # Those that name a provider first: where it serves anyway, nothing is left to ask for the others.
    for (zone, signal, provider), some in sorted(groups.items(), key=lambda item: (item[0][2] is None, str(item[0]))):
        troubles += gathering.source(zone, signal, provider, some)
    return Gathered(gathering.changed, tuple(dict.fromkeys(troubles)))


def _of(zone: str, signal: str) -> str:
    return f"{signal} carbon intensity of {zone} as it was"


def _not_kept(zone: str, signal: str, error: OSError | UnsafeFile) -> str:
    if isinstance(error, UnsafeFile):
        return f"{_of(zone, signal)}: a file of the spool {error}; `hpcfrugal ledger check` names it"
    return f"{_of(zone, signal)}: cannot be kept in the spool: {error.strerror}"


def _hours(spans: Iterable[tuple[int, int]], now_ns: int) -> Iterator[tuple[int, int]]:
    """Whole hours that the spans touch, each once, in order; those that have not begun are left out."""
    hours = {
        hour for start_ns, end_ns in spans for hour in range(start_ns // _HOUR_NS, -(-min(end_ns, now_ns) // _HOUR_NS))
    }
    for hour in sorted(hours):
        yield hour * _HOUR_NS, (hour + 1) * _HOUR_NS


def _known(told: Actuals, start_ns: int, end_ns: int) -> Iterator[KnownIntensity]:
    """The answer as it is kept: figures, and gaps up to the last of them. What comes after may be on its way."""
    series = told.series
    fetched_ns = instant_us(told.fetched_at) * 1000
    settled_ns = instant_us(told.settled_before) * 1000
    gap_settled_ns = settled_ns - GAP_SETTLES // timedelta(microseconds=1) * 1000
    issued_ns = instant_us(series.issued_at) * 1000 if series.issued_at is not None else None

    def one(first_ns: int, last_ns: int, level: float | None) -> KnownIntensity:
        until_ns = gap_settled_ns if level is None else settled_ns
        return KnownIntensity(first_ns, last_ns, level, fetched_ns, issued_ns, last_ns <= until_ns)

    at_ns = start_ns
    for first, last, level in series.slots():
        first_ns, last_ns = max(instant_us(first) * 1000, start_ns), min(instant_us(last) * 1000, end_ns)
        if first_ns >= last_ns:
            continue
        if at_ns < first_ns:
            yield one(at_ns, first_ns, None)
        yield one(first_ns, last_ns, level)
        at_ns = last_ns
