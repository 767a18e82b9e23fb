"""Where the messages of a long operation go: to a terminal, or to the log of a Python program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from hpcfrugal.core.text import plain

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""

_LOG = logging.getLogger("hpcfrugal")


class Messages(Protocol):
    """What an operation reports while it goes on. Texts may come from elsewhere and are cleaned by the receiver."""

    def warn(self, text: str, limit: int = 1000) -> None:
        """Something did not work, and the operation goes on without it."""

    def note(self, text: str, limit: int = 1000) -> None:
        """Something that the user should know."""

    def waiting(self) -> None:
        """Another process has the ledger's lock."""

    def progress(self, what: str) -> AbstractContextManager[Progress | None]:
        """A progress bar, or None where none is shown."""


class LoggedMessages:
    """Messages in the log ``hpcfrugal``: warnings as such, notes as information."""

    def warn(self, text: str, limit: int = 1000) -> None:
        _LOG.warning("%s", plain(text, limit))

    def note(self, text: str, limit: int = 1000) -> None:
        _LOG.info("%s", plain(text, limit))

    def waiting(self) -> None:
        _LOG.info("another sync is running; waiting for it")

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress | None]:
        yield None
