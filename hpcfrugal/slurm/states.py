"""Ask Slurm about the runs of a spool and keep its answers there, so that the ledger needs nothing else.

What stands in a run directory is its owner's: nothing is read through a link or of somebody else, and nobody writes
into the runs of another user. A file of theirs would not count, and a link could lead it anywhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcfrugal.core.record import codec, gather, wall_time
from hpcfrugal.core.safe_read import UnsafeFile, read_object
from hpcfrugal.core.time import instant_us
from hpcfrugal.job.backend import JobState
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.command import available
from hpcfrugal.slurm.job_ids import is_job_id
from hpcfrugal.spool import JobKey, RunDir, iter_runs, write_json_atomic
from hpcfrugal.spool.documents import SlurmDocument, document_json, read_submitted

GONE_AFTER_DAYS = 7
"""A job that Slurm does not list so long after it was submitted is not asked for again: a job that waits or runs is
always listed, and the books that know it no more will not know it again."""

_DAY_NS = 86_400 * 10**9
_NAMED = 3

_TIMES = ("submit", "eligible", "start", "end")


@dataclass(frozen=True, slots=True)
class _Open:
    """A run of which Slurm had not said the last word."""

    run_dir: RunDir
    cluster: str
    job_id: str
    submitted_wall_ns: int | None
    owner_uid: int


def refresh_states(spool_root: Path, backend: SlurmBackend | None = None) -> list[str]:
    """Bring ``<job>.<restart>.slurm.json`` up to date for every run of this user that Slurm had not called final.

    All jobs are asked for together. Returns sentences: for each run directory that could not be written, for ids that
    are none of Slurm's, for runs of other users, and for jobs that Slurm has forgotten, which are not asked for again.

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
    said = []
    if others:
        said.append(f"unfinished jobs in runs of other users: {others}; only their own sync asks Slurm about them")
    wrong = [one for one in found if not is_job_id(one.job_id)]
    said += [f"{one.run_dir.path}: {one.job_id[:40]!r} is no job id of Slurm's: not asked about" for one in wrong]
    asked = [one for one in found if is_job_id(one.job_id)]
    if not asked:
        return said
    backend = backend or SlurmBackend()
    here = backend.cluster()
    runs = {one.job_id: one for one in asked if one.cluster in {here, ""}}
    states, gone = backend.states_and_gone(list(runs))
    for job_id, of_job in states.items():
        run_dir = runs[job_id].run_dir
        try:
            for state in of_job:
                _keep(run_dir, state)
        except OSError as error:
            said.append(f"what Slurm says of job {job_id} cannot be kept: {run_dir.path}: {error.strerror}")
    return [*said, *_give_up([runs[job_id] for job_id in gone])]


def _open_run(run_dir: RunDir) -> _Open | None:
    """A run of which there is more to ask; None also where its files do not count, which the ledger's sync says."""
    try:
        owner_uid = os.lstat(run_dir.path).st_uid
        submitted, _, _ = read_submitted(run_dir.submitted_json, owner_uid)
        if submitted.cluster.startswith("local:") or _settled(run_dir, submitted.job_id, owner_uid):
            return None
    except (OSError, UnsafeFile):
        return None
    return _Open(run_dir, submitted.cluster, submitted.job_id, submitted.submitted_wall_ns, owner_uid)


def _give_up(gone: Sequence[_Open]) -> list[str]:
    """Note of jobs that Slurm does not list that they are not asked for again, where they are old."""
    old, said = [], []
    for one in gone:
        submitted_ns = one.submitted_wall_ns or _made_ns(one.run_dir.run_id)
        if time.time_ns() - submitted_ns < GONE_AFTER_DAYS * _DAY_NS:
            continue
        try:
            write_json_atomic(one.run_dir.slurm_gone, {"schema": 1, "job_id": one.job_id})
            old.append(one.job_id)
        except OSError as error:
            said.append(f"{one.run_dir.slurm_gone} cannot be written: {error.strerror}")
    if old:
        named = ", ".join(old[:_NAMED]) + (f" and {len(old) - _NAMED} more" if len(old) > _NAMED else "")
        said.append(f"Slurm no longer knows of jobs that were not over when last heard of: {named}; not asked again")
    return said


def _made_ns(run_id: str) -> int:
    """When a run was made, by its id."""
    return int(datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) * 10**9


def kept_states(run_dir: RunDir) -> list[JobState]:
    """What Slurm had said of a run when it was last asked; empty where it was not."""
    return [_state(document, job) for job, document in _kept(run_dir, os.lstat(run_dir.path).st_uid)]


def _kept(run_dir: RunDir, owner_uid: int) -> list[tuple[JobKey, dict[str, Any]]]:
    """The documents of Slurm's word that can be read, in order. Raises ``OSError``."""
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
    return gather(
        JobState,
        slurm,
        cluster=slurm.cluster or "",
        state=slurm.state or "UNKNOWN",
        nodes=slurm.nodes or (),
        reason=None,
        **{f"{name}_at": time for name, time in times.items()},
    )


def _keep(run_dir: RunDir, state: JobState) -> None:
    """Keep what Slurm says of a job. Raises ``OSError``."""
    path = run_dir.slurm_json(state.job_id, state.restart)
    document = state_document(state)
    if _document(path, os.getuid()) != document:
        write_json_atomic(path, document)


def _settled(run_dir: RunDir, job_id: str, owner_uid: int) -> bool:
    """Whether everything that this run can still become is known. Raises ``OSError``."""
    gone = _document(run_dir.slurm_gone, owner_uid)
    if gone is not None and gone.get("job_id") == job_id:
        return True
    documents = _kept(run_dir, owner_uid)
    if not documents or not all(document.get("final") for _, document in documents):
        return False
    # An array's tasks turn up one by one as they start: it is settled when none waits any more, which the pending
    # remainder (listed under the array's own id) tells. A requeued job comes back under a higher restart.
    last = {job.job_id: document for job, document in sorted(documents, key=lambda one: one[0].restart)}
    return (
        all(document.get("state") not in {"PREEMPTED", "NODE_FAIL", "REQUEUED"} for document in last.values())
        and job_id in last
    )


def state_document(state: JobState) -> dict[str, Any]:
    """What is kept of a state in the spool."""

    times = {f"{name}_wall_ns": getattr(state, f"{name}_at") for name in _TIMES}
    known = {key: None if time is None else instant_us(time) * 1000 for key, time in times.items()}
    elapsed_s = state.elapsed_s if state.final else None
    return document_json(gather(SlurmDocument, state, elapsed_s=elapsed_s, **known))
