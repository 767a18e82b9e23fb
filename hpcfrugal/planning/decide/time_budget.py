"""The total time that a command waits for Slurm, so that it waits only once for a controller that hangs."""

from __future__ import annotations

import time
from typing import TypeVar

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm.client import Request, SlurmClient, slurm_client

_T = TypeVar("_T")

TIMEOUT_S = 2.5
_FREE_S = 0.25  # faster answers are not counted, so a healthy Slurm is queried for every job


class BudgetSpent(SetupError):
    """A Slurm command has used up the time; it is not run again."""


class TimeBudget:
    """Remaining time for each Slurm command, shared by all jobs that one command plans."""

    def __init__(self, limit_s: float = TIMEOUT_S, client: SlurmClient | None = None) -> None:
        self._limit_s = limit_s
        self._client = client or slurm_client()
        self._left_s: dict[str, float] = {}

    def left_s(self, program: str) -> float:
        """Remaining seconds for a Slurm command."""
        return self._left_s.get(program, self._limit_s)

    def ask(self, request: Request[_T], most_s: float | None = None) -> _T:
        """The answer, within the remaining time and ``most_s``.

        Raises:
            BudgetSpent: no time is left.
            SetupError: Slurm did not answer in time, or refused the request.
        """
        program = request.argv()[0]
        left_s = self.left_s(program)
        if left_s < min(_FREE_S, self._limit_s):
            raise BudgetSpent(f"{program} took too long before; not run again")
        begun = time.monotonic()
        try:
            return self._client.ask(request, left_s if most_s is None else min(left_s, most_s))
        finally:
            took_s = time.monotonic() - begun
            if took_s > _FREE_S:
                self._left_s[program] = left_s - took_s
