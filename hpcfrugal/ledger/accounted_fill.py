"""What Slurm's accounting fills or replaces in the job of a run. Pure functions.

The row keeps what its run has there (``own``). So a later answer of Slurm counts in place of an earlier one, and a job
that Slurm's accounting no longer has is again what its run has, as after a rebuild.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpcfrugal.ledger.rows import AttemptRow

_FILLED = (
    *("array_job_id", "array_task_id", "het_job_id", "partition", "account", "qos", "user", "name", "eligible_wall_ns"),
    *("started_wall_ns", "alloc_cpus", "alloc_gpus", "state"),
)
_SLURMS_ALONE = ("partition", "account", "qos", "het_job_id")
"""Reports find and group jobs by them, so that what a user's run has of them does not count where Slurm has none."""

_OUTCOME = ("state", "exit_code", "signal", "started_wall_ns", "ended_wall_ns", "elapsed_ns", "elapsed_source")


def by_its_run(attempt: AttemptRow) -> AttemptRow:
    """A job as the files of its run have it."""
    own: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in attempt.own.items()
    }
    return replace(attempt, **own, own={}) if own else attempt


def filled_by(wanted: AttemptRow, attempt: AttemptRow, *, replacing: bool) -> AttemptRow:
    """The job of a run with what Slurm has of it and the run has not; ``replacing``: with all that Slurm has of it,
    since what the run has is only its user's word."""
    values = _by_slurm(wanted) if replacing else _lacking(attempt, wanted)
    own = {name: had for name, value in values.items() if (had := getattr(attempt, name)) != value}
    return replace(attempt, **values, own=own)


def _lacking(attempt: AttemptRow, wanted: AttemptRow) -> dict[str, Any]:
    values = {name: getattr(wanted, name) for name in _FILLED if getattr(attempt, name) is None}
    if not attempt.nodes:
        values["nodes"] = wanted.nodes
    if wanted.final and not attempt.final:
        values |= {"final": True} | {name: getattr(wanted, name) for name in _OUTCOME}
    return values


def _by_slurm(wanted: AttemptRow) -> dict[str, Any]:
    names = ("nodes", *_FILLED, *(("final", *_OUTCOME) if wanted.final else ()))
    values = {name: value for name in names if (value := getattr(wanted, name)) not in (None, ())}
    return dict.fromkeys(_SLURMS_ALONE) | values
