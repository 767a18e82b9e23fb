"""A file of intensities: a site's own data, an export of ``hpcfrugal forecast``, or made-up values for a trial.

CSV: a header, then rows; columns ``start``, ``g_per_kwh`` and, if needed, ``end``, ``zone``, ``signal``, ``kind``,
``issued_at``, or other common names (``csv_table``). JSON: a series as ``hpcfrugal forecast --json`` writes it
(``{"zone", "signal", "kind", "issued_at", "start", "step_s", "g_per_kwh": [...]}`` or with
``"intervals": [[start, end, g], ...]``), a list of them,
or ``{"series": [...]}``. A file may hold several issues of one forecast; the newest that is not from the future is
used. Slots may be seconds long. A series without ``kind`` is a forecast if it has a time of issue, otherwise both:
values for times before the last change of the file are actuals. A series without a zone applies to any. A forecast
without a time of issue counts as issued when the file was last changed, with a note.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider, ProviderSettings
from hpcfrugal.carbon.providers.csv_table import read_csv
from hpcfrugal.carbon.readings import parse_intensity, parse_time, series_of
from hpcfrugal.carbon.series import CarbonSeries, SeriesKind, SeriesLabels
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import DataError, ForecastError
from hpcfrugal.core.http import Client
from hpcfrugal.core.safe_read import UnsafeFile, read_regular
from hpcfrugal.core.section import optional, required
from hpcfrugal.core.text import plain
from hpcfrugal.core.time import iso
from hpcfrugal.settings.values import AbsolutePath, SingleLine, TimeZone

_MAX_BYTES = 64 * 1024 * 1024
_AS_OLD_AS_THE_FILE = "no time of issue in the file; the time of its last change is used"


class FileSettings(ProviderSettings):
    """``[forecasts.NAME]`` of kind ``file``."""

    what = "a provider of kind file"

    path: Path = required(AbsolutePath, "", "/etc/hpcfrugal/intensity.csv")
    timezone: ZoneInfo | None = optional(TimeZone)
    """The time zone of times in CSV that have no UTC offset."""
    column: str | None = optional(SingleLine)
    """Name of the column with the intensity in CSV, if several could be it."""


@dataclass(frozen=True, slots=True)
class _Issue:
    """One series of the file; None: not in the file."""

    zone: str | None
    signal: Signal
    kind: SeriesKind | None
    issued_at: datetime | None
    points: tuple[tuple[datetime, datetime | None, float | None], ...]
    step: timedelta | None

    @property
    def known_kind(self) -> SeriesKind | None:
        """None: it may be either."""
        return self.kind or ("forecast" if self.issued_at else None)

    def is_of(self, zone: str) -> bool:
        return self.zone is None or self.zone.upper() == zone.upper()

    def matches(self, request: IntensityRequest, kind: SeriesKind) -> bool:
        return self.is_of(request.zone) and self.signal == request.signal and self.known_kind in (kind, None)


_KINDS: Mapping[SeriesKind | None, str] = {"forecast": "forecasts", "actual": "actuals", None: "intensities"}


class File(Provider):
    """Read anew each time."""

    kind = "file"
    about = "a CSV or JSON file"
    zones = "as given in the file"
    signals = ("average", "marginal")
    settings_model = FileSettings
    settings: FileSettings
    span = timedelta(days=400)
    settles = timedelta(days=2)  # the file may be corrected by hand
    cached = False

    @staticmethod
    def serves(zone: str) -> bool:
        """Any: whoever set it up chose the zone."""
        return True

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The newest issue of the file."""
        with self._naming_the_file():
            issues, changed_at = self._issues()
            series = self._newest(issues, request)
            if series.issued_at is not None:
                return IntensityAnswer(series)
            return IntensityAnswer(replace(series, issued_at=min(changed_at, request.now)), (_AS_OLD_AS_THE_FILE,))

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The actuals in the file; series that were issued later take precedence."""
        with self._naming_the_file():
            issues, changed_at = self._issues()
            return IntensityAnswer(self._overlaid(issues, changed_at, request))

    def _newest(self, issues: Collection[_Issue], request: IntensityRequest) -> CarbonSeries:
        found = [issue for issue in issues if issue.matches(request, "forecast")]
        by_now = [issue for issue in found if issue.issued_at is None or issue.issued_at <= request.now]
        if found and not by_now:
            first = min(issue.issued_at for issue in found if issue.issued_at)
            raise ForecastError(f"no forecast issued by now; the first is from {iso(first)}")
        if not found:
            raise ForecastError(
                f"no {request.signal} forecast for zone {request.zone!r}{_there_is(issues, request.zone)}"
            )
        newest = max(by_now, key=lambda issue: issue.issued_at.timestamp() if issue.issued_at else float("-inf"))
        return self._series(newest, request, "forecast")

    def _overlaid(self, issues: Collection[_Issue], changed_at: datetime, request: IntensityRequest) -> CarbonSeries:
        found = [issue for issue in issues if issue.matches(request, "actual")]
        found.sort(key=lambda issue: issue.issued_at.timestamp() if issue.issued_at else float("-inf"))
        series: CarbonSeries | None = None
        for issue in found:
            newer: CarbonSeries | None = self._series(issue, request, "actual")
            if newer is not None and issue.kind is None:
                newer = _over_by(newer, changed_at)
            if newer is not None:
                series = newer if series is None else series.overlaid(newer)
        if series is None:
            later = f"; values without kind are forecasts from {changed_at:%Y-%m-%d %H:%M}Z on" if found else ""
            where = later or _there_is(issues, request.zone)
            raise ForecastError(f"no actual {request.signal} intensities for zone {request.zone!r}{where}")
        return series

    def _series(self, issue: _Issue, request: IntensityRequest, kind: SeriesKind) -> CarbonSeries:
        labels: SeriesLabels = {
            "zone": request.zone,
            "signal": request.signal,
            "kind": kind,
            "issued_at": issue.issued_at,
            "provider": self.kind,
        }
        if issue.points and all(end is not None for _, end, _ in issue.points):
            # Gaps at both ends are dropped.
            rows = [(start, end, value) for start, end, value in issue.points if end is not None and value is not None]
            if not rows:
                raise ForecastError("no intensities")
            return CarbonSeries.from_intervals(rows, **labels)
        return series_of(((start, value) for start, _, value in issue.points), step=issue.step, **labels)

    def _issues(self) -> tuple[list[_Issue], datetime]:
        """The series in the file, and when it was last changed."""
        content, status = read_regular(self.settings.path, _MAX_BYTES, follow=True)
        text = content.decode("utf-8-sig")
        found = list(_of_json(text) if text.lstrip().startswith(("{", "[")) else _of_csv(text, self.settings))
        return found, datetime.fromtimestamp(status.st_mtime, UTC)

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        path = self.settings.path
        try:
            yield
        except (ForecastError, DataError) as error:
            raise ForecastError(f"{path}: {error.message}") from None
        except UnsafeFile as error:
            raise ForecastError(f"{path}: {error}") from None
        except UnicodeDecodeError:
            raise ForecastError(f"{path}: not UTF-8 text") from None
        except csv.Error as error:
            raise ForecastError(f"{path}: invalid CSV: {error}") from None
        except OverflowError:
            raise ForecastError(f"{path}: times outside the years 1 to 9999") from None


def _there_is(issues: Iterable[_Issue], zone: str) -> str:
    """What the file has of a zone, else which zones it has, for a message."""
    own = sorted({f"{issue.signal} {_KINDS[issue.known_kind]}" for issue in issues if issue.is_of(zone)})
    if own:
        return f"; of that zone the file has {', '.join(own)}"
    zones = sorted({issue.zone for issue in issues if issue.zone is not None})
    return f"; the file has {plain(', '.join(map(repr, zones[:10])), 200)}" if zones else ""


def _over_by(series: CarbonSeries, moment: datetime) -> CarbonSeries | None:
    """The slots that end by ``moment``; None if there are none."""
    ends = [slot.end for slot in series.slots() if slot.end <= moment]
    return series.slice(series.start, ends[-1]) if ends else None


def _of_json(text: str) -> Iterator[_Issue]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ForecastError("invalid or incomplete JSON") from None
    if isinstance(document, Mapping) and "series" in document:
        document = document["series"]
    for one in document if isinstance(document, list) else [document]:
        if not isinstance(one, Mapping):
            raise ForecastError("a series is not a JSON object")
        yield _of_object(one)


def _of_object(one: Mapping[str, Any]) -> _Issue:
    points: list[tuple[datetime, datetime | None, float | None]] = []
    step = None
    if isinstance(one.get("intervals"), list):
        for row in one["intervals"]:
            if not isinstance(row, list) or len(row) != 3:
                raise ForecastError("intervals need the form [start, end, g/kWh]")
            start = parse_time(row[0])
            points.append((start, parse_time(row[1]), parse_intensity(row[2], start)))
    else:
        length, values = one.get("step_s"), one.get("g_per_kwh")
        if isinstance(length, bool) or not isinstance(length, int | float) or not 1e-3 <= length <= 366 * 86_400:
            raise ForecastError("needs step_s, the length of a slot in seconds, or intervals")
        if not isinstance(values, list):
            raise ForecastError("needs g_per_kwh, a list of numbers")
        step, first = timedelta(seconds=length), parse_time(one.get("start"))
        points = [
            (at := first + index * step, at + step, parse_intensity(value, at)) for index, value in enumerate(values)
        ]
    return _Issue(*_head(one), tuple(points), step)


def _of_csv(text: str, settings: FileSettings) -> Iterator[_Issue]:
    issues: dict[tuple[str | None, Signal, SeriesKind | None, datetime | None], list[Any]] = {}
    for row in read_csv(text, column=settings.column, zone=settings.timezone):
        issues.setdefault(_head(row.labels), []).append((row.start, row.end, row.g_per_kwh))
    for head, points in issues.items():
        yield _Issue(*head, tuple(points), None)


def _head(one: Mapping[str, Any]) -> tuple[str | None, Signal, SeriesKind | None, datetime | None]:
    zone: str | None = one.get("zone") or None
    signal: Signal = one.get("signal") or "average"
    kind: SeriesKind | None = one.get("kind") or None
    if not isinstance(zone, str | None):
        raise ForecastError("zone must be a text")
    for name, value, known in (("signal", signal, get_args(Signal)), ("kind", kind, (None, *get_args(SeriesKind)))):
        if value not in known:
            raise ForecastError(f"unknown {name} {value!r}; known: {', '.join(filter(None, known))}")
    issued = one.get("issued_at")
    return (
        zone,
        signal,
        kind,
        _issue_time(issued) if issued else None,
    )


def _issue_time(value: object) -> datetime:
    """An instant; a number may be a text, as all are in CSV."""
    try:
        return parse_time(float(value) if isinstance(value, str) else value)
    except ValueError:
        return parse_time(value)
