"""Job states of the runs of a spool: asked of Slurm and stored in the spool, so that the ledger needs nothing else.

A run directory belongs to its owner: files of other users and links are not read, and nothing is written into the runs
of other users. Such a file would not count, and a link could lead it anywhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcfrugal.core.record import assemble, codec, wall_time
from hpcfrugal.core.safe_read import UnsafeFile, read_object
from hpcfrugal.core.time import instant_us
from hpcfrugal.job.backend import JobState
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.command import available
from hpcfrugal.slurm.job_ids import is_job_id
from hpcfrugal.spool import JobKey, RunDir, iter_runs, write_json_atomic
from hpcfrugal.spool.documents import SlurmDocument, document_json, read_submitted

GONE_AFTER_DAYS = 7
"""A job that Slurm does not know so long after its submission is not asked for again: a waiting or running job is
always
in the queue, and accounting that has purged a job does not get it back."""

_DAY_NS = 86_400 * 10**9
_NAMED = 3

_TIMES = ("submit", "eligible", "start", "end")


@dataclass(frozen=True, slots=True)
class _Open:
    """A run whose final state is not stored yet."""

    run_dir: RunDir
    cluster: str
    job_id: str
    submitted_wall_ns: int | None
    owner_uid: int


def refresh_states(spool_root: Path, backend: SlurmBackend | None = None) -> list[str]:
    """Update ``<job>.<restart>.slurm.json`` for every run of this user that has no final state.

    All jobs are asked for together. Returns messages about run directories that could not be written, invalid job ids,
    runs of other users, and jobs that Slurm does not know any more, which are not asked for again.

    Raises:
        SetupError: Slurm does not answer. Nothing is changed then.
    """
    found, others = [], 0
    for run_dir in iter_runs(spool_root):
        one = _open_run(run_dir)
        if one is not None and one.owner_uid != os.getuid():
            others += 1
        elif one is not None:
            found.append(one)
    if not (found or others) or not available():
        return []
    messages = []
    if others:
        messages.append(f"unfinished jobs of other users: {others}; only their own sync asks Slurm about them")
    wrong = [one for one in found if not is_job_id(one.job_id)]
    messages += [f"{one.run_dir.path}: {one.job_id[:40]!r} is not a job id of Slurm; ignored" for one in wrong]
    asked = [one for one in found if is_job_id(one.job_id)]
    if not asked:
        return messages
    backend = backend or SlurmBackend()
    here = backend.cluster()
    runs = {one.job_id: one for one in asked if one.cluster in {here, ""}}
    states, gone = backend.states_and_gone(list(runs))
    for job_id, of_job in states.items():
        run_dir = runs[job_id].run_dir
        try:
            for state in of_job:
                _store(run_dir, state)
        except OSError as error:
            messages.append(f"{run_dir.path}: the state of job {job_id} cannot be written: {error.strerror}")
    return [*messages, *_give_up([runs[job_id] for job_id in gone])]


def _open_run(run_dir: RunDir) -> _Open | None:
    """The run if its state may still change; None also if its files do not count, which the ledger's sync reports."""
    try:
        owner_uid = os.lstat(run_dir.path).st_uid
        submitted, _, _ = read_submitted(run_dir.submitted_json, owner_uid)
        if submitted.cluster.startswith("local:") or _is_settled(run_dir, submitted.job_id, owner_uid):
            return None
    except (OSError, UnsafeFile):
        return None
    return _Open(run_dir, submitted.cluster, submitted.job_id, submitted.submitted_wall_ns, owner_uid)


def _give_up(gone: Sequence[_Open]) -> list[str]:
    """Mark old jobs that Slurm does not know, so that they are not asked for again."""
    old, messages = [], []
    for one in gone:
        submitted_ns = one.submitted_wall_ns or _created_ns(one.run_dir.run_id)
        if time.time_ns() - submitted_ns < GONE_AFTER_DAYS * _DAY_NS:
            continue
        try:
            write_json_atomic(one.run_dir.slurm_gone, {"schema": 1, "job_id": one.job_id})
            old.append(one.job_id)
        except OSError as error:
            messages.append(f"{one.run_dir.slurm_gone} cannot be written: {error.strerror}")
    if old:
        named = ", ".join(old[:_NAMED]) + (f" and {len(old) - _NAMED} more" if len(old) > _NAMED else "")
        messages.append(f"unfinished jobs that Slurm does not know any more: {named}; not asked for again")
    return messages


def _created_ns(run_id: str) -> int:
    """When a run was created, by its id."""
    return int(datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) * 10**9


def stored_states(run_dir: RunDir) -> list[JobState]:
    """The states of a run from the last time that Slurm was asked."""
    return [_state(document, job) for job, document in _stored(run_dir, os.lstat(run_dir.path).st_uid)]


def _stored(run_dir: RunDir, owner_uid: int) -> list[tuple[JobKey, dict[str, Any]]]:
    """The stored documents that can be read, in order. Raises ``OSError``."""
    found = []
    for path, parsed in run_dir.files("slurm"):
        document = _document(path, owner_uid)
        if document is not None and parsed.job is not None:
            found.append((parsed.job, document))
    return found


def _document(path: Path, owner_uid: int) -> dict[str, Any] | None:
    try:
        return read_object(path, owner_uid)[0]
    except UnsafeFile:
        return None


def _state(document: dict[str, Any], job: JobKey) -> JobState:
    slurm = codec(SlurmDocument).read({**document, "job_id": job.job_id, "restart": job.restart}, [])
    times = {name: None if (ns := getattr(slurm, f"{name}_wall_ns")) is None else wall_time(ns) for name in _TIMES}
    return assemble(
        JobState,
        slurm,
        cluster=slurm.cluster or "",
        state=slurm.state or "UNKNOWN",
        nodes=slurm.nodes or (),
        reason=None,
        **{f"{name}_at": time for name, time in times.items()},
    )


def _store(run_dir: RunDir, state: JobState) -> None:
    """Store the state of a job. Raises ``OSError``."""
    path = run_dir.slurm_json(state.job_id, state.restart)
    document = state_document(state)
    if _document(path, os.getuid()) != document:
        write_json_atomic(path, document)


def _is_settled(run_dir: RunDir, job_id: str, owner_uid: int) -> bool:
    """Whether the stored state of this run is final. Raises ``OSError``."""
    gone = _document(run_dir.slurm_gone, owner_uid)
    if gone is not None and gone.get("job_id") == job_id:
        return True
    documents = _stored(run_dir, owner_uid)
    if not documents or not all(document.get("final") for _, document in documents):
        return False
    # Tasks of an array get their own ids as they start. Those that wait are listed under the array's own id: without
    # a final state under it, some still wait. A requeued job comes back under a higher restart.
    last = {job.job_id: document for job, document in sorted(documents, key=lambda one: one[0].restart)}
    return (
        all(document.get("state") not in {"PREEMPTED", "NODE_FAIL", "REQUEUED"} for document in last.values())
        and job_id in last
    )


def state_document(state: JobState) -> dict[str, Any]:
    """The document of a state in the spool."""

    times = {f"{name}_wall_ns": getattr(state, f"{name}_at") for name in _TIMES}
    known = {key: None if time is None else instant_us(time) * 1000 for key, time in times.items()}
    elapsed_s = state.elapsed_s if state.final else None
    return document_json(assemble(SlurmDocument, state, elapsed_s=elapsed_s, **known))
