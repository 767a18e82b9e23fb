"""The submitted runs of a spool: whose they are, and which job each became."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.spool import RunDir, iter_runs
from hpcfrugal.spool.documents import SubmittedDocument, read_submitted
from hpcfrugal.spool.local_cluster import is_local


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run and the job that it became."""

    run_dir: RunDir
    owner_uid: int
    submitted: SubmittedDocument

    @property
    def job_id(self) -> str:
        return self.submitted.job_id

    @property
    def is_mine(self) -> bool:
        """Whether this user owns it; nothing counts that others write into it."""
        return self.owner_uid == os.getuid()

    @property
    def is_local(self) -> bool:
        """Whether it ran on this machine without Slurm."""
        return is_local(self.submitted.cluster)

    def is_of(self, cluster: str) -> bool:
        """Whether its job id is one of this cluster, or may be."""
        return self.submitted.cluster in {cluster, ""}


def stored_runs(spool_root: Path, runs: Iterable[RunDir] | None = None) -> Iterator[StoredRun]:
    """The submitted runs of a spool, or those of ``runs``.

    Runs whose files do not count are left out: the ledger's sync reports them.
    """
    for run_dir in iter_runs(spool_root) if runs is None else runs:
        try:
            owner_uid = os.lstat(run_dir.path).st_uid
            yield StoredRun(run_dir, owner_uid, read_submitted(run_dir.submitted_json, owner_uid)[0])
        except (OSError, UnsafeFile):
            continue
