"""Every error that hpcfrugal raises on purpose, as one tree.

    HpcfrugalError            exit code 1   the job or the command failed
    ├── InputError            exit code 2   a file, key or option is wrong; carries every problem found
    ├── SetupError            exit code 3   the environment lacks something (no Slurm, no permission)
    │   └── SourceError                     a server, a file or a command gave no usable data
    │       ├── Unreachable                 it is down, too slow, or refuses the credentials
    │       └── ForecastError               no carbon intensity is available
    └── DataError             exit code 4   stored data was refused (damaged or foreign)

The command line turns each into its message, its hint and its exit code; a traceback is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from hpcfrugal.core.quick import dataclass

_LONG_HINT = 80


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the most similar one of ``known``, or all of them."""
    from difflib import get_close_matches  # needed only for errors

    words = list(known)
    near = get_close_matches(word, words, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(words) or 'none'}"


class HpcfrugalError(Exception):
    """Base of the tree.

    ``hint``: one sentence on what the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def name_place(self, place: str) -> None:
        """Put what it is about, such as a file, before its message."""
        self.message = f"{place}: {self.message}"
        self.args = (self.message,)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: its place (``job.yaml: resources.time``), what is wrong, what would be right."""

    where: str
    what: str
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text


class InputError(HpcfrugalError):
    """Wrong input, with all of its problems at once."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(_lines(self.problems)), hint=hint)

    @classmethod
    def at(cls, where: str, what: str, hint: str | None = None) -> InputError:
        """An error with a single problem."""
        return cls([Problem(where, what, hint)])


def _lines(problems: Iterable[Problem]) -> Iterator[str]:
    """A line for each problem. A long hint, such as a list of all keys, stands with the first that has it."""
    given: set[str | None] = set()
    for problem in problems:
        yield str(replace(problem, hint=None) if problem.hint in given else problem)
        if len(problem.hint or "") > _LONG_HINT:
            given.add(problem.hint)


class CollectedProblems:
    """Collects the problems of several checks, so that they are named together: ``with problems.noted(): ...``."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the InputError of what is done within, and go on."""
        try:
            yield
        except InputError as error:
            self.problems += error.problems

    def refuse(self) -> None:
        """Raise InputError with all problems, if there are any."""
        if self.problems:
            raise InputError(self.problems)


class SetupError(HpcfrugalError):
    """Something outside the program is missing or fails: Slurm, a permission, a directory."""

    exit_code = 3


class SourceError(SetupError):
    """A server, a file or a command that gave no usable data. The message holds no secret.

    ``retry_after_s``: the wait before the next request that the server demands. ``status``: of the HTTP answer.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s
        self.status = status


class Unreachable(SourceError):
    """A source that is down, too slow, or refuses the credentials: another request would fail too."""


class ForecastError(SourceError):
    """No carbon intensity is available: no provider has it for the zone, or those that do failed."""


class DataError(HpcfrugalError):
    """Stored data that is damaged or belongs to something else."""

    exit_code = 4
