"""A disk that is not well for a while takes nothing out of the ledger."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_spool import START_NS, FakeSpool

from hpcfrugal.core.errors import DataError
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.spool.intensity import IntensitySource, KnownIntensity, keep_intensities


@contextmanager
def unreadable(patch: pytest.MonkeyPatch, ending: str) -> Iterator[None]:
    """Files of this name cannot be opened, as on a file system that is not well; root could read what is denied."""
    real = os.open

    def fail(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith(ending):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *rest, **more)

    with patch.context() as inner:
        inner.setattr(os, "open", fail)
        yield


def intensity(spool: FakeSpool) -> Path:
    source = IntensitySource("FR", "average", "own")
    end_ns = START_NS + 3600 * 10**9
    keep_intensities(spool.root, source, [KnownIntensity(START_NS, end_ns, 50.0, end_ns, None, True)])
    (path,) = (spool.root / "intensity").glob("*/*")
    return path


@pytest.mark.parametrize("ending", [".n1.jsonl", "run.json", ".end.json", ".average.FR"])
def test_a_rebuild_replaces_no_ledger_that_has_more(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    spool.whole_run()
    path = intensity(spool)
    ending = path.name if ending == ".average.FR" else ending
    sync(spool.root, spool.ledger)
    before, inode = dump(spool.ledger), spool.ledger.stat().st_ino
    with unreadable(monkeypatch, ending):
        with pytest.raises(DataError, match="cannot be read now would be lost: ") as caught:
            rebuild(spool.root, spool.ledger)
        assert ending in caught.value.message
        assert "--drop-vanished" in (caught.value.hint or "")
        assert (dump(spool.ledger), spool.ledger.stat().st_ino) == (before, inode)
        assert [name for name in os.listdir(spool.ledger.parent) if "rebuild" in name] == []
        found = check_ledger(spool.root, spool.ledger)
        assert found.differences == ()
        assert any(ending in line and "cannot be read" in line for line in found.skipped)
        rebuild(spool.root, spool.ledger, drop_vanished=True)
        assert dump(spool.ledger) != before
    sync(spool.root, spool.ledger)
    assert dump(spool.ledger) == before
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == before


def test_a_file_that_never_counted_does_not_hold_a_rebuild_up(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.whole_run()
    with unreadable(monkeypatch, ".n1.jsonl"):
        sync(spool.root, spool.ledger)
        rebuild(spool.root, spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert check_ledger(spool.root, spool.ledger).problems == ()


def test_intensities_that_cannot_be_read_for_a_while_stay(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = intensity(spool)
    sync(spool.root, spool.ledger)
    before = dump(spool.ledger)

    def rows() -> int:
        with open_ledger(spool.ledger) as connection:
            return int(connection.execute("SELECT count(*) FROM intensity").fetchone()[0])

    os.utime(path, ns=(1, 1))
    with unreadable(monkeypatch, path.name):
        for _ in range(2):
            sync(spool.root, spool.ledger)
            assert rows() == 1
            (problem,) = check_ledger(spool.root, spool.ledger, compare=False).problems
            assert "cannot be read: Input/output error; its earlier content counts" in problem
    sync(spool.root, spool.ledger)
    assert dump(spool.ledger) == before
    path.write_text("{}")
    sync(spool.root, spool.ledger)
    assert rows() == 0
