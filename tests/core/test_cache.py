"""Kept answers: read back as they were, ignored where damaged, and asked for by one process at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpcfrugal.carbon import CarbonSeries
from hpcfrugal.carbon.fetch import CachedAnswer, CachedFailure
from hpcfrugal.core import lock
from hpcfrugal.core.cache import Cache
from hpcfrugal.core.lock import take_lock

NOW = datetime(2026, 11, 21, 8, 47, 12, 345, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = {"name": "x", "zone": "a'; rm -rf ~ #"}


def kept(values: tuple[float | None, ...] = (1.5, None, 3.0)) -> CachedAnswer:
    series = CarbonSeries.from_values(
        NOW, HOUR, values, zone="FR", signal="average", kind="forecast", issued_at=NOW - HOUR, provider="p"
    )
    return CachedAnswer(series, ("a note",), NOW, NOW + HOUR)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "a" / "carbon")
    assert cache.read(CachedAnswer, KEY) is None
    cache.write(KEY, kept())
    assert Cache(tmp_path / "a" / "carbon").read(CachedAnswer, KEY) == kept()
    assert cache.read(CachedAnswer, {**KEY, "zone": "DE"}) is None
    assert cache.notes == []


def test_the_cache_is_private(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "carbon")
    cache.write(KEY, kept())
    with cache.lock(KEY, time.monotonic()) as mine:
        assert mine
    assert (tmp_path / "carbon").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "carbon").iterdir()} == {0o600}


def test_until_when_it_holds() -> None:
    one = kept()
    assert one.fresh(NOW)
    assert not one.fresh(NOW + HOUR)
    assert not one.fresh(NOW - timedelta(seconds=1)), "a clock that was set back"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": 2, "key": {"name": "other"}}',
        b'{"schema": 3}',
    ],
)
def test_a_damaged_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, kept())
    (path,) = tmp_path.glob("*.json")
    path.write_bytes(content)
    assert cache.read(CachedAnswer, KEY) is None
    assert cache.notes == [f"{path}: ignored: damaged"]
    cache.write(KEY, kept())
    assert cache.read(CachedAnswer, KEY) == kept()


@pytest.mark.parametrize(
    "change", [{"series": {}}, {"fetched_at": "soon"}, {"notes": 3}, {"expires_at": None}, {"series": None}]
)
def test_a_file_with_wrong_contents_is_ignored(tmp_path: Path, change: dict[str, object]) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, kept())
    (path,) = tmp_path.glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert cache.read(CachedAnswer, KEY) is None
    assert len(cache.notes) == 1


def test_a_file_with_a_wrong_figure(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, kept())
    (path,) = tmp_path.glob("*.json")
    path.write_text(path.read_text().replace("1.5", "-1.5"))
    assert cache.read(CachedAnswer, KEY) is None


def test_a_file_of_more_than_64_mib_is_ignored(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, kept())
    (path,) = tmp_path.glob("*.json")
    with path.open("ab") as file:
        file.write(b" " * (67_108_864 - file.tell()))
    assert cache.read(CachedAnswer, KEY) == kept()
    with path.open("ab") as file:
        file.write(b" ")
    assert cache.read(CachedAnswer, KEY) is None
    assert cache.notes == [f"{path}: ignored: larger than 67108864 bytes"]


def test_failures(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    failure = CachedFailure("is out of order", None, NOW, NOW + HOUR)
    assert cache.read(CachedFailure, KEY) is None
    cache.write(KEY, failure)
    assert cache.read(CachedFailure, KEY) == failure
    cache.write(KEY, kept())
    assert cache.read(CachedFailure, KEY) == failure, "each class of records has its own file"
    cache.remove(CachedFailure, KEY)
    cache.remove(CachedFailure, KEY)
    assert cache.read(CachedFailure, KEY) is None
    assert cache.read(CachedAnswer, KEY) == kept()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "carbon").write_text("in the way")
    cache = Cache(tmp_path / "carbon")
    with cache.lock(KEY, time.monotonic()) as mine:
        assert mine
        cache.write(KEY, kept())
    assert cache.read(CachedAnswer, KEY) is None
    assert all(str(tmp_path / "carbon") in note for note in cache.notes)
    assert cache.notes


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, kept())
    (path,) = tmp_path.glob("*.json")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.read(CachedAnswer, KEY) is None
    cache.write(KEY, kept())
    assert not path.is_symlink()


def test_a_file_of_another_user_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, kept())
    (path,) = tmp_path.glob("*.json")
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    assert cache.read(CachedAnswer, KEY) is None
    assert [note.startswith(f"{path}: ignored: belongs to uid ") for note in cache.notes] == [True]


def test_old_answers_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write({"old": 1}, kept())
    (old,) = tmp_path.glob("*.json")
    week = time.time() - 8 * 86_400
    os.utime(old, (week, week))
    (tmp_path / "x.lock").touch()
    os.utime(tmp_path / "x.lock", (week, week))
    cache.write(KEY, kept())
    assert not old.exists()
    assert (tmp_path / "x.lock").exists()
    assert cache.read(CachedAnswer, KEY) == kept()


def _hold(folder: Path, taken: multiprocessing.synchronize.Event) -> None:
    with Cache(folder).lock(KEY, time.monotonic() + 5):
        taken.set()
        time.sleep(60)


def test_a_lock_is_waited_for_only_so_long_and_ends_with_its_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, taken))
    process.start()
    try:
        assert taken.wait(20)
        begun = time.monotonic()
        with Cache(tmp_path).lock(KEY, time.monotonic() + 0.2) as mine:
            assert not mine
        assert 0.2 <= time.monotonic() - begun < 30  # it is held for 60 s
        with Cache(tmp_path).lock({"another": 1}, time.monotonic()) as mine:
            assert mine
    finally:
        process.kill()
        process.join()
    with Cache(tmp_path).lock(KEY, time.monotonic() + 1) as mine:
        assert mine


@pytest.mark.parametrize(("schema", "holds"), [(1, False), (2, True), (3, False), (20, False)])
def test_records_of_another_schema_are_not_read(tmp_path: Path, schema: int, holds: bool) -> None:
    cache = Cache(tmp_path)
    cache.write(KEY, kept())
    (path,) = tmp_path.glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": schema}))
    assert (cache.read(CachedAnswer, KEY) is not None) is holds


def test_a_lock_is_tried_50_times_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def sleep(span_s: float) -> None:
        nonlocal now_s
        now_s += span_s

    held = take_lock(tmp_path / "lock")
    monkeypatch.setattr(lock, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=sleep))
    waits: list[float] = []
    monkeypatch.setattr(lock.time, "sleep", lambda span_s: (waits.append(span_s), sleep(span_s)))
    with held, pytest.raises(lock.LockHeld):
        take_lock(tmp_path / "lock", wait_s=0.1)
    assert waits[:5] == [0.02] * 5
