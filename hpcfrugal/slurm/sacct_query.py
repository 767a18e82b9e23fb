"""Asking sacct for all rows of a time, in a form of which no name of a job can pass for another row."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import slurm_time
from hpcfrugal.slurm.command import Result
from hpcfrugal.slurm.sacct_fields import FIELDS

_CONTROL = "\x01\x02\x03\x04\x05\x06\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a"
"""Control characters that no shell, no terminal protocol and no line of text has a use for."""


def unforeseen_delimiter() -> str:
    """Four control characters, drawn anew for each question: whoever named a job did not know them."""
    return "".join(secrets.choice(_CONTROL) for _ in range(4))


@dataclass(frozen=True, slots=True)
class SacctColumns(Request[frozenset[str]]):
    """The columns that this sacct has, in lower case."""

    timeout_s = 20.0

    def argv(self) -> list[str]:
        """``sacct --helpformat``."""
        return ["sacct", "--helpformat"]

    def answer(self, result: Result) -> frozenset[str]:
        """Raises SetupError: sacct failed."""
        return frozenset(result.output().lower().split())


@dataclass(frozen=True, slots=True)
class SacctRows(Request[str]):
    """All rows of jobs and steps of jobs that waited, ran or ended in ``[since, until]``, with a header.

    ``user`` None: all users whose jobs Slurm shows. ``known`` are the columns that this sacct has.
    """

    since: datetime
    until: datetime
    user: str | None
    known: frozenset[str]
    delimiter: str = field(default_factory=unforeseen_delimiter)

    timeout_s: ClassVar[float] = 900.0
    environment: ClassVar[Mapping[str, str]] = {"SLURM_TIME_FORMAT": "%s"}
    """Seconds since 1970: a local time means two instants where the clock is set back."""

    def argv(self) -> list[str]:
        """One sacct."""
        columns = ",".join(each.name for each in FIELDS if each.name.lower() in self.known)
        return [
            *("sacct", "--parsable2", "--duplicates", f"--delimiter={self.delimiter}", f"--format={columns}"),
            *(f"--starttime={slurm_time(self.since)}", f"--endtime={slurm_time(self.until)}"),
            "--allusers" if self.user is None else f"--user={self.user}",
        ]

    def answer(self, result: Result) -> str:
        """Raises SetupError: sacct failed, so that what it printed may lack jobs."""
        return result.output()
