"""The grid's carbon intensity in the past, kept in the spool: ``<spool>/intensity/<YYYY-MM>/<name>.json``.

One file holds a month (UTC) of one zone, signal and provider. Each interval says when it was fetched and whether it is
settled or may still be revised; null is a time for which the provider has no figure. File names are made from zone,
signal and provider without characters that could leave the folder; a digest keeps similar names apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

from hpcfrugal.core.carbon_signal import MAX_G_PER_KWH, SIGNALS
from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import MAX_WALL_NS, MIN_WALL_NS, Range, codec
from hpcfrugal.core.safe_read import FileState, UnsafeFile, read_object
from hpcfrugal.spool.foldered import FolderedFiles, OnSkip
from hpcfrugal.spool.json_document import check_schema, document_json, record_in, refuse
from hpcfrugal.spool.layout import INTENSITY_DIR, encode_node, own_folder

_FILES = FolderedFiles(
    re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])"),
    re.compile(r"[A-Za-z0-9._%-]+\.json"),
    "a month of intensities",
    "a file of intensities",
)
_SHOWN = 60

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, order=True)
class IntensitySource:
    """A grid zone, ``average`` or ``marginal``, and the provider by its name in the settings."""

    zone: str
    signal: str
    provider: str

    @property
    def file_name(self) -> str:
        """The name of its files, the same in every month; it begins with the signal, so never with a dot."""
        key = json.dumps([self.zone, self.signal, self.provider])
        shown = [encode_node(part)[:_SHOWN] for part in (self.signal, self.zone, self.provider)]
        return f"{'.'.join(shown)}.{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"


_WALL = Range(MIN_WALL_NS, MAX_WALL_NS)


@dataclass(frozen=True, slots=True)
class KnownIntensity:
    """An intensity over ``[start_ns, end_ns)``; ``g_per_kwh`` None: the provider has none.

    Times are nanoseconds since 1970-01-01T00:00Z. One that is not ``settled`` may still be revised.
    ``estimated_by``: the provider's method, None for a value that it did not estimate.
    """

    start_ns: Annotated[int, _WALL]
    end_ns: Annotated[int, _WALL]
    g_per_kwh: Annotated[float | None, Range(0, MAX_G_PER_KWH)]
    fetched_ns: Annotated[int, _WALL]
    issued_ns: Annotated[int | None, _WALL]
    settled: bool
    estimated_by: str | None = None


@dataclass(frozen=True, slots=True)
class IntensityFile:
    """The content of a file, in the order of time and without overlaps."""

    source: IntensitySource
    intervals: tuple[KnownIntensity, ...]


def intensity_dir(spool_root: Path) -> Path:
    """The folder of a spool's intensities, whether it exists or not."""
    return spool_root / INTENSITY_DIR


def intensity_files(spool_root: Path, on_skip: OnSkip | None = None) -> list[Path]:
    """Every file of intensities, in order. ``on_skip`` is called for links and all other entries, with the reason."""
    return _FILES.below(intensity_dir(spool_root), on_skip)


def read_intensities(path: Path, owner_uid: int) -> tuple[IntensityFile, FileState]:
    """Read one file of ``owner_uid``. Raises ``UnsafeFile``: a file that is wrong anywhere counts nowhere."""
    content, state = read_object(path, owner_uid)
    check_schema(content)
    source = _checked(IntensitySource, content)
    if source.signal not in SIGNALS:
        raise UnsafeFile(f"has the signal {source.signal[:40]!r}, known are {', '.join(SIGNALS)}")
    if source.file_name != path.name:
        raise UnsafeFile("is of another zone, signal or provider than its name")
    columns, rows = codec(KnownIntensity).columns, content.get("intervals")
    if content.get("columns") != list(columns) or not isinstance(rows, list):
        raise UnsafeFile(f"lacks intervals with the columns {', '.join(columns)}")
    intervals = tuple(_interval(columns, row) for row in rows)
    if any(after.start_ns < before.end_ns for before, after in pairwise(intervals)):
        raise UnsafeFile("has intervals that overlap or are out of order")
    first_ns, last_ns = month_bounds(path.parent.name)
    if intervals and not first_ns <= intervals[0].start_ns <= intervals[-1].end_ns <= last_ns:
        raise UnsafeFile("has intervals outside its month")
    return IntensityFile(source, intervals), state


def _checked(record: type[_T], content: Mapping[str, Any]) -> _T:
    """The record in ``content``, all of which has to be valid. Raises ``UnsafeFile``."""
    problems: list[str] = []
    found = record_in(record, content, problems)
    refuse(problems)
    return found


def _interval(columns: Sequence[str], row: object) -> KnownIntensity:
    if not isinstance(row, list) or len(row) != len(columns):
        raise UnsafeFile("has an interval with more or fewer values than columns")
    known = _checked(KnownIntensity, dict(zip(columns, row, strict=True)))
    if known.start_ns >= known.end_ns:
        raise UnsafeFile("has an interval that does not end after its start")
    if known.g_per_kwh is not None and known.end_ns > known.fetched_ns:
        raise UnsafeFile("has an intensity that was fetched before its time was over: a forecast, not an actual")
    return known


def month_bounds(month: str) -> tuple[int, int]:
    """First instant of ``YYYY-MM`` (UTC) and of the month after it, in nanoseconds."""
    first = datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)
    after = (first + timedelta(days=31)).replace(day=1)
    return int(first.timestamp()) * 10**9, int(after.timestamp()) * 10**9


def months(start_ns: int, end_ns: int) -> Iterator[str]:
    """The months that ``[start_ns, end_ns)`` touches, as ``YYYY-MM``."""
    at_ns = start_ns
    while at_ns < end_ns:
        month = f"{datetime.fromtimestamp(at_ns // 10**9, UTC):%Y-%m}"
        yield month
        at_ns = month_bounds(month)[1]


def kept_intensities(spool_root: Path, source: IntensitySource, start_ns: int, end_ns: int) -> list[KnownIntensity]:
    """One's own intervals that touch ``[start_ns, end_ns)``. Raises ``UnsafeFile`` for a file that does not count."""
    found: list[KnownIntensity] = []
    for month in months(start_ns, end_ns):
        file = _read_own(intensity_dir(spool_root) / month / source.file_name)
        found += [known for known in file if known.end_ns > start_ns and known.start_ns < end_ns]
    return found


def keep_intensities(spool_root: Path, source: IntensitySource, fetched: Sequence[KnownIntensity]) -> int:
    """Merge fetched intervals into those that are kept; returns how many files changed.

    A newer figure replaces a known one, null never does. Where two processes do this at once, the files of the last one
    stay; what the other had is fetched again.

    Raises ``OSError``, and ``UnsafeFile`` for a file that does not count.
    """
    changed = 0
    for month in dict.fromkeys(month for known in fetched for month in months(known.start_ns, known.end_ns)):
        first_ns, last_ns = month_bounds(month)
        new = [part for known in fetched if (part := _cut(known, first_ns, last_ns)) is not None]
        path = intensity_dir(spool_root) / month / source.file_name
        old = _read_own(path)
        merged = overlaid(old, new)
        if merged != old:
            own_folder(spool_root, INTENSITY_DIR, month)
            write_json_atomic(path, _document(source, merged))
            changed += 1
    return changed


def _read_own(path: Path) -> list[KnownIntensity]:
    if not path.exists():
        return []
    return list(read_intensities(path, os.getuid())[0].intervals)


def _document(source: IntensitySource, intervals: Iterable[KnownIntensity]) -> dict[str, Any]:
    columns = codec(KnownIntensity).columns
    rows = [[getattr(known, name) for name in columns] for known in intervals]
    return {**document_json(source), "columns": list(columns), "intervals": rows}


def overlaid(old: Sequence[KnownIntensity], new: Sequence[KnownIntensity]) -> list[KnownIntensity]:
    """``new`` merged into ``old``, both in the order of time; null replaces no figure.

    A figure that is fetched again unchanged keeps the time when it was first fetched.
    """
    edges = sorted({edge for known in (*old, *new) for edge in (known.start_ns, known.end_ns)})
    merged: list[KnownIntensity] = []
    olds, news = _Walk(old), _Walk(new)
    for start_ns, end_ns in pairwise(edges):
        before, now = olds.at(start_ns), news.at(start_ns)
        best = _better(before, now)
        if best is None:
            continue
        part = replace(best, start_ns=start_ns, end_ns=end_ns)
        last = merged[-1] if merged else None
        # Cut by an edge of the other, a figure goes on as one.
        goes_on = last is not None and last.end_ns == start_ns and best.start_ns < start_ns
        if last is not None and goes_on and replace(part, start_ns=last.start_ns) == replace(last, end_ns=end_ns):
            merged[-1] = replace(last, end_ns=end_ns)
        else:
            merged.append(part)
    return merged


def _better(before: KnownIntensity | None, now: KnownIntensity | None) -> KnownIntensity | None:
    if before is None or now is None:
        return now or before
    if now.g_per_kwh is None and before.g_per_kwh is not None:
        return before
    return (
        before
        if replace(now, fetched_ns=before.fetched_ns, start_ns=before.start_ns, end_ns=before.end_ns) == before
        else now
    )


class _Walk:
    """Looks up intervals at ascending instants."""

    def __init__(self, intervals: Sequence[KnownIntensity]) -> None:
        self.intervals = intervals
        self.index = 0

    def at(self, instant_ns: int) -> KnownIntensity | None:
        while self.index < len(self.intervals) and self.intervals[self.index].end_ns <= instant_ns:
            self.index += 1
        if self.index == len(self.intervals) or self.intervals[self.index].start_ns > instant_ns:
            return None
        return self.intervals[self.index]


def _cut(known: KnownIntensity, first_ns: int, last_ns: int) -> KnownIntensity | None:
    start_ns, end_ns = max(known.start_ns, first_ns), min(known.end_ns, last_ns)
    return replace(known, start_ns=start_ns, end_ns=end_ns) if start_ns < end_ns else None
