"""A file of intensities: what a site gets from elsewhere, a made-up day to try things with, or an export of our own.

CSV: a head, then rows; a column ``start`` (or ``time``, ``from``, ``datetime``), one ``g_per_kwh`` (or
``intensity``), and, if there are any, ``end`` (or ``to``), ``zone``, ``signal``, ``kind``, ``issued_at``. Times are
ISO 8601 with a zone, or seconds since 1970. JSON: a series as ``hpcfrugal forecast --json`` writes it (``{"zone",
"signal", "kind", "issued_at", "start", "step_s", "g_per_kwh": [...]}`` or with ``"intervals": [[start, end, g],
...]``), a list of them, or ``{"series": [...]}``; several issues of one forecast may stand in one file, and the
newest that was issued by now is taken. Slots may be seconds long. What does not say its kind is forecast where it has
a time of issue, else both; without a zone it holds for any. A forecast that does not say when it was issued is taken
to be as old as the file, and that is said.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args

from pydantic import Field

from hpcfrugal.carbon.providers.base import Answer, Ask, ProviderSettings, Standard
from hpcfrugal.carbon.readings import intensity, moment, series_of
from hpcfrugal.carbon.series import CarbonSeries, Kind, Signal
from hpcfrugal.core.errors import DataError, ForecastError
from hpcfrugal.core.http import Client
from hpcfrugal.core.safe_read import UnsafeFile, read_regular
from hpcfrugal.core.time import iso
from hpcfrugal.settings.values import AbsolutePath

_MAX_BYTES = 64 * 1024 * 1024
_STARTS = ("start", "time", "from", "datetime")
_ENDS = ("end", "to")
_VALUES = ("g_per_kwh", "intensity")
_AS_OLD_AS_THE_FILE = "the file does not say when it was issued; the time of its last change is taken"


class FileSettings(ProviderSettings):
    """``[forecasts.NAME]`` of kind ``file``."""

    what = "a provider of kind file"

    path: AbsolutePath = Field(examples=["/etc/hpcfrugal/intensity.csv"])


@dataclass(frozen=True, slots=True)
class _Issue:
    """One series of the file; None is what it does not say."""

    zone: str | None
    signal: Signal
    kind: Kind | None
    issued_at: datetime | None
    points: tuple[tuple[datetime, datetime | None, float | None], ...]
    step: timedelta | None

    def matches(self, ask: Ask, kind: Kind) -> bool:
        if self.zone is not None and self.zone.upper() != ask.zone.upper():
            return False
        mine = self.kind or ("forecast" if self.issued_at else kind)
        return self.signal == ask.signal and mine == kind


class File(Standard):
    """Read anew each time."""

    kind = "file"
    about = "a CSV or JSON file"
    signals = ("average", "marginal")
    settings_model = FileSettings
    settings: FileSettings
    span = timedelta(days=400)
    settles = timedelta(days=2)  # of a file that is corrected by hand, say
    cached = False

    @staticmethod
    def serves(zone: str) -> bool:
        """None by itself: a file has to be named."""
        return False

    def forecast(self, ask: Ask, client: Client) -> Answer:
        """The newest issue of the file."""
        with self._naming_the_file():
            issues, changed_at = self._issues()
            series = self._newest(issues, ask)
            if series.issued_at is not None:
                return Answer(series)
            return Answer(replace(series, issued_at=min(changed_at, ask.now)), (_AS_OLD_AS_THE_FILE,))

    def actuals(self, ask: Ask, client: Client) -> Answer:
        """The file's actuals; of several series those issued later go before."""
        with self._naming_the_file():
            return Answer(self._overlaid(ask))

    def _newest(self, issues: Iterable[_Issue], ask: Ask) -> CarbonSeries:
        found = [issue for issue in issues if issue.matches(ask, "forecast")]
        by_now = [issue for issue in found if issue.issued_at is None or issue.issued_at <= ask.now]
        if found and not by_now:
            first = min(issue.issued_at for issue in found if issue.issued_at)
            raise ForecastError(f"has no forecast issued by now; the first is of {iso(first)}")
        if not found:
            raise ForecastError(f"has no {ask.signal} forecast for zone {ask.zone!r}")
        newest = max(by_now, key=lambda issue: issue.issued_at.timestamp() if issue.issued_at else float("-inf"))
        return self._series(newest, ask, "forecast")

    def _overlaid(self, ask: Ask) -> CarbonSeries:
        found = [issue for issue in self._issues()[0] if issue.matches(ask, "actual")]
        if not found:
            raise ForecastError(f"has no {ask.signal} actual intensity of zone {ask.zone!r}")
        found.sort(key=lambda issue: issue.issued_at.timestamp() if issue.issued_at else float("-inf"))
        series = self._series(found[0], ask, "actual")
        for issue in found[1:]:
            series = series.overlaid(self._series(issue, ask, "actual"))
        return series

    def _series(self, issue: _Issue, ask: Ask, kind: Kind) -> CarbonSeries:
        if issue.points and all(end is not None for _, end, _ in issue.points):
            # A gap at an end of the file is no different from none.
            told = [(start, end, value) for start, end, value in issue.points if end is not None and value is not None]
            if not told:
                raise ForecastError("gave no figures")
            for start, end, _ in told:
                if end <= start:
                    raise ForecastError(f"has a slot from {iso(start)} to {iso(end)}")
            for before, after in pairwise(told):
                if after[0] < before[1]:
                    raise ForecastError(f"went back in time, from {iso(before[1])} to {iso(after[0])}")
            return CarbonSeries.from_intervals(
                told, zone=ask.zone, signal=ask.signal, kind=kind, issued_at=issue.issued_at, provider=self.kind
            )
        return series_of(
            ((start, value) for start, _, value in issue.points), step=issue.step, zone=ask.zone, signal=ask.signal,
            kind=kind, issued_at=issue.issued_at, provider=self.kind,
        )  # fmt: skip

    def _issues(self) -> tuple[list[_Issue], datetime]:
        """What is in the file, and when that was last changed."""
        content, status = read_regular(self.settings.path, _MAX_BYTES, follow=True)
        text = content.decode("utf-8-sig")
        found = list(_of_json(text) if text.lstrip().startswith(("{", "[")) else _of_csv(text))
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
            raise ForecastError(f"{path}: is no text") from None
        except csv.Error as error:
            raise ForecastError(f"{path}: is no CSV: {error}") from None
        except OverflowError:
            raise ForecastError(f"{path}: reaches beyond the years 1 to 9999") from None


def _of_json(text: str) -> Iterator[_Issue]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise ForecastError("holds what is no JSON, or not the whole of it") from None
    if isinstance(told, Mapping) and "series" in told:
        told = told["series"]
    for one in told if isinstance(told, list) else [told]:
        if not isinstance(one, Mapping):
            raise ForecastError("holds a series that is no JSON object")
        yield _of_object(one)


def _of_object(one: Mapping[str, Any]) -> _Issue:
    points: list[tuple[datetime, datetime | None, float | None]] = []
    step = None
    if isinstance(one.get("intervals"), list):
        for row in one["intervals"]:
            if not isinstance(row, list) or len(row) != 3:
                raise ForecastError("needs intervals of the form [start, end, g/kWh]")
            start = moment(row[0])
            points.append((start, moment(row[1]), intensity(row[2], start)))
    else:
        length, values = one.get("step_s"), one.get("g_per_kwh")
        if isinstance(length, bool) or not isinstance(length, int | float) or not 1e-3 <= length <= 366 * 86_400:
            raise ForecastError("needs step_s, the length of a slot in seconds, or intervals")
        if not isinstance(values, list):
            raise ForecastError("needs g_per_kwh, a list of figures")
        step, first = timedelta(seconds=length), moment(one.get("start"))
        points = [(at := first + index * step, at + step, intensity(value, at)) for index, value in enumerate(values)]
    return _Issue(*_head(one), tuple(points), step)


def _of_csv(text: str) -> Iterator[_Issue]:
    if not text.strip():
        raise ForecastError("is empty")
    reader = csv.DictReader(io.StringIO(text))
    columns = [column.strip() for column in reader.fieldnames or []]
    reader.fieldnames = columns
    start_name, value_name = _column(_STARTS, columns), _column(_VALUES, columns)
    if start_name is None or value_name is None:
        raise ForecastError(f"needs columns {_STARTS[0]} and {_VALUES[0]} in its head")
    end_name = _column(_ENDS, columns)
    issues: dict[tuple[str | None, Signal, Kind | None, datetime | None], list[Any]] = {}
    for row in reader:
        at = _csv_moment(row.get(start_name))
        end = _csv_moment(row[end_name]) if end_name and row.get(end_name) else None
        issues.setdefault(_head(row), []).append((at, end, intensity(_csv_number(row.get(value_name)), at)))
    for head, points in issues.items():
        yield _Issue(*head, tuple(points), None)


def _column(names: tuple[str, ...], columns: list[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _csv_moment(text: str | None) -> datetime:
    try:
        return moment(float(text or ""))
    except ValueError:
        return moment(text)


def _csv_number(text: str | None) -> float | str | None:
    if text is None or not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _head(one: Mapping[str, Any]) -> tuple[str | None, Signal, Kind | None, datetime | None]:
    zone: str | None = one.get("zone") or None
    signal: Signal = one.get("signal") or "average"
    kind: Kind | None = one.get("kind") or None
    if not isinstance(zone, str | None):
        raise ForecastError("needs a text as zone")
    for name, told, known in (("signal", signal, get_args(Signal)), ("kind", kind, (None, *get_args(Kind)))):
        if told not in known:
            raise ForecastError(f"holds {told!r} as {name}; known are {', '.join(filter(None, known))}")
    issued = one.get("issued_at")
    return zone, signal, kind, (_csv_moment(issued) if isinstance(issued, str) else moment(issued)) if issued else None
