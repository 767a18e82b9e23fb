"""Runs in the spools of a site's users: they count where Slurm's accounting has their jobs as those of the owner.

What such a run's files hold of the job's user, account, partition, times and outcome is replaced by what Slurm has.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.text import clean_text

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
        """The owner of a spool, whose name is known. Raises ``OSError``."""
        return cls(name, os.lstat(spool_root).st_uid)

    def refusal(self, connection: sqlite3.Connection, owner_uid: int, job_ids: Iterable[str]) -> str | None:
        """Why a run with these jobs does not count (yet); None where it does."""
        if owner_uid != self.uid:
            return f"belongs to uid {owner_uid}, not to {self.name}, whose spool it is in: the run does not count"
        for job_id in sorted(job_ids):
            if not connection.execute(_KNOWN, (self.name, clean_text(job_id))).fetchone()[0]:
                return f"Slurm's accounting has no job {job_id} of {self.name}: the run does not count"
        return None
