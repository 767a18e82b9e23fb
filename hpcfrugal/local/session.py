"""Ending the processes of a local job: all of the session that its batch script leads."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence

KILL_WAIT_S = 30.0
"""Seconds between SIGTERM and SIGKILL: Slurm's default KillWait (slurm.conf(5))."""

_REST_WAIT_S = 2.0
_CHECK_S = 0.05


def end_sessions(pids: Sequence[int], ends_within: Callable[[float], bool], grace_s: float = KILL_WAIT_S) -> None:
    """SIGTERM to the process groups of ``pids``, and SIGKILL unless all of them end within ``grace_s``."""
    for pid in pids:
        _signal_group(pid, signal.SIGTERM)
    if not ends_within(grace_s):
        for pid in pids:
            _signal_group(pid, signal.SIGKILL)


def end_rest_of_session(pid: int) -> None:
    """End what a killed batch script left running, as Slurm does; SIGTERM first, so that the sidecar sees the end."""
    if _has_members(pid):
        end_sessions([pid], lambda timeout_s: becomes_true(lambda: not _has_members(pid), timeout_s), _REST_WAIT_S)


def becomes_true(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether ``condition`` holds within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_CHECK_S)
    return True


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the process group that ``pid`` leads; a process that leads none, alone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
