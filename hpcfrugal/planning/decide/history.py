"""Run times and power of earlier runs of a job, from the user's ledger.

Similar jobs are completed jobs with the same user and name; the default name of a job is that of its file or script.
Only the newest count, since programs change.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hpcfrugal.core.errors import HpcfrugalError

if TYPE_CHECKING:
    import sqlite3

MOST_RUNS = 50
"""The number of newest similar jobs that count."""

FEWEST_RUNS = 5
"""With fewer runs a plan uses the time limit and modelled power: a first short test of a job is a poor predictor of
run time and power."""

_BUSY_S = 0.5

# The newest completed jobs of a name, each with all of its restarts.
_SIMILAR = """
WITH similar AS (
    SELECT run, job_id FROM jobs
    WHERE user = (SELECT text FROM texts WHERE name = ?) AND name = (SELECT text FROM texts WHERE name = ?)
    AND state = (SELECT text FROM texts WHERE name = 'COMPLETED')
    ORDER BY coalesce(ended_wall_ns, started_wall_ns) DESC, run, job_id LIMIT ?
)
"""
_RUNTIMES = f"""{_SIMILAR}
SELECT sum(elapsed_ns), min(elapsed_ns IS NOT NULL)
FROM similar JOIN jobs USING (run, job_id) GROUP BY run, job_id
"""
# 1 uJ/ns is 1000 W. Jobs with an unknown part are left out, as they would lower the mean.
_POWERS = f"""{_SIMILAR}, parts AS (
    SELECT run, job_id, job, jobs.elapsed_ns AS elapsed_ns,
        sum(coalesce(measured_uj, 0) + coalesce(modelled_uj, 0)) AS energy_uj, sum(covered_ns) AS covered_ns,
        max(lacking) AS lacking, sum(modelled_uj) AS modelled_uj
    FROM similar JOIN jobs USING (run, job_id) JOIN job_energy USING (job)
    WHERE jobs.elapsed_ns > 0 GROUP BY job, node, component
)
SELECT run, job_id, elapsed_ns, sum(1000.0 * energy_uj / nullif(covered_ns, 0)),
    min(covered_ns > 0 AND NOT lacking), min(modelled_uj IS NULL)
FROM parts GROUP BY job
"""


@dataclass(frozen=True, slots=True)
class History:
    """Run times of similar jobs, shortest first, and their mean power with the number of jobs it is from.

    ``measured``: no part of that power is modelled. ``problem``: why the ledger could not be read.
    """

    runtimes: tuple[timedelta, ...] = ()
    power_w: float | None = None
    power_jobs: int = 0
    measured: bool = False
    problem: str | None = None


def job_history(ledger: Path, user: str, name: str) -> History:
    """The history of the jobs called ``name``; empty, without a problem, if there is no ledger."""
    if not ledger.is_file():
        return History()
    from hpcfrugal.ledger.store import open_ledger

    try:
        with open_ledger(ledger, timeout_s=_BUSY_S) as connection:
            return _read(connection, (user, name, MOST_RUNS))
    except HpcfrugalError as error:
        return History(problem=f"earlier runs unknown: {error.message}")


def _read(connection: sqlite3.Connection, parameters: tuple[str, str, int]) -> History:
    runtimes = sorted(
        timedelta(microseconds=elapsed_ns // 1000)
        for elapsed_ns, known in connection.execute(_RUNTIMES, parameters)
        if known and elapsed_ns > 0
    )
    attempts = defaultdict(list)
    for run, job_id, elapsed_ns, power_w, known, measured in connection.execute(_POWERS, parameters):
        attempts[run, job_id].append((elapsed_ns, power_w, bool(known), bool(measured)))
    whole = [parts for parts in attempts.values() if all(known for _, _, known, _ in parts)]
    spans = [(elapsed_ns, power_w) for parts in whole for elapsed_ns, power_w, _, _ in parts]
    if not spans:
        return History(tuple(runtimes))
    return History(
        runtimes=tuple(runtimes),
        power_w=sum(elapsed_ns * power_w for elapsed_ns, power_w in spans) / sum(elapsed_ns for elapsed_ns, _ in spans),
        power_jobs=len(whole),
        measured=all(measured for parts in whole for *_, measured in parts),
    )
