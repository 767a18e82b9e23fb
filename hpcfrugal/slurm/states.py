"""Job states of the runs of a spool: asked of Slurm and stored in the spool, so that the ledger needs nothing else.

A run directory belongs to its owner: files of other users and links are not read, and nothing is written into the runs
of other users. Such a file would not count, and a link could lead it anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.core.time import from_ns
from hpcfrugal.job.backend import RunStates, SubmittedRun
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.command import available
from hpcfrugal.slurm.executions import created_at, is_given_up, known_attempts, stored_document, stored_states
from hpcfrugal.slurm.job_ids import is_job_id
from hpcfrugal.slurm.stored_runs import StoredRun, stored_runs
from hpcfrugal.spool import RunDir, mark_changed, write_json_atomic
from hpcfrugal.spool.job_state import JobState, is_over
from hpcfrugal.spool.json_document import document_json

GONE_AFTER_DAYS = 7
"""A job that Slurm does not know so long after its submission is not asked for again: a waiting or running job is
always
in the queue, and accounting that has purged a job does not get it back."""

_NAMED = 3


@dataclass(slots=True)
class Refreshed:
    """What a refresh has to say: ``warnings``, and ``notes`` on what is as it should be."""

    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def refresh_states(
    spool_root: Path, backend: SlurmBackend | None = None, runs_to_ask: Iterable[RunDir] | None = None
) -> Refreshed:
    """Update ``<job>.<restart>.slurm.json`` for every run of this user that has no final state, or those of
    ``runs_to_ask``.

    All jobs are asked for together. Warns about run directories that could not be written, invalid job ids, runs of
    other users, and jobs that Slurm does not know any more, which are not asked for again.

    Raises:
        SetupError: Slurm does not answer. Nothing is changed then.
    """
    unsettled = [one for one in stored_runs(spool_root, runs_to_ask) if not (one.is_local or _is_settled(one))]
    found = [one for one in unsettled if one.is_mine]
    others = len(unsettled) - len(found)
    result = Refreshed()
    if not (found or others) or not available():
        return result
    if others:
        result.warnings.append(f"unfinished jobs of other users: {others}; only their own sync asks Slurm about them")
    wrong = [one for one in found if not is_job_id(one.job_id)]
    result.warnings += [f"{one.run_dir.path}: {one.job_id[:40]!r} is not a job id of Slurm; ignored" for one in wrong]
    asked = [one for one in found if is_job_id(one.job_id)]
    if not asked:
        return result
    backend = backend or SlurmBackend()
    here = backend.cluster()
    runs = [one for one in asked if one.is_of(here)]
    listed = backend.listed([SubmittedRun(one.run_dir.path, one.job_id) for one in runs])
    if listed.problem is not None:
        result.warnings.append(f"{listed.problem}: states of jobs may be out of date")
    gone = []
    for one in runs:
        of_run = listed.runs[one.run_dir.run_id]
        if _is_gone(of_run) and (listed.accounting or listed.no_accounting):
            gone.append(one)
        try:
            for state in of_run.states:
                _store(one.run_dir, state)
        except OSError as error:
            path = one.run_dir.path
            result.warnings.append(f"{path}: the state of job {one.job_id} cannot be written: {error.strerror}")
    _give_up(gone, result, accounting=listed.accounting)
    return result


def _is_gone(run: RunStates) -> bool:
    """Whether Slurm does not know the job, or only that it was to come back long ago."""
    if run.queued is not False or run.over:
        return False
    old = datetime.now(UTC) - timedelta(days=GONE_AFTER_DAYS)
    return all(state.final and state.end_at is not None and state.end_at < old for state in run.states)


def _give_up(gone: Sequence[StoredRun], result: Refreshed, *, accounting: bool) -> None:
    """Mark jobs that Slurm does not know, so that they are not asked for again: old ones, and where no accounting is
    kept those that have recorded their end.
    """
    old: list[str] = []
    ended: list[str] = []
    for one in gone:
        at_ns = one.submitted.submitted_wall_ns
        since = datetime.now(UTC) - (created_at(one.run_dir) if at_ns is None else from_ns(at_ns))
        if not accounting and _has_ended(one):
            of_kind = ended
        elif since >= timedelta(days=GONE_AFTER_DAYS):
            of_kind = old
        else:
            continue
        try:
            write_json_atomic(one.run_dir.slurm_gone, {"schema": 1, "job_id": one.job_id})
            of_kind.append(one.job_id)
        except OSError as error:
            result.warnings.append(f"{one.run_dir.slurm_gone} cannot be written: {error.strerror}")
    if old:
        result.warnings.append(f"unfinished jobs that Slurm does not know any more: {_some(old)}; not asked for again")
    if ended:
        result.notes.append(
            f"Slurm keeps no accounting: the end of jobs is taken from their own records: {_some(ended)}"
        )


def _has_ended(one: StoredRun) -> bool:
    """Whether the last attempt of a job, or of each task of an array that has started, recorded its end."""
    attempts = known_attempts(one.run_dir)
    last = {job.job_id: attempt for job, attempt in sorted(attempts.items())}
    return bool(last) and all(attempt.end is not None for attempt in last.values())


def _some(job_ids: Sequence[str]) -> str:
    more = len(job_ids) - _NAMED
    first = sorted(job_ids, key=lambda job_id: (len(job_id), job_id))[:_NAMED]
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _store(run_dir: RunDir, state: JobState) -> None:
    """Store the state of a job. Raises ``OSError``."""
    path = run_dir.slurm_json(state.job_id, state.restart)
    document = document_json(state if state.final else replace(state, elapsed_s=None))
    if stored_document(path, os.getuid()) != document:
        write_json_atomic(path, document)
        mark_changed(run_dir.path)


def _is_settled(one: StoredRun) -> bool:
    """Whether the stored state of this run is final, or cannot be read, which the ledger's sync reports."""
    try:
        given_up = is_given_up(one.run_dir, one.job_id, one.owner_uid)
        return given_up or is_over(one.job_id, stored_states(one.run_dir))
    except (OSError, UnsafeFile):
        return True
