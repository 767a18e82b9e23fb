"""What ends a wait for the next sample, and what only happens in it."""

from __future__ import annotations

import os
import subprocess
import types

import pytest

from hpcfrugal.sidecar import job_wait
from hpcfrugal.sidecar.job_wait import JobWait

S = 1_000_000_000
_NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIG_IGN", "SIG_DFL")


@pytest.fixture(autouse=True)
def _without_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests keeps its own handlers."""
    calls = {name: lambda *_, **__: None for name in ("signal", "set_wakeup_fd")}
    monkeypatch.setattr(job_wait, "signal", types.SimpleNamespace(**dict.fromkeys(_NAMES, 0), **calls))


def test_the_end_of_a_watched_process_is_noticed_in_a_wait_and_does_not_end_it() -> None:
    clock_ns = iter([0, 10 * S])
    wait = JobWait(None, lambda: next(clock_ns))
    ended: list[int] = []
    with subprocess.Popen(["sleep", "60"]) as child:
        wait.watch(child.pid, lambda: ended.append(child.pid))
        child.kill()
        assert wait.wait_until(10 * S) is None
    assert ended == [child.pid]
    assert list(clock_ns) == []  # the second look at the clock found the time over


def test_a_process_that_is_not_there_cannot_be_watched() -> None:
    with pytest.raises(ProcessLookupError):
        JobWait(None, lambda: 0).watch(2**22 + 1, lambda: None)  # larger than Linux gives (proc_sys_kernel(5), pid_max)


def test_an_old_python_watches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(OSError, match="pidfd_open"):
        JobWait(None, lambda: 0).watch(os.getpid(), lambda: None)
