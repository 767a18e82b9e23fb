"""Who may see whose jobs in Slurm: coordinators of accounts, operators, and what is private (PrivateData)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import OutputColumn, OutputTable, word
from hpcfrugal.slurm.command import Result

_PRIVATE = re.compile(r"^PrivateData\s*=\s*(.*)$", re.MULTILINE)
_HIDING_JOBS = frozenset({"all", "jobs", "usage", "users", "accounts"})
"""Values with which a user does not see jobs, usage, users or accounts of others (slurm.conf(5), slurmdbd.conf(5),
"PrivateData")."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if word(name) is not None)


_USERS = OutputTable(
    OutputColumn("name", "User", str),
    OutputColumn("admin", "AdminLevel", lambda text: text in ("Operator", "Administrator")),
    OutputColumn("coordinates", "Coordinators", _names),
)


@dataclass(frozen=True, slots=True)
class SlurmUser:
    """A user of the accounting database. ``admin``: sees all jobs, whatever is private. ``coordinates`` are accounts
    whose jobs they see, with those below these."""

    name: str
    admin: bool
    coordinates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SlurmUsers(Request[list[SlurmUser]]):
    """All users of the accounting database, as far as Slurm shows them to the one who asks."""

    def argv(self) -> list[str]:
        """One sacctmgr."""
        options = ["--parsable2", "--noheader", "--readonly"]
        return ["sacctmgr", *options, "show", "user", "withcoord", f"format={_USERS.format('', ',')}"]

    def answer(self, result: Result) -> list[SlurmUser]:
        """Raises SetupError: sacctmgr failed."""
        return [SlurmUser(**row) for row in _USERS.rows(result.output()) if row["name"]]


@dataclass(frozen=True, slots=True)
class JobsPrivate(Request[bool]):
    """Whether a user may not see the jobs of others, by the accounting daemon or by the controller."""

    def argv(self) -> list[str]:
        """One sacctmgr, which shows the configuration of both."""
        return ["sacctmgr", "--readonly", "show", "configuration"]

    def answer(self, result: Result) -> bool:
        """Raises SetupError: sacctmgr failed."""
        found = _PRIVATE.findall(result.output())
        # Where neither is shown it is not known that others may see them.
        return not found or any(name.strip().lower() in _HIDING_JOBS for text in found for name in text.split(","))
