"""A CSV file of carbon intensities, with the column names, units and times that sites and exports use."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hpcfrugal.carbon.readings import parse_intensity, parse_time
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.text import plain

_STARTS = (
    "start", "time", "from", "datetime", "timestamp", "date_time", "date", "start_time", "start_date", "begin",
    "valid_from", "period_start", "hour", "minutes5",
)  # fmt: skip
_ENDS = ("end", "to", "until", "end_time", "end_date", "valid_to", "period_end")
_VALUES = ("g_per_kwh", "intensity", "carbon_intensity", "co2_intensity", "co2emission", "co2", "value", "forecast")
_LABELS = {
    "zone": ("zone", "zone_id"), "signal": ("signal",), "kind": ("kind",), "issued_at": ("issued_at",),
}  # fmt: skip
"""Names of columns in small letters, best first, with ``_`` for anything but letters and digits."""

_UNITS = (
    (re.compile(r"(^|_)lbs?[a-z0-9_]*mwh"), 0.45359237),
    (re.compile(r"(^|_)kg[a-z0-9_]*mwh"), 1.0),
    (re.compile(r"(^|_)t(on)?(ne)?s?(_|co2)[a-z0-9_]*mwh"), 1000.0),
    (re.compile(r"(^|_)kg[a-z0-9_]*kwh"), 1000.0),
    (re.compile(r"(^|_)g(r|ram)?s?[a-z0-9_]*kwh"), 1.0),
)
"""Units in the name of a column, each with its factor to g/kWh (1 lb = 453.59237 g)."""


_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
"""Those before the header."""


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row; ``labels`` has its ``zone``, ``signal``, ``kind`` and ``issued_at``, as far as there are columns."""

    start: datetime
    end: datetime | None
    g_per_kwh: float | None
    labels: dict[str, str]


def read_csv(text: str, *, column: str | None = None, zone: ZoneInfo | None = None) -> Iterator[CsvRow]:
    """The rows of a table with a header.

    Columns are separated by commas, semicolons (then numbers may have a decimal comma) or tabs. ``column`` names the
    one with the intensity, where several could be. Times are ISO 8601, or seconds since 1970; without an offset they
    are local times of ``zone``, or UTC where the name of their column ends so. Of an hour that the clock repeats, the
    second comes after the first. Raises ForecastError.
    """
    if not text.strip():
        raise ForecastError("the file is empty")
    table = _BLANK_LINES.sub("", text, count=1)
    line_of_head = text.count("\n") - table.count("\n")
    delimiter = max(",;\t", key=table.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(table), delimiter=delimiter)
    names = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = names
    start_name, end_name = _named(names, _STARTS), _named(names, _ENDS)
    value_name = column if column in names else _value_column(names, column)
    if start_name is None or value_name is None:
        raise ForecastError(f"the header needs the columns start and g_per_kwh; it has {_listed(names)}")
    factor = _factor(value_name)
    labels = {label: name for label, known in _LABELS.items() if (name := _named(names, known)) is not None}
    starts, others = _Times(zone, start_name), _Times(zone, end_name or "")
    for row in reader:
        try:
            start = starts.next(row.get(start_name) or "")
            end = others.after(start, row[end_name]) if end_name and row.get(end_name) else None
            value = _number(row.get(value_name), decimal_comma=delimiter == ";")
            g_per_kwh = parse_intensity(value, start, factor=factor)
        except ForecastError as error:
            raise ForecastError(f"line {line_of_head + reader.line_num}: {error.message}") from None
        yield CsvRow(start, end, g_per_kwh, {label: (row.get(name) or "").strip() for label, name in labels.items()})


class _Times:
    """The times of one column, in the order of its rows."""

    def __init__(self, zone: ZoneInfo | None, name: str) -> None:
        self._zone = UTC if _spelled(name).endswith("utc") else zone
        self._last: datetime | None = None

    def next(self, text: str) -> datetime:
        """The instant of a row, after that of the row before where the local time occurs twice."""
        self._last = self.after(self._last, text)
        return self._last

    def after(self, before: datetime | None, text: str) -> datetime:
        """The instant that ``text`` means; of the two of a repeated hour the first that is after ``before``."""
        try:
            return parse_time(float(text))
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return parse_time(text)
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
        if self._zone is None:
            raise ForecastError(
                f'time {plain(text, 40)!r} has no UTC offset; set timezone = "Europe/Paris" (or another) for this file'
            )
        first, second = (moment.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first.astimezone(self._zone).replace(tzinfo=None) != moment:
            raise ForecastError(f"time {plain(text, 40)!r} does not exist in {self._zone}: the clock skips it")
        return second if before is not None and first <= before else first


def _spelled(name: str) -> str:
    """A column's name in small letters, with ``_`` for anything but letters and digits."""
    return re.sub(r"[^a-z0-9]+", "_", name.replace("₂", "2").lower()).strip("_")


def _named(names: list[str], wanted: tuple[str, ...]) -> str | None:
    spelled = {_spelled(name).removesuffix("utc").removesuffix("_"): name for name in reversed(names)}
    return next((spelled[one] for one in wanted if one in spelled), None)


def _value_column(names: list[str], column: str | None) -> str | None:
    """The column of the intensity: by its name, else by a unit in its name."""
    if column is not None:
        raise ForecastError(f"there is no column {column!r}; the file has {_listed(names)}")
    if (found := _named(names, _VALUES)) is not None:
        return found
    with_unit = [name for name in names if any(unit.search(_spelled(name)) for unit, _ in _UNITS)]
    if len(with_unit) > 1:
        raise ForecastError(f"several columns may be the intensity; set column to one of {_listed(with_unit)}")
    return with_unit[0] if with_unit else None


def _listed(names: list[str]) -> str:
    return plain(", ".join(repr(name) for name in names[:20]) or "none", 400)


def _factor(name: str) -> float:
    return next((factor for unit, factor in _UNITS if unit.search(_spelled(name))), 1.0)


def _number(text: str | None, *, decimal_comma: bool) -> float | str | None:
    """A number, None for an empty field; other text as it is."""
    if text is None or not text.strip():
        return None
    try:
        return float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        return text
