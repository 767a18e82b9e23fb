"""Opening the ledger: who may read it, its journal, its schema, its lock, and what SQLite's errors mean."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.core.files import FILE_MODE, make_private_folder, private_mode
from hpcfrugal.core.lock import LockHeld, take_lock
from hpcfrugal.core.record import InvalidRecord, InvalidValue
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.filesystem import journal_mode
from hpcfrugal.ledger.rows import LEDGER_SCHEMA
from hpcfrugal.ledger.schema import create_schema, is_upgradable, missing_parts, upgrade

BUSY_TIMEOUT_S = 60.0
"""How long a writer waits for another one; not for ever, since a process may hang, or the lock be one of a machine that
is gone."""

READ_TIMEOUT_S = 10.0
"""How long a reader waits for a writer, where the journal makes readers wait at all."""

_PAGE_SIZE = 8192
"""Rows of channels take some hundred bytes; larger pages have less unused space between them."""

_NO_COLUMN = "No item with that key"
"""The message of ``sqlite3.Row``."""

_REBUILD_HINT = "`hpcfrugal ledger rebuild` makes a new one from the spool"
_FOREIGN_HINT = "name another file as the ledger; if this one was a ledger, move it away"

_WAL_VERSIONS = b"\2\2"
"""Bytes 18 and 19 of a file with a write-ahead log (https://www.sqlite.org/fileformat.html)."""

_CANNOT_WRITE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL)

_OUR_TABLES = frozenset({"spools", "runs", "jobs", "files", "channels", "sidecar_sessions"})
_ENOUGH = 4
"""A database with so many of these tables is a ledger, though it may have lost some."""

_DEFAULT_NAME = "ledger.db"
_MAGIC = b"SQLite format 3\0"
"""What a database begins with (https://www.sqlite.org/fileformat.html)."""


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the file ``path`` into ours.

    Raises ``DataError`` for a damaged file, ``SetupError`` for one that cannot be opened, locked or written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        # SQLite's words differ between releases, its codes do not. Python gives none for a text that it can't decode.
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise SetupError(f"the ledger {path} is locked by another program") from error
        if code in (None, sqlite3.SQLITE_ERROR):
            # Every statement is one of ours, so what it does not find or understand is wrong in the file.
            raise DataError(f"the ledger {path} is damaged: {error}", hint=_REBUILD_HINT) from error
        raise SetupError(f"the ledger {path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        _refuse_other(path)
        raise DataError(f"the ledger {path} is damaged: {error}", hint=_REBUILD_HINT) from error
    except (UnicodeDecodeError, json.JSONDecodeError, InvalidValue, InvalidRecord) as error:
        # SQLite checks its pages, not the texts in them; its own message may quote one.
        raise DataError(f"the ledger {path} is damaged: it holds an invalid text", hint=_REBUILD_HINT) from error
    except IndexError as error:
        if str(error) != _NO_COLUMN:
            raise
        raise DataError(f"the ledger {path} is damaged: a column is missing", hint=_REBUILD_HINT) from error


def refuse_foreign(path: Path) -> None:
    """Raise where the file at ``path`` is something else than a ledger, whole or damaged, and so not ours to replace.

    ``SetupError`` for what is no file or cannot be opened, ``DataError`` for a file of something else and for another
    program's database.
    """
    _refuse_other(path)
    if not path.is_file() or path.stat().st_size == 0:
        return
    with sqlite_errors(path):
        connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA query_only = ON")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        return  # damaged: nothing can be asked of it
    finally:
        connection.close()
    if tables and len(tables & _OUR_TABLES) < _ENOUGH:
        raise DataError(f"{path} is a database, but not a ledger", hint=_FOREIGN_HINT)


def _refuse_other(path: Path) -> None:
    _refuse_no_file(path)
    if _is_foreign(path):
        raise DataError(f"{path} is not a ledger", hint=_FOREIGN_HINT)


def _refuse_no_file(path: Path) -> None:
    if path.exists() and not path.is_file():
        what = "a directory" if path.is_dir() else "not a file"
        hint = "name a file as `ledger` in the settings"
        raise SetupError(f"the ledger {path} is {what}", hint=hint)


def _is_foreign(path: Path) -> bool:
    """Whether a file with content does not begin as a database does. One with the ledger's own name counts as ours:
    it may have lost its beginning."""
    try:
        with open(path, "rb") as file:
            begin = file.read(len(_MAGIC))
    except OSError:
        return False
    return bool(begin) and begin != _MAGIC and path.name != _DEFAULT_NAME


def create_private(path: Path) -> None:
    """Make the file and its missing folders, private (``core.files``); a file that is there and empty becomes so too.

    SQLite gives its journal the mode of the file.
    """
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            make_private_folder(folder)
        mode = private_mode(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode & FILE_MODE)
        try:
            found = os.fstat(descriptor)
            if found.st_size == 0 and found.st_uid == os.getuid() and found.st_mode & 0o777 != mode:
                os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SetupError(
            f"the ledger {path} cannot be made: {error.strerror}",
            hint="name a file that you can write as `ledger` in the settings",
        ) from error


@contextmanager
def open_ledger(
    path: Path, *, write: bool = False, timeout_s: float | None = None, older: bool = False
) -> Iterator[LedgerConnection]:
    """The ledger at ``path``, in autocommit; made when opened to write. ``older``: also one of an older schema.

    ``timeout_s`` is how long a statement waits for another process that has it locked (``BUSY_TIMEOUT_S`` to write,
    ``READ_TIMEOUT_S`` to read, where it is None). A ledger that lies where this user cannot write is read as it is,
    without a lock; where it changes meanwhile that is an error.

    Raises ``DataError`` where it is damaged or of another schema, ``SetupError`` where it cannot be
    opened or, when opened to read, does not exist.
    """
    _refuse_no_file(path)
    if write:
        create_private(path)
    elif not path.is_file():
        hint = "`hpcfrugal ledger sync` makes it from the spool; a site's ledger is made by `hpcfrugal site sync`"
        raise SetupError(f"there is no ledger at {path}", hint=hint)
    if timeout_s is None:
        timeout_s = BUSY_TIMEOUT_S if write else READ_TIMEOUT_S
    with sqlite_errors(path):
        connection, state = _connect_to_write(path, timeout_s) if write else _connect_to_read(path, timeout_s)
        try:
            connection.row_factory = sqlite3.Row
            _check_schema(connection, path, write, older)
            yield connection
        except sqlite3.DatabaseError:
            _refuse_changed(path, state)
            raise
        finally:
            connection.close()
        _refuse_changed(path, state)


def _connect(path: Path, timeout_s: float) -> LedgerConnection:
    return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, factory=LedgerConnection)


def _connect_to_write(path: Path, timeout_s: float) -> tuple[LedgerConnection, None]:
    connection = _connect(path, timeout_s)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")  # of a file that has no pages yet
        _set_journal(connection, journal_mode(path), timeout_s)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection, None


def _connect_to_read(path: Path, timeout_s: float) -> tuple[LedgerConnection, os.stat_result | None]:
    """A connection that changes nothing, and the file's state where it is read without a lock.

    To read a ledger with a write-ahead log SQLite makes files beside it, also where that log is empty. Where that
    fails, or where they would belong to somebody else than the ledger, the file alone is read
    (https://www.sqlite.org/wal.html, "Read-Only Databases").
    """
    real = Path(os.path.realpath(path))
    alone = _stands_alone(real)
    if alone and not (os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)):
        return _connect_alone(real)
    connection = _connect(path, timeout_s)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if alone and error.sqlite_errorcode & 0xFF in _CANNOT_WRITE:
            return _connect_alone(real)
        raise
    except BaseException:
        connection.close()
        raise
    return connection, None


def _stands_alone(path: Path) -> bool:
    """Whether the file is one with a write-ahead log, and all that was written is in the file itself."""
    try:
        with path.open("rb") as file:
            header = file.read(20)
        log = path.with_name(path.name + "-wal")
        return header[18:20] == _WAL_VERSIONS and not (log.exists() and log.stat().st_size)
    except OSError:
        return False


def _connect_alone(path: Path) -> tuple[LedgerConnection, os.stat_result]:
    state = path.stat()
    uri = f"{path.as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None, factory=LedgerConnection), state


def _refuse_changed(path: Path, state: os.stat_result | None) -> None:
    """Raise ``SetupError`` where a file that was read without a lock was written meanwhile. One that took its place
    was not read."""
    if state is None:
        return
    now = path.stat()
    if now.st_ino == state.st_ino and (now.st_size, now.st_mtime_ns) != (state.st_size, state.st_mtime_ns):
        raise SetupError(f"the ledger {path} was changed while it was read", hint="try again")


def _set_journal(connection: sqlite3.Connection, mode: str, timeout_s: float) -> None:
    """Set the journal's mode. SQLite's own timeout does not hold for this statement, so we wait ourselves."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        time.sleep(0.02)


def _check_schema(connection: LedgerConnection, path: Path, write: bool, older: bool) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == LEDGER_SCHEMA:
        if lacks := missing_parts(connection):
            more = f" and {len(lacks) - 1} more" if len(lacks) > 1 else ""
            raise DataError(f"the ledger {path} is damaged: it has no {lacks[0]}{more}", hint=_REBUILD_HINT)
        return
    if older and 0 < version < LEDGER_SCHEMA:
        return
    if version > LEDGER_SCHEMA:
        raise DataError(
            f"the ledger {path} is of a newer hpcfrugal (schema {version}, this one knows {LEDGER_SCHEMA})",
            hint=f"upgrade hpcfrugal, or move the ledger away: {_REBUILD_HINT}",
        )
    if version and is_upgradable(version):
        if not write:
            raise DataError(
                f"the ledger {path} is of an older hpcfrugal (schema {version})", hint="run `hpcfrugal ledger sync`"
            )
        upgrade(connection)
        return
    if version:
        raise DataError(f"the ledger {path} is of an older hpcfrugal (schema {version})", hint=_REBUILD_HINT)
    if not write:
        raise DataError(f"the ledger {path} is empty", hint="run `hpcfrugal ledger sync`")
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise DataError(f"{path} is a database, but not a ledger", hint=_FOREIGN_HINT)
    create_schema(connection)


@contextmanager
def lock(path: Path, on_wait: Callable[[], None] | None = None, wait_s: float = BUSY_TIMEOUT_S) -> Iterator[None]:
    """Hold the lock file beside the ledger; one who comes second waits up to ``wait_s``, after a call of ``on_wait``.

    Where the file system has no locks the work goes on without: transactions then keep writers apart.
    Raises ``SetupError`` where the lock file cannot be made, and where somebody has it all that time.
    """
    refuse_foreign(path)
    real = Path(os.path.realpath(path))  # one lock, by whatever link the ledger is reached
    lock_path = real.with_name(real.name + ".lock")
    create_private(lock_path)
    try:
        held = take_lock(lock_path, wait_s, on_wait)
    except LockHeld:
        raise SetupError(
            f"another sync has held the lock {lock_path} for more than {wait_s:g} s",
            hint="try again; if no sync is running, a hung process or another machine holds it",
        ) from None
    except OSError as error:
        raise SetupError(f"the lock {lock_path} cannot be taken: {error.strerror}") from error
    with held:
        yield
