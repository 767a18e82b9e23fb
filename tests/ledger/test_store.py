"""Who can read a ledger that they cannot write, and how long anybody waits for a lock."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_spool import FakeSpool
from other_user import OtherUser, public_folder
from small_disk import fill, mounted

from hpcfrugal.core.errors import SetupError
from hpcfrugal.ledger import store
from hpcfrugal.ledger.store import lock, open_ledger
from hpcfrugal.ledger.sync import sync

NOBODY = 65534


@pytest.fixture
def shared(spool: FakeSpool) -> Iterator[Path]:
    """A ledger with one job, in a folder that everybody can look into."""
    folder = Path(tempfile.mkdtemp(prefix="hpcfrugal shared?#%-"))
    spool.ledger = folder / "site.db"
    spool.whole_run()
    sync(spool.root, spool.ledger)
    spool.ledger.chmod(0o644)
    folder.chmod(0o755)
    yield spool.ledger
    folder.chmod(0o700)
    shutil.rmtree(folder)


@contextmanager
def another_user(path: Path) -> Iterator[None]:
    """Be somebody who cannot write there: another user or, where we cannot be one, ourselves without leave."""
    if os.getuid() != 0:
        path.chmod(0o444)
        path.parent.chmod(0o555)
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_ledger_can_be_read_where_one_cannot_write(spool: FakeSpool, shared: Path) -> None:
    names = sorted(path.name for path in shared.parent.iterdir())
    assert names == ["site.db", "site.db.lock"]  # no log stays behind a sync
    with another_user(shared), open_ledger(shared) as reader:
        assert reader.execute("SELECT count(*) FROM jobs").fetchone()[0] == 1
    assert sorted(path.name for path in shared.parent.iterdir()) == names


def test_what_is_still_in_the_log_is_never_passed_over(
    spool: FakeSpool, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with open_ledger(shared, write=True) as writer:
        writer.execute("INSERT INTO meta VALUES ('test', 'x')")
        assert shared.with_name("site.db-wal").stat().st_size
        with open_ledger(shared) as reader:
            assert reader.execute("SELECT value FROM meta WHERE key = 'test'").fetchone()[0] == "x"


def test_a_ledger_that_changes_while_it_is_read_without_a_lock_is_reported(
    spool: FakeSpool, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    spool.whole_run("18")

    def read_while_it_grows() -> None:
        with open_ledger(shared) as reader:
            assert reader.execute("SELECT count(*) FROM jobs").fetchone()[0] == 1
            sync(spool.root, shared)

    with pytest.raises(SetupError, match="was changed while it was read"):
        read_while_it_grows()
    with open_ledger(shared) as reader:
        assert reader.execute("SELECT count(*) FROM jobs").fetchone()[0] == 2


def test_a_ledger_on_a_full_disk_can_be_read(spool: FakeSpool, tmp_path: Path) -> None:
    spool.whole_run()
    sync(spool.root, spool.ledger)
    with mounted(tmp_path / "small", "1500k") as small:
        path = small / "ledger.db"
        shutil.copy(spool.ledger, path)
        fill(small / "rest")
        with open_ledger(path) as reader:
            assert reader.execute("SELECT count(*) FROM jobs").fetchone()[0] == 1


def test_the_wait_for_a_lock_that_is_never_released_is_limited(spool: FakeSpool) -> None:
    sync(spool.root, spool.ledger)
    waited: list[bool] = []
    with spool.ledger.with_name("ledger.db.lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(SetupError, match=r"ledger\.db\.lock for more than 0\.3 s") as error:
            sync(spool.root, spool.ledger, on_wait=lambda: waited.append(True), wait_s=0.3)
        assert time.monotonic() - began < 5
        assert error.value.hint is not None
    assert waited == [True]
    sync(spool.root, spool.ledger, wait_s=0.3)


def test_a_lock_that_is_given_back_is_taken(spool: FakeSpool) -> None:
    with store.lock(spool.ledger):
        pass
    file = spool.ledger.with_name("ledger.db.lock").open("r+")
    fcntl.flock(file, fcntl.LOCK_EX)
    sync(spool.root, spool.ledger, on_wait=file.close, wait_s=30)


def test_a_database_that_stays_locked_is_not_waited_for_for_long(spool: FakeSpool) -> None:
    sync(spool.root, spool.ledger)
    spool.whole_run()
    other = sqlite3.connect(spool.ledger, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(SetupError, match="is locked by another program"):
            sync(spool.root, spool.ledger, wait_s=0.3)
        assert time.monotonic() - began < 5
    finally:
        other.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_ledger_that_this_user_cannot_open_is_named() -> None:
    def take() -> None:
        with lock(path):
            pass

    with public_folder() as root:
        path = root / "ledger.db"
        with open_ledger(path, write=True):
            pass
        with pytest.raises(SetupError, match=f"the ledger {path} cannot be used: unable to open"):
            OtherUser(41001, (41001,)).run(take)
