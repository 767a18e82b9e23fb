"""The state of a job of this machine, from its files and the process table."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hpcfrugal.core.format import point_in_time
from hpcfrugal.core.host import this_host
from hpcfrugal.core.time import from_ns
from hpcfrugal.local.identity import cluster_name
from hpcfrugal.local.pid_file import read_pid
from hpcfrugal.local.task import LocalTask, read_schedule, tasks_of
from hpcfrugal.spool import RunDir, read_json
from hpcfrugal.spool.job_state import JobState

_NOT_STARTED = "the process that was to start it is gone, as after a restart of this machine; submit it again"


def job_states(run_dir: RunDir) -> list[JobState]:
    """The state of a job, or of each task of an array."""
    schedule = read_schedule(run_dir)
    starter = read_pid(run_dir.local_pid)
    return [_state(task.now(), starter, schedule.begin_at) for task in tasks_of(run_dir, schedule.array)]


def record_ends(run_dir: RunDir) -> None:
    """Record that a segment of a job of this user is over where it left no end record: it was killed, or the machine
    went down. What was recorded of it before would count for ever."""
    if run_dir.path.stat().st_uid != os.getuid():
        return
    schedule = read_schedule(run_dir)
    starter = read_pid(run_dir.local_pid)
    for first in tasks_of(run_dir, schedule.array):
        task = first.now()
        recorded = task.recorded()
        if recorded is None or recorded.final or recorded.cluster != cluster_name():
            continue
        state = _state(task, starter, schedule.begin_at)
        if state.final and state.exit_code is None and not task.has_next_start():
            task.keep_state(state.state, eligible=recorded.eligible_at)


def _state(task: LocalTask, starter: int | None, begin: datetime | None) -> JobState:
    end, recorded = task.end(), task.recorded()
    code, reason = end.exit_code, None
    if recorded is not None and recorded.state == "CANCELLED" and recorded.end_at is not None:
        state = "CANCELLED"  # between two segments, of which the first may have ended with 0
    elif code == 0:
        state = "COMPLETED"
    elif code is None and task.process() is not None:
        state = "RUNNING"
    elif recorded is not None and recorded.final:
        state = recorded.state
    elif code is not None:
        state = "FAILED"
    elif task.pid_path.exists() or not task.run_dir.local_json.exists():
        # without an exit code or a recorded state, it was killed or the machine went down
        state = "NODE_FAIL"
    elif starter is not None:
        state, reason = "PENDING", _reason(begin if recorded is None else recorded.eligible_at)
    else:
        state, reason = "NODE_FAIL", _submit_again(task.run_dir)
    return replace(
        task.with_state(state),
        exit_code=code,
        start_at=from_ns(end.started_wall_ns) if end.started_wall_ns else _file_time(task.pid_path),
        end_at=from_ns(end.ended_wall_ns) if end.ended_wall_ns else None,
        nodes=(this_host(),),
        reason=reason,
    )


def _reason(begin: datetime | None) -> str:
    now = datetime.now(UTC)
    if begin is not None and begin > now:
        return f"starts at {point_in_time(begin, now)}"
    return "waits for other tasks of its array"


def _submit_again(run_dir: RunDir) -> str:
    source = (read_json(run_dir.run_json) or {}).get("source")
    named = isinstance(source, str) and not source.startswith("<")
    return f"{_NOT_STARTED}: hpcfrugal submit {shlex.quote(str(source))}" if named else _NOT_STARTED


def _file_time(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
