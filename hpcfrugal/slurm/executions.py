"""Which of the executions that Slurm lists under a job id belong to a run, and which restart of the job each one is.

Slurm uses a job id again, after years or after a cluster lost its state, and lists what accounting has not purged. So a
job is its cluster, its id and the time of its submission. How often it was restarted only the job itself knows: its
batch script and its sidecar write ``SLURM_RESTART_COUNT`` into the spool.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcfrugal.core.record import codec
from hpcfrugal.core.safe_read import UnsafeFile, read_object
from hpcfrugal.core.time import from_ns
from hpcfrugal.spool import JobKey, RunDir
from hpcfrugal.spool.documents import EndDocument, read_end, read_slurm
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.spool.sample_header import SampledNode
from hpcfrugal.spool.samples import read_header

_CLOCKS_APART = timedelta(minutes=10)
"""The clocks of the controller, the login node and the nodes differ by less."""

_REQUEUED_WITHIN = timedelta(days=1)
"""A job is submitted again when its last execution ends; an id that is used again is used much later."""

_AT_ONCE = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the spool holds of one execution; ``submit_at`` and ``start_at`` are None where unknown.

    ``submit_at`` is Slurm's, of an earlier answer; ``start_at`` that of the batch script or the sidecar.
    """

    submit_at: datetime | None
    start_at: datetime | None
    end: EndDocument | None = None


def created_at(run_dir: RunDir) -> datetime:
    """When a run was created, by its id: before its job was submitted."""
    return datetime.strptime(run_dir.run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def known_attempts(run_dir: RunDir) -> dict[JobKey, Attempt]:
    """The attempts of which the spool has files; none where it cannot be read."""
    try:
        owner_uid = os.lstat(run_dir.path).st_uid
        return {job: _attempt(run_dir, job, owner_uid) for job in run_dir.jobs()}
    except OSError:
        return {}


def _attempt(run_dir: RunDir, job: JobKey, owner_uid: int) -> Attempt:
    end = submit_at = start_ns = None
    try:
        end = read_end(run_dir.end_json(job.job_id, job.restart), owner_uid, job)[0]
        start_ns = end.started_wall_ns
    except UnsafeFile:
        headers = (
            read_header(path, owner_uid, SampledNode(run_dir.run_id, job, name.node))
            for path, name in run_dir.files("samples")
            if name.job == job and name.node is not None
        )
        start_ns = min((header.wall_ns for header in headers if header is not None), default=None)
    try:
        submit_at = read_slurm(run_dir.slurm_json(job.job_id, job.restart), owner_uid, job)[0].submit_at
    except UnsafeFile:
        submit_at = None
    return Attempt(submit_at, None if start_ns is None else from_ns(start_ns), end)


def stored_states(run_dir: RunDir) -> list[JobState]:
    """The states of a run from the last time that Slurm was asked. Raises ``OSError``."""
    owner_uid = os.lstat(run_dir.path).st_uid
    found = []
    for path, parsed in run_dir.files("slurm"):
        document = stored_document(path, owner_uid)
        if document is not None and parsed.job is not None:
            found.append(_state(document, parsed.job))
    if stored_document(run_dir.slurm_gone, owner_uid) is not None:
        return with_ends(found, known_attempts(run_dir))
    return found


def stored_document(path: Path, owner_uid: int) -> dict[str, Any] | None:
    """The content of a file of the run's owner; None where there is no valid one."""
    try:
        return read_object(path, owner_uid)[0]
    except UnsafeFile:
        return None


def is_given_up(run_dir: RunDir, job_id: str, owner_uid: int) -> bool:
    """Whether Slurm is not asked for the job again, since it does not know it any more."""
    document = stored_document(run_dir.slurm_gone, owner_uid)
    return document is not None and document.get("job_id") == job_id


def _state(document: dict[str, Any], job: JobKey) -> JobState:
    return codec(JobState).read({**document, "job_id": job.job_id, "restart": job.restart}, [])


def of_run(listed: Iterable[JobState], created: datetime, attempts: Mapping[JobKey, Attempt]) -> list[JobState]:
    """The states that belong to a run created at ``created``, each with the restart number of its job."""
    by_id: dict[str, list[JobState]] = {}
    for state in listed:
        by_id.setdefault(state.job_id, []).append(state)
    found: list[JobState] = []
    for job_id, states in by_id.items():
        own = {job.restart: attempt for job, attempt in attempts.items() if job.job_id == job_id}
        found += _numbered(_own(sorted(states, key=_order), created, own.values()), created, own)
    return found


def _order(state: JobState) -> tuple[datetime, datetime, int]:
    never = datetime.max.replace(tzinfo=UTC)
    return (state.submit_at or never, state.start_at or never, state.restart)


def _own(states: Sequence[JobState], created: datetime, attempts: Iterable[Attempt]) -> list[JobState]:
    """Those of them that were submitted after the run was created, each soon after the one before had ended."""
    chain: list[JobState] = []
    for state in states:
        if state.submit_at is None:
            chain.append(state)
            continue
        if state.submit_at < created - _CLOCKS_APART:
            continue
        if chain:
            before = chain[-1].end_at or chain[-1].submit_at
            if chain[-1].final and before is not None and state.submit_at > before + _REQUEUED_WITHIN:
                break
        elif state.submit_at > created + _REQUEUED_WITHIN and not any(
            attempt.start_at is not None and attempt.start_at >= state.submit_at - _CLOCKS_APART for attempt in attempts
        ):
            break  # accounting has purged the job, and lists another one
        chain.append(state)
    return chain


def _numbered(states: Sequence[JobState], created: datetime, attempts: Mapping[int, Attempt]) -> list[JobState]:
    """Number executions of one job, which are in order, by what the spool knows of its attempts.

    The others count on from the one before, or back from the one after.
    """
    known = _matched(states, created, attempts)
    numbers: list[int | None] = []
    for at, state in enumerate(states):
        number = known.get(at)
        if number is None and numbers and numbers[-1] is not None:
            number = numbers[-1] + 1
        elif number is None and state.submit_at is not None and not any(later > at for later in known):
            earlier = [n for n, one in attempts.items() if one.start_at is not None and one.start_at < state.submit_at]
            number = max(earlier) + 1 if earlier else None
        numbers.append(number)
    first = next((at for at, number in enumerate(numbers) if number is not None), None)
    if first is None:
        return [replace(state, restart=at) for at, state in enumerate(states)]
    base = max(0, (numbers[first] or 0) - first)
    filled: list[int] = []
    for at, number in enumerate(numbers):
        least = filled[-1] + 1 if filled else 0
        filled.append(max(least, base + at if number is None else number))
    return [replace(state, restart=number) for state, number in zip(states, filled, strict=True)]


def _matched(states: Sequence[JobState], created: datetime, attempts: Mapping[int, Attempt]) -> dict[int, int]:
    """Restart numbers by the place of the execution, as far as the spool knows them; they rise with the place."""
    found: dict[int, int] = {}
    for number, attempt in sorted(attempts.items()):
        for at, state in enumerate(states):
            if attempt.submit_at is not None and state.submit_at == attempt.submit_at:
                found[at] = number
    apart: dict[int, timedelta] = {}
    for number, attempt in sorted(attempts.items()):
        if attempt.start_at is None or number in found.values():
            continue
        # It belongs to the last execution that had started by then, and of two attempts the nearer one does.
        started = [
            (abs(attempt.start_at - state.start_at), at)
            for at, state in enumerate(states)
            if state.start_at is not None and state.start_at <= attempt.start_at + _AT_ONCE
        ]
        span, place = min(started, default=(timedelta(), -1))
        if place >= 0 and (place not in found or span < apart.get(place, timedelta())):
            found[place], apart[place] = number, span
    if not found and len(attempts) == 1 and len(states) == 1:
        ((number, attempt),) = attempts.items()
        if attempt.start_at is not None and attempt.start_at < created - _CLOCKS_APART:
            found[0] = number  # the node's clock is wrong
    return found


def with_ends(states: Iterable[JobState], attempts: Mapping[JobKey, Attempt]) -> list[JobState]:
    """The states of a job that is not in the queue any more, completed by the end records of its batch scripts."""
    found = {JobKey(state.job_id, state.restart): state for state in states}
    for job, attempt in attempts.items():
        end, state = attempt.end, found.get(job, JobState(job.job_id, restart=job.restart))
        if end is None or end.exit_code is None or state.final:
            continue
        found[job] = replace(
            state,
            state="COMPLETED" if end.exit_code == 0 else "FAILED",
            exit_code=end.exit_code,
            array_job_id=state.array_job_id or end.array_job_id,
            array_task_id=state.array_task_id or end.array_task_id,
            start_at=state.start_at or (None if end.started_wall_ns is None else from_ns(end.started_wall_ns)),
            end_at=None if end.ended_wall_ns is None else from_ns(end.ended_wall_ns),
            reason=None,
        )
    return [found[job] for job in sorted(found)]
