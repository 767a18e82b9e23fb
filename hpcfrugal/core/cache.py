"""Records that can be recreated, cached on disk for all commands of one user.

Each key has its own file. Files are replaced as a whole, and a damaged one is ignored. A lock lets one process create a
record while others wait for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.core.lock import LockHeld, take_lock
from hpcfrugal.core.record import InvalidRecord, codec
from hpcfrugal.core.safe_read import Unreadable, UnsafeFile, parse_json, read_regular

_SCHEMA = 2
_KEPT_S = 7 * 86_400
_MAX_BYTES = 64 * 1024 * 1024

_T = TypeVar("_T")


class Cache:
    """A folder of records; see ``hpcfrugal.core.record``. ``notes`` collects problems with it, for the user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []

    def read(self, record: type[_T], key: Mapping[str, Any]) -> _T | None:
        """The cached record of this class and key, None if there is none."""
        path = self._path(record.__name__, key, "json")
        try:
            content, _ = read_regular(path, _MAX_BYTES, owner_uid=os.getuid())
        except Unreadable as error:
            if not isinstance(error.error, FileNotFoundError):
                self._note(f"{path}: {error}")
            return None
        except UnsafeFile as error:
            self._note(f"{path}: ignored: {error}")
            return None
        problems: list[str] = []
        try:
            document = parse_json(content)
            if not isinstance(document, dict) or document.get("schema") != _SCHEMA or document.get("key") != dict(key):
                raise InvalidRecord("another record")
            found = codec(record).read(document, problems)
        except (ValueError, InvalidRecord) as error:
            problems.append(str(error))
        if problems:
            self._note(f"{path}: ignored: damaged")
            return None
        return found

    def write(self, key: Mapping[str, Any], record: Any) -> None:
        """Store a record in place of an earlier one of its class, and remove what was not renewed for a week."""
        kind = type(record)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            document = {"schema": _SCHEMA, "key": dict(key), **codec(kind).write(record)}
            write_json_atomic(self._path(kind.__name__, key, "json"), document)
        except OSError as error:
            self._note_unusable(error)
            return
        self._prune()

    def remove(self, record: type[Any], key: Mapping[str, Any]) -> None:
        """Remove the record of this class and key, if there is one."""
        try:
            self._path(record.__name__, key, "json").unlink(missing_ok=True)
        except OSError as error:
            self._note_unusable(error)

    @contextmanager
    def lock(self, key: Mapping[str, Any], deadline: float) -> Iterator[bool]:
        """Yields whether this process should create the record; waits for others until ``deadline`` (monotonic).

        If the folder cannot be locked, every process does.
        """
        with ExitStack() as held:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                held.enter_context(take_lock(self._path("", key, "lock"), max(0.0, deadline - time.monotonic())))
                mine = True
            except LockHeld:
                mine = False
            except OSError as error:
                self._note_unusable(error)
                mine = True
            yield mine

    def _path(self, kind: str, key: Mapping[str, Any], suffix: str) -> Path:
        digest = hashlib.sha256(json.dumps([kind, key], sort_keys=True).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.{suffix}"

    def _prune(self) -> None:
        """Remove records that were not renewed for a week, and files that a killed process left behind."""
        oldest = time.time() - _KEPT_S
        try:
            with os.scandir(self.folder) as entries:
                # Locks stay: removing one that is held would let a second process in.
                old = [entry for entry in entries if not entry.name.endswith(".lock")]
                for entry in old:
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)
        except FileNotFoundError:
            return  # another process has removed it
        except OSError as error:
            self._note(f"{self.folder}: old answers cannot be removed: {error.strerror}")

    def _note_unusable(self, error: OSError) -> None:
        self._note(f"{self.folder}: answers are not cached: {error.strerror}")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
