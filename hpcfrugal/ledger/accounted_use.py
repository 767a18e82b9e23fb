"""What jobs held and used by Slurm's accounting, for methods that need no more than that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from hpcfrugal.accounting.green_algorithms import HeldResources
from hpcfrugal.ledger.accounted import executions_of
from hpcfrugal.ledger.accounted_executions import is_same_execution, parts_of_execution
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.slurm.sacct_jobs import SacctJob

_BATCH = 300


def held_resources(
    connection: sqlite3.Connection, jobs: Iterable[JobRow]
) -> Iterator[tuple[JobRow, Sequence[HeldResources]]]:
    """Each job with what it held, one item for each size that it had; none where Slurm's accounting of it is not in
    the ledger."""
    for job, parts in accounted_parts(connection, jobs):
        yield (
            job,
            [
                HeldResources(
                    row.elapsed_s if row.end_s is not None else None,
                    row.cpus,
                    None if row.cpu_us is None else row.cpu_us / 1e6,
                    row.gpus,
                    row.memory_b,
                )
                for row in parts
                if row.start_s is not None
            ],
        )


def accounted_parts(
    connection: sqlite3.Connection, jobs: Iterable[JobRow]
) -> Iterator[tuple[JobRow, tuple[SacctJob, ...]]]:
    """Each job with the rows of Slurm's accounting that it has in the ledger, one for each size that it had."""
    every = iter(jobs)
    while some := list(islice(every, _BATCH)):
        known = executions_of(connection, some)
        for job in some:
            same = [
                execution for execution in known.get((job.cluster, job.job_id), []) if is_same_execution(job, execution)
            ]
            yield job, parts_of_execution(same[0]) if same else ()
