"""What the grid's carbon intensity was, kept in the spool: ``<spool>/intensity/<YYYY-MM>/<name>.json``.

One file holds a month (UTC) of one zone, signal and provider. Each of its intervals says when it was fetched and
whether it is settled or may still be revised. Null stands for a time that the provider was asked about and had no
figure of. The name of a file is made from zone, signal and provider so that none leaves its folder, and a digest in it
keeps apart what would read alike; the content says what the file is of.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.core.json_fields import MAX_WALL_NS, MIN_WALL_NS, Fields
from hpcfrugal.core.safe_read import FileState, UnsafeFile, read_object
from hpcfrugal.spool.layout import INTENSITY_DIR, SCHEMA_VERSION, encode_node, own_folder

SIGNALS = ("average", "marginal")

MOST_G_PER_KWH = 1e6
"""Above any intensity in any unit; burning coal gives off about 1000 g/kWh (IPCC AR5 WG3, Annex III)."""

_COLUMNS = ("start_ns", "end_ns", "g_per_kwh", "fetched_ns", "issued_ns", "settled")
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")
_NAME = re.compile(r"[A-Za-z0-9._%-]+\.json")
_SHOWN = 60


@dataclass(frozen=True, slots=True, order=True)
class IntensitySource:
    """Whose figures: a grid zone, ``average`` or ``marginal``, and the provider by its name in the settings."""

    zone: str
    signal: str
    provider: str

    @property
    def file_name(self) -> str:
        """The name of its files, the same in every month; it begins with the signal, so never with a dot."""
        told = json.dumps([self.zone, self.signal, self.provider])
        shown = [encode_node(part)[:_SHOWN] for part in (self.signal, self.zone, self.provider)]
        return f"{'.'.join(shown)}.{hashlib.sha256(told.encode()).hexdigest()[:12]}.json"


@dataclass(frozen=True, slots=True)
class KnownIntensity:
    """An intensity over ``[start_ns, end_ns)``; ``g_per_kwh`` None: the provider was asked and had none.

    Times are nanoseconds since 1970-01-01T00:00Z. One that is not ``settled`` may still be revised.
    """

    start_ns: int
    end_ns: int
    g_per_kwh: float | None
    fetched_ns: int
    issued_ns: int | None
    settled: bool


@dataclass(frozen=True, slots=True)
class IntensityFile:
    """What a file holds, in the order of time and without overlaps."""

    source: IntensitySource
    intervals: tuple[KnownIntensity, ...]


def intensity_dir(spool_root: Path) -> Path:
    """Where a spool has its intensities, whether it has any or not."""
    return spool_root / INTENSITY_DIR


def intensity_files(spool_root: Path, on_skip: Callable[[Path, str], None] | None = None) -> list[Path]:
    """Every file of intensities, in order. Links are not followed; ``on_skip`` hears of what is none, and why."""
    found: list[Path] = []
    root = intensity_dir(spool_root)
    if root.is_symlink():
        _skip(on_skip, root, "a symbolic link, not followed")
        return found
    for month in _listed(root, on_skip):
        if not _MONTH.fullmatch(month.name) or not month.is_dir(follow_symlinks=False):
            _skip(on_skip, Path(month.path), "not a month of intensities")
            continue
        for file in _listed(Path(month.path), on_skip):
            if file.name.startswith("."):
                continue
            if not _NAME.fullmatch(file.name) or not file.is_file(follow_symlinks=False):
                _skip(on_skip, Path(file.path), "not a file of intensities")
                continue
            found.append(Path(file.path))
    return found


def _skip(on_skip: Callable[[Path, str], None] | None, path: Path, reason: str) -> None:
    if on_skip is not None:
        on_skip(path, reason)


def _listed(folder: Path, on_skip: Callable[[Path, str], None] | None) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        _skip(on_skip, folder, f"cannot be listed: {error.strerror}")
        return []


def read_intensities(path: Path, owner_uid: int) -> tuple[IntensityFile, FileState]:
    """Read one file of ``owner_uid``. Raises ``UnsafeFile``: a file that is wrong anywhere counts nowhere."""
    told, state = read_object(path, owner_uid)
    if told.get("schema") != SCHEMA_VERSION or isinstance(told.get("schema"), bool):
        raise UnsafeFile(f"has schema {str(told.get('schema'))[:40]}, this program reads {SCHEMA_VERSION}")
    fields = Fields(told)
    names = [fields.text(name) for name in ("zone", "signal", "provider")]
    if not all(names) or names[1] not in SIGNALS:
        raise UnsafeFile("does not say its zone, signal and provider")
    source = IntensitySource(*(str(name) for name in names))
    if source.file_name != path.name:
        raise UnsafeFile("is of another zone, signal or provider than its name says")
    rows = told.get("intervals")
    if told.get("columns") != list(_COLUMNS) or not isinstance(rows, list):
        raise UnsafeFile("has no intervals of the known form")
    intervals = tuple(_known(row) for row in rows)
    if any(after.start_ns < before.end_ns for before, after in pairwise(intervals)):
        raise UnsafeFile("has intervals that overlap or are out of order")
    first_ns, last_ns = month_bounds(path.parent.name)
    if intervals and not first_ns <= intervals[0].start_ns <= intervals[-1].end_ns <= last_ns:
        raise UnsafeFile("has intervals outside its month")
    return IntensityFile(source, intervals), state


def _known(row: object) -> KnownIntensity:
    if not isinstance(row, list) or len(row) != len(_COLUMNS):
        raise UnsafeFile("has an interval of an unknown form")
    start_ns, end_ns, level, fetched_ns, issued_ns, settled = row
    times = [start_ns, end_ns, fetched_ns, *([] if issued_ns is None else [issued_ns])]
    if not all(type(time) is int and MIN_WALL_NS <= time <= MAX_WALL_NS for time in times) or start_ns >= end_ns:
        raise UnsafeFile("has an interval with times that cannot be")
    if level is not None and not (type(level) in (int, float) and math.isfinite(level) and 0 <= level < MOST_G_PER_KWH):
        raise UnsafeFile("has an intensity that cannot be")
    if not isinstance(settled, bool):
        raise UnsafeFile("does not say of an interval whether it is settled")
    return KnownIntensity(start_ns, end_ns, None if level is None else float(level), fetched_ns, issued_ns, settled)


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


def keep_intensities(spool_root: Path, source: IntensitySource, told: Sequence[KnownIntensity]) -> int:
    """Lay what was told over what is kept; returns how many files changed.

    A known figure is replaced by a newer one, never by the word that there is none. Of two processes at one time the
    last one's files stay; what the other had is asked for again.

    Raises ``OSError``, and ``UnsafeFile`` for a file that does not count.
    """
    changed = 0
    for month in dict.fromkeys(month for known in told for month in months(known.start_ns, known.end_ns)):
        first_ns, last_ns = month_bounds(month)
        new = [part for known in told if (part := _cut(known, first_ns, last_ns)) is not None]
        path = intensity_dir(spool_root) / month / source.file_name
        old = _read_own(path)
        merged = overlaid(old, new)
        if merged != old:
            _make_folders(path.parent)
            write_json_atomic(path, _document(source, merged))
            changed += 1
    return changed


def _read_own(path: Path) -> list[KnownIntensity]:
    if not path.exists():
        return []
    return list(read_intensities(path, os.getuid())[0].intervals)


def _make_folders(month: Path) -> None:
    spool_root = month.parents[1]
    if os.getuid() == 0 and spool_root.exists() and spool_root.stat().st_uid != 0:
        # What an operator leaves there its owner could not write to any more.
        raise PermissionError(errno.EPERM, "belongs to somebody else; a spool is one user's own", str(spool_root))
    own_folder(month.parent)
    own_folder(month)


def _document(source: IntensitySource, intervals: Iterable[KnownIntensity]) -> dict[str, Any]:
    rows = [[getattr(known, name) for name in _COLUMNS] for known in intervals]
    head = {"schema": SCHEMA_VERSION, "zone": source.zone, "signal": source.signal, "provider": source.provider}
    return {**head, "columns": list(_COLUMNS), "intervals": rows}


def overlaid(old: Sequence[KnownIntensity], new: Sequence[KnownIntensity]) -> list[KnownIntensity]:
    """``new`` laid over ``old``, both in the order of time; a gap covers no figure.

    A figure that is told again as it was keeps the time when it was first fetched, so nothing changes for it.
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
    same = (now.g_per_kwh, now.issued_ns, now.settled) == (before.g_per_kwh, before.issued_ns, before.settled)
    return before if same else now


class _Walk:
    """Looks up intervals at instants that only rise."""

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
