"""Waits for the next sample; a signal or the end of the job ends the wait at once."""

from __future__ import annotations

import os
import select

from .signals import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STOPPED = "stopped"
ORPHANED = "orphaned"

LAST_RESORT_S = 1.5
"""Seconds after the first stop signal at which the process exits, whatever it is waiting for."""


class JobWait:
    """``reason`` to stop is None while the job runs, then STOPPED or ORPHANED.

    SIGTERM, SIGINT and SIGHUP stop; SIGUSR1 and SIGUSR2 are for the job (``sbatch --signal``) and ignored.
    With ``eof_fd`` the end of that file stops, and signals do not: a job may get SIGTERM minutes before its end, to
    write its checkpoint. A signal then only requests a record, since SIGKILL may follow.
    The end of ``root_pid`` is noticed at once through a pidfd (Python 3.9, Linux 5.3), else at each wait. That of other
    processes can be noticed too, and ends no wait (``watch``).
    """

    def __init__(self, root_pid: int | None, clock_ns: Callable[[], int], eof_fd: int | None = None) -> None:
        self._clock_ns = clock_ns
        self._root_pid = root_pid
        self._pidfd = -1
        self._eof_fd = eof_fd
        self._watched: dict[int, Callable[[], None]] = {}
        self._record_requested = False
        self.reason: str | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGALRM, self._on_alarm)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        # where the caller ignores it, how a child ended would be lost
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if eof_fd is not None:
            self._poll.register(eof_fd, select.POLLIN)
        if root_pid is not None:
            self._open_root(root_pid)

    def record_requested(self) -> bool:
        """Whether a signal asked for a record since the last call."""
        requested, self._record_requested = self._record_requested, False
        return requested

    def watch(self, pid: int, then: Callable[[], None]) -> None:
        """Call ``then`` once, in a wait, when process ``pid`` ends. Raises ProcessLookupError where there is none,
        another OSError where processes cannot be watched."""
        opener = getattr(os, "pidfd_open", None)
        if opener is None:
            raise OSError("this Python has no pidfd_open")
        fd: int = opener(pid)
        self._watched[fd] = then
        self._poll.register(fd, select.POLLIN)

    def wait_until(self, at_ns: int) -> str | None:
        """Sleep until the clock shows ``at_ns``; returns early, with the reason if any, on a signal."""
        if self.reason is not None:
            return self.reason
        while True:
            left_ns = at_ns - self._clock_ns()
            # rounded up, for a poll that ends early would only be called again
            ready = self._poll.poll(max(0, -(-left_ns // 1_000_000)))
            for fd, _event in ready:
                if fd == self._wake_read:
                    self._drain()
                elif fd == self._eof_fd:
                    self._read_to_eof(fd)
                elif fd in self._watched:
                    self._poll.unregister(fd)
                    os.close(fd)
                    self._watched.pop(fd)()
                elif self.reason is None:
                    self.reason = ORPHANED
            if self.reason is None and self._root_pid is not None and self._pidfd < 0:
                self._look_for_root(self._root_pid)
            if self.reason is not None or self._record_requested or left_ns <= 1_000_000:
                return self.reason

    def _on_signal(self, _number: int, _frame: Any) -> None:
        if self._eof_fd is None:
            self._stop()
        else:
            self._record_requested = True

    def _stop(self) -> None:
        if self.reason is None:
            signal.setitimer(signal.ITIMER_REAL, LAST_RESORT_S)
        self.reason = STOPPED

    def _read_to_eof(self, fd: int) -> None:
        try:
            at_end = not os.read(fd, 4096)
        except OSError:
            at_end = True  # the process at the other end has ended
        if at_end:
            self._poll.unregister(fd)
            self._stop()

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
                self._pidfd = -1  # an old kernel: each wait checks instead
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
            return  # the process exists

    def _on_alarm(self, _number: int, _frame: Any) -> None:
        # One that is not our own came from `scancel --signal=ALRM`, for the job.
        if self.reason is not None:
            os._exit(0)
