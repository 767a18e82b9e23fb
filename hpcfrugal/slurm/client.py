"""How a request reaches Slurm. Today through its commands; another client answers the same requests its own way."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from typing import ClassVar, Generic, Protocol, TypeVar

from hpcfrugal.slurm.command import NoAnswer, Result, SlurmCommand
from hpcfrugal.slurm.environment import query_environment, submission_environment

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class Request(ABC, Generic[_T_co]):
    """One thing to ask of Slurm, and the type of its answer. Subclasses are frozen dataclasses of what is asked for."""

    timeout_s: ClassVar[float] = 60.0
    """How long to wait for an answer at most: a busy controller takes its time."""
    environment_of_job: ClassVar[bool] = False
    """Whether the environment of the command becomes that of a job."""

    environment: ClassVar[Mapping[str, str]] = {}
    """Variables in place of those that every query has."""

    @abstractmethod
    def argv(self) -> list[str]:
        """The command that asks for it."""

    @abstractmethod
    def answer(self, result: Result) -> _T_co:
        """The answer, read from what the command printed.

        Raises:
            SetupError: the command failed.
        """

    def partial_answer(self, result: Result) -> _T_co | None:
        """The answer of a command that did not end in time, if what it had printed is enough."""
        return None


class PendingAnswer(Protocol[_T_co]):
    """A request that was sent."""

    def answer(self, timeout_s: float | None = None) -> _T_co:
        """Wait for the answer, no longer than ``timeout_s`` nor than the request's own limit.

        Raises:
            NoAnswer: there was none in time.
            SetupError: Slurm cannot be asked, or refused.
        """

    def close(self) -> None:
        """Give it up, if there is no answer yet."""


class SlurmClient(Protocol):
    """Sends requests to Slurm. Those that it cannot answer itself it may pass on to another client."""

    @property
    def submits_at_once(self) -> int:
        """How many jobs to submit at the same time, from as many threads."""

    def start(self, request: Request[_T]) -> PendingAnswer[_T]:
        """Send a request and return at once. Raises SetupError where there is no Slurm."""

    def ask(self, request: Request[_T], timeout_s: float | None = None) -> _T:
        """Send a request and wait for its answer. Raises as ``start`` and ``PendingAnswer.answer`` do."""


class _RunningCommand(Generic[_T]):
    """A request whose command was started."""

    def __init__(self, request: Request[_T]) -> None:
        clean = submission_environment if request.environment_of_job else query_environment
        self._request = request
        self._command = SlurmCommand(request.argv(), {**clean(os.environ), **request.environment})
        self.close = self._command.close

    def answer(self, timeout_s: float | None = None) -> _T:
        longest_s = self._request.timeout_s
        try:
            result = self._command.result(min(longest_s, longest_s if timeout_s is None else timeout_s))
        except NoAnswer as late:
            partial = None if late.result is None else self._request.partial_answer(late.result)
            if partial is None:
                raise
            return partial
        return self._request.answer(result)


class CommandClient:
    """Asks Slurm by its commands."""

    submits_at_once = 8  # half of them wait for the disk, on which their files are

    def start(self, request: Request[_T]) -> PendingAnswer[_T]:
        """See ``SlurmClient``."""
        return _RunningCommand(request)

    def ask(self, request: Request[_T], timeout_s: float | None = None) -> _T:
        """See ``SlurmClient``."""
        with closing(self.start(request)) as pending:
            return pending.answer(timeout_s)


def slurm_client() -> SlurmClient:
    """The client for the Slurm of this machine."""
    return CommandClient()
