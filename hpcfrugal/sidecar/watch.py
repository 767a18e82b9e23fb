"""Waiting for the next tick in such a way that a signal or the end of the job ends the wait at once."""

from __future__ import annotations

import os
import select

try:
    # the wrapper "signal" only adds enums, for 4 ms and 0.9 MB
    import _signal as signal  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STOPPED = "stopped"
ORPHANED = "orphaned"

LAST_RESORT_S = 1.5
"""Seconds after the first stop signal at which the process leaves, whatever it is waiting for."""


class Watch:
    """Knows why to stop: ``reason`` is None while the job runs, then STOPPED or ORPHANED.

    SIGTERM, SIGINT and SIGHUP stop; SIGUSR1 and SIGUSR2 are for the job (``sbatch --signal``) and ignored.
    The end of ``root_pid`` is seen at once through a pidfd (Python 3.9, Linux 5.3), else at each wait.
    """

    __slots__ = ("_clock_ns", "_pidfd", "_poll", "_root_pid", "_wake_read", "_wake_write", "reason")

    def __init__(self, root_pid: int | None, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._root_pid = root_pid
        self._pidfd = -1
        self.reason: str | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGALRM, _leave)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        if root_pid is not None:
            self._open_root(root_pid)

    def wait_until(self, at_ns: int) -> str | None:
        """Sleep until the clock shows ``at_ns``; returns early, with the reason, when there is one."""
        if self.reason is not None:
            return self.reason
        while True:
            left_ns = at_ns - self._clock_ns()
            # rounded up, for a poll that ends early would only be called again
            ready = self._poll.poll(max(0, -(-left_ns // 1_000_000)))
            for fd, _event in ready:
                if fd == self._wake_read:
                    self._drain()
                elif self.reason is None:
                    self.reason = ORPHANED
            if self.reason is None and self._root_pid is not None and self._pidfd < 0:
                self._look_for_root(self._root_pid)
            if self.reason is not None or left_ns <= 1_000_000:
                return self.reason

    def _on_signal(self, _number: int, _frame: Any) -> None:
        if self.reason is None:
            signal.setitimer(signal.ITIMER_REAL, LAST_RESORT_S)
        self.reason = STOPPED

    def _drain(self) -> None:
        try:
            os.read(self._wake_read, 64)
        except BlockingIOError:
            return

    def _open_root(self, root_pid: int) -> None:
        opener = getattr(os, "pidfd_open", None)
        if opener is not None:
            try:
                self._pidfd = opener(root_pid)
            except ProcessLookupError:
                self.reason = ORPHANED
            except OSError:
                self._pidfd = -1  # an old kernel: then each wait asks
            else:
                self._poll.register(self._pidfd, select.POLLIN)
                return
        self._look_for_root(root_pid)

    def _look_for_root(self, root_pid: int) -> None:
        try:
            os.kill(root_pid, 0)
        except ProcessLookupError:
            self.reason = ORPHANED
        except PermissionError:
            return  # there is such a process, which is all that was asked


def _leave(_number: int, _frame: Any) -> None:
    os._exit(0)
