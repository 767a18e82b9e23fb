"""Opening the ledger: who may read it, its journal, its schema, its lock, and what SQLite's errors mean."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcfrugal.errors import DataError, HpcfrugalError, SetupError
from hpcfrugal.ledger.filesystem import journal_mode

SCHEMA_VERSION = 5
"""Number of the last step in ``migrations``."""

BUSY_TIMEOUT_S = 120.0
"""How long a writer waits for another where the lock file does not work."""

CONTENT_TABLES = ("runs", "jobs", "segments", "channels", "energy", "absent", "files", "intensity", "meta")
"""What the spool determines. ``file_states`` is not among them: it changes when the spool is copied."""

_NO_COLUMN = "No item with that key"
"""What ``sqlite3.Row`` says."""

_REBUILD_HINT = "`hpcfrugal ledger rebuild` makes a new one from the spool"


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the file ``path`` into ours.

    Raises ``DataError`` for a damaged file, ``SetupError`` for one that cannot be opened, locked or written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if "malformed" in str(error) or "not decode" in str(error):
            raise DataError(f"the ledger {path} is damaged: {error}", hint=_REBUILD_HINT) from error
        raise SetupError(f"the ledger {path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DataError(f"the ledger {path} is damaged: {error}", hint=_REBUILD_HINT) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        # SQLite vouches for its pages, not for the texts in them; its own message may quote one.
        raise DataError(f"the ledger {path} is damaged: it holds a text that is none", hint=_REBUILD_HINT) from error
    except IndexError as error:
        if str(error) != _NO_COLUMN:
            raise
        raise DataError(f"the ledger {path} is damaged: a column is missing", hint=_REBUILD_HINT) from error


def create_private(path: Path) -> None:
    """Make the file 0600 and its missing folders 0700. SQLite gives its journal the mode of the file."""
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise SetupError(
            f"the ledger {path} cannot be made: {error.strerror}",
            hint="set `ledger` in the configuration, or --ledger, to a file that you can write",
        ) from error


@contextmanager
def open_ledger(path: Path, *, write: bool = False, timeout_s: float = BUSY_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
    """The ledger at ``path``, in autocommit; made, and its schema brought up to date, when opened to write.

    ``timeout_s`` is how long a statement waits for another process that has it locked.

    Raises ``DataError`` where it is damaged or of a newer hpcfrugal, ``SetupError`` where it cannot be
    opened or, when opened to read, does not exist.
    """
    if write:
        create_private(path)
    elif not path.is_file():
        raise SetupError(f"there is no ledger at {path}", hint="`hpcfrugal ledger sync` makes it from the spool")
    with sqlite_errors(path):
        connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            if write:
                _set_journal(connection, journal_mode(path))
                connection.execute("PRAGMA synchronous = NORMAL")
            else:
                connection.execute("PRAGMA query_only = ON")
            _check_schema(connection, path, write)
            yield connection
        finally:
            connection.close()


def _set_journal(connection: sqlite3.Connection, mode: str) -> None:
    """Set the journal's mode. SQLite's own timeout does not hold for this statement, so we wait ourselves."""
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        time.sleep(0.02)


def _check_schema(connection: sqlite3.Connection, path: Path, write: bool) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise DataError(
            f"the ledger {path} is of a newer hpcfrugal (schema {version}, this one knows {SCHEMA_VERSION})",
            hint=f"upgrade hpcfrugal, or move the ledger away: {_REBUILD_HINT}",
        )
    if not write:
        raise DataError(f"the ledger {path} is empty or of an older hpcfrugal", hint="run `hpcfrugal ledger sync`")
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise DataError(f"{path} is a database, but not a ledger", hint="set --ledger to another file")
    _migrate(path)


def _migrate(path: Path) -> None:
    """Apply the missing steps on a connection of sqlite-utils' own, which wants the default transactions."""
    from sqlite_utils import Database

    from hpcfrugal.ledger.migrations import migrations

    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    try:
        # Of two who come at once, the second finds nothing left to do.
        connection.execute("BEGIN IMMEDIATE")
        migrations.apply(Database(connection, execute_plugins=False))
        connection.commit()
    finally:
        connection.close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """``BEGIN IMMEDIATE`` to ``COMMIT``: what is read inside cannot be changed by another writer."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def lock(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file beside the ledger; one who comes second waits, after a call of ``on_wait``.

    Where the file system has no locks the work goes on without: transactions then keep writers apart.
    Raises ``SetupError`` where the lock file cannot be made.
    """
    lock_path = path.with_name(path.name + ".lock")
    create_private(lock_path)
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise SetupError(f"the lock {lock_path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise HpcfrugalError(f"the lock {lock_path} cannot be taken: {error.strerror}") from error
        yield
    finally:
        os.close(descriptor)
