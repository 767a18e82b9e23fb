"""Answers of providers, cached on disk for all commands of one user.

One file for each request, with intensities and times, never credentials. A lock beside it lets one process ask while
the others wait for its answer, so that a thousand jobs submitted at once make one request; a failure is cached for a
short time for the same reason. Files are replaced as a whole, and a damaged one is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.core.lock import LockHeld, take_lock
from hpcfrugal.core.safe_read import Unreadable, UnsafeFile, parse_json, read_regular
from hpcfrugal.core.time import iso, parse_iso

_SCHEMA = 1
_KEPT_S = 7 * 86_400
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer, when it was requested and until when it is valid."""

    series: CarbonSeries
    notes: tuple[str, ...]
    fetched_at: datetime
    expires_at: datetime

    def fresh(self, now: datetime) -> bool:
        """Whether it is still valid. An answer from the future was written while the clock was wrong, and is not."""
        return self.fetched_at <= now < self.expires_at


@dataclass(frozen=True, slots=True)
class CachedFailure:
    """A failed request, and until when it is not repeated."""

    message: str
    hint: str | None
    at: datetime
    until: datetime


class Cache:
    """The folder of answers. ``notes`` collects problems with it, for the user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []

    def read(self, key: Mapping[str, Any]) -> CachedAnswer | None:
        """The cached answer to a request, None if there is none."""
        document = self._load(self._path(key, "json"), key)
        if document is None:
            return None
        try:
            notes = tuple(str(note) for note in document["notes"])
            series = CarbonSeries.from_json(document["series"])
            return CachedAnswer(series, notes, parse_iso(document["fetched_at"]), parse_iso(document["expires_at"]))
        except (KeyError, TypeError, ValueError, DataError):
            self._note_damaged(self._path(key, "json"))
            return None

    def write(self, key: Mapping[str, Any], answer: CachedAnswer) -> None:
        """Store an answer, and remove an earlier failure."""
        document = {"series": answer.series.to_json(), "notes": list(answer.notes)}
        times = {"fetched_at": iso(answer.fetched_at), "expires_at": iso(answer.expires_at)}
        if self._store(self._path(key, "json"), key, document | times):
            self._path(key, "failed.json").unlink(missing_ok=True)
            self._prune()

    def read_failure(self, key: Mapping[str, Any]) -> CachedFailure | None:
        """The last failure of a request; it may have expired."""
        document = self._load(self._path(key, "failed.json"), key)
        if document is None:
            return None
        try:
            hint = None if document["hint"] is None else str(document["hint"])
            return CachedFailure(
                str(document["message"]), hint, parse_iso(document["at"]), parse_iso(document["until"])
            )
        except (KeyError, TypeError, ValueError):
            self._note_damaged(self._path(key, "failed.json"))
            return None

    def write_failure(self, key: Mapping[str, Any], failure: CachedFailure) -> None:
        """Store a failure for the commands that follow."""
        document = {
            "message": failure.message,
            "hint": failure.hint,
            "at": iso(failure.at),
            "until": iso(failure.until),
        }
        self._store(self._path(key, "failed.json"), key, document)

    @contextmanager
    def lock(self, key: Mapping[str, Any], deadline: float) -> Iterator[bool]:
        """Yields whether this process is to make the request; waits for others until ``deadline`` (``time.monotonic``).

        Where the folder cannot be locked, every process makes it.
        """
        with ExitStack() as held:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                held.enter_context(take_lock(self._path(key, "lock"), max(0.0, deadline - time.monotonic())))
                mine = True
            except LockHeld:
                mine = False
            except OSError as error:
                self._note(f"{self.folder}: answers are not cached: {error.strerror}")
                mine = True
            yield mine

    def _path(self, key: Mapping[str, Any], suffix: str) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.{suffix}"

    def _load(self, path: Path, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        try:
            content, _ = read_regular(path, _MAX_BYTES, owner_uid=os.getuid())
        except Unreadable as error:
            if not isinstance(error.error, FileNotFoundError):
                self._note(f"{path}: {error}")
            return None
        except UnsafeFile as error:
            self._note(f"{path}: ignored: {error}")
            return None
        try:
            document = parse_json(content)
        except ValueError:
            document = None
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA or document.get("key") != dict(key):
            self._note_damaged(path)
            return None
        return document

    def _store(self, path: Path, key: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json_atomic(path, {"schema": _SCHEMA, "key": dict(key), **document})
        except OSError as error:
            self._note(f"{self.folder}: answers are not cached: {error.strerror}")
            return False
        return True

    def _prune(self) -> None:
        """Remove answers that were not renewed for a week, and what a killed process left."""
        oldest = time.time() - _KEPT_S
        try:
            with os.scandir(self.folder) as entries:
                # Locks stay: removing one that is held would let a second process in.
                old = [entry for entry in entries if not entry.name.endswith(".lock")]
                for entry in old:
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)
        except FileNotFoundError:
            return  # another process was faster
        except OSError as error:
            self._note(f"{self.folder}: old answers cannot be removed: {error.strerror}")

    def _note_damaged(self, path: Path) -> None:
        self._note(f"{path}: ignored: damaged")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
