"""How long a command waits for Slurm altogether, so that a controller that hangs is waited for once."""

from __future__ import annotations

import time
from typing import TypeVar

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm.client import Request, SlurmClient, slurm_client

_T = TypeVar("_T")

TIMEOUT_S = 2.5
_FREE_S = 0.25  # an answer within it costs nothing of the budget: a healthy Slurm is asked about every job


class BudgetSpent(SetupError):
    """A command of Slurm's took so long before that it is not run again."""


class TimeBudget:
    """How long one command of ours still waits for each command of Slurm's, however many jobs it plans."""

    def __init__(self, limit_s: float = TIMEOUT_S, client: SlurmClient | None = None) -> None:
        self._limit_s = limit_s
        self._client = client or slurm_client()
        self._left_s: dict[str, float] = {}

    def left_s(self, program: str) -> float:
        """Seconds that are left for one of Slurm's commands."""
        return self._left_s.get(program, self._limit_s)

    def ask(self, request: Request[_T], most_s: float | None = None) -> _T:
        """The answer, within the time that is left, and ``most_s``.

        Raises:
            BudgetSpent: the time was spent before.
            SetupError: Slurm did not answer in time, or refused.
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
