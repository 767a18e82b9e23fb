"""Runs in the spools of a site's users: they count where Slurm's accounting has their jobs as those of the owner.

A job counts as one execution that Slurm has, on that cluster, at that time and on its nodes; of several runs with one
execution the first counts. What such a run's files hold of the job's user, account, partition, times and outcome is
replaced by what Slurm has.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.text import clean_text, printable
from hpcfrugal.ledger.accounted_due import own_or_array
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.jobs import delete_job
from hpcfrugal.ledger.rows import AttemptRow
from hpcfrugal.ledger.run_files import unseal

_OF_USER = "accounted_jobs AS a JOIN texts ON texts.text = a.user WHERE texts.name = ?1"
_KNOWN = f"""
SELECT EXISTS (SELECT 1 FROM {_OF_USER} AND coalesce(a.array_job_id, a.job_id) = ?2)
    OR EXISTS (SELECT 1 FROM {_OF_USER} AND a.array_job_id NOT NULL AND a.job_id = ?2)
"""


@dataclass(frozen=True, slots=True)
class SpoolUser:
    """The user whose spool it is, to whom its runs have to belong."""

    name: str
    uid: int

    @classmethod
    def of(cls, spool_root: Path, name: str) -> SpoolUser:
        """The owner of a spool, who has to be the user of that name, where there still is one. Raises ``OSError``."""
        uid = os.lstat(spool_root).st_uid
        with contextlib.suppress(KeyError):
            if pwd.getpwnam(name).pw_uid != uid:
                # Somebody may have put a link into the path since it was looked at.
                raise PermissionError(errno.EPERM, f"belongs to uid {uid}, not to {name}", str(spool_root))
        return cls(name, uid)

    def refusal(self, connection: sqlite3.Connection, owner_uid: int, job_ids: Iterable[str]) -> str | None:
        """Why a run with these jobs does not count (yet); None where it does."""
        if owner_uid != self.uid:
            return f"belongs to uid {owner_uid}, not to {self.name}, whose spool it is in: the run does not count"
        for job_id in sorted(job_ids):
            if not connection.execute(_KNOWN, (self.name, clean_text(job_id))).fetchone()[0]:
                return f"Slurm's accounting has no job {job_id} of {self.name}: the run does not count"
        return None


def set_aside(connection: LedgerConnection, job: int, attempt: AttemptRow) -> None:
    """Leave a job of a user's run out that is no execution of Slurm's, or one that another run has. Its files count as
    unread, so that the next sync looks again."""
    assert attempt.run is not None
    where = printable(f"{attempt.job_id} (restart {attempt.restart}) of cluster {attempt.cluster!r}")
    problem = (
        f"job {where} does not count: Slurm has none of {attempt.user} at that time on its nodes, or another run has it"
    )
    unseal(connection, attempt.run)  # before, since names of a sealed run's files are completed by its job
    delete_job(connection, job)
    connection.execute(
        "UPDATE files SET size = NULL, accepted = 0"
        " WHERE run = ? AND (name = 'submitted.json' OR (job_id = ? AND restart = ?))",
        (attempt.run, attempt.job_id, attempt.restart),
    )
    connection.execute(
        "UPDATE files SET problems = ? WHERE run = ? AND name = 'run.json'", (json.dumps([problem]), attempt.run)
    )


def mark_users(connection: LedgerConnection, run: int) -> None:
    """Make the jobs of a user's run due, also where Slurm's accounting has none of them."""
    connection.execute(
        f"INSERT OR IGNORE INTO accounted_due SELECT cluster, {own_or_array('jobs')} FROM jobs WHERE run = ?", (run,)
    )
