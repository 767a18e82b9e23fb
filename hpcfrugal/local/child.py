"""One child process: signals are forwarded to it, its end is waited for, and a time limit ends it.

What it starts and leaves behind (daemons, double forks) becomes our child, not that of process 1, until it has ended
(PR_SET_CHILD_SUBREAPER of prctl(2)): so the sidecar finds it below us, and its CPU time counts.

Signals are blocked and read from a signalfd(2). None is lost between two reads, each names its sender, and it
arrives even where it is ignored, as it is for commands that a shell without job control starts in the background.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from hpcfrugal.local.session import end_sessions

FORWARDED = frozenset(signal.valid_signals()) - {
    # cannot be caught
    signal.SIGKILL,
    signal.SIGSTOP,
    # job control, by which a shell stops and continues the whole process group
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCONT,
    # ignored by default, and the kernel sends them for reasons of this process
    signal.SIGCHLD,
    signal.SIGURG,
    signal.SIGWINCH,
    # the same for what this process writes: Python ignores them, but one that is blocked waits to be read all the same
    signal.SIGPIPE,
    signal.SIGXFSZ,
}
"""Every signal that would otherwise end this process and leave the child running. A fault of this process, such as
its own SIGSEGV, still ends it: the kernel does not let a process block that."""

_CHECK_S = 1.0
"""The child is checked this often without a SIGCHLD too: another thread of this process may have taken that."""

_READ = FORWARDED | {signal.SIGCHLD}

_PR_SET_CHILD_SUBREAPER = 36
"""Linux: include/uapi/linux/prctl.h."""

_SI_KERNEL = 0x80
"""``si_code`` of a signal that no process sent (Linux: include/uapi/asm-generic/siginfo.h)."""

_SIGNALFD_SIGINFO_B = 128
_SIGSET_B = 128
"""Bytes of a ``struct signalfd_siginfo`` (signalfd(2)) and of a ``sigset_t`` of glibc and musl."""


class Child:
    """A child process, made by ``start_child``. ``exit_code`` and ``was_killed`` are valid once it has ended."""

    def __init__(self, process: subprocess.Popen[bytes], signal_fd: int, early: set[int]) -> None:
        self._process = process
        self._signal_fd = signal_fd
        self._early = early
        self._poll = select.poll()
        self._poll.register(signal_fd, select.POLLIN)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        return self._process.returncode < 0

    @property
    def exit_code(self) -> int:
        """Its exit code as a shell gives it: 128 + n where signal n ended it."""
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def ends_within(self, timeout_s: float | None) -> bool:
        """Wait for its end, without limit for None, and forward signals meanwhile; returns whether it ended."""
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while self._process.poll() is None:
            _wait_for_orphans(self.pid)
            left_s = min(_CHECK_S, deadline - time.monotonic())
            if left_s <= 0:
                return False
            if self._poll.poll(left_s * 1000):
                for number, code in _received(self._signal_fd):
                    self._forward(number, code)
        _wait_for_orphans(self.pid)
        return True

    def end(self) -> None:
        """End its session by SIGTERM, and by SIGKILL after the grace time; returns when it has ended."""
        end_sessions([self.pid], self.ends_within)
        self.ends_within(None)

    def _forward(self, number: int, code: int) -> None:
        if number in FORWARDED and (number in self._early or not self._has_received(number, code)):
            self._process.send_signal(number)
        self._early.discard(number)

    def _has_received(self, number: int, code: int) -> bool:
        """Whether the kernel sent the child the same signal: Ctrl-C and Ctrl-\\ at a terminal go to the whole
        foreground process group, and no process is their sender."""
        if code != _SI_KERNEL or number not in (signal.SIGINT, signal.SIGQUIT):
            return False
        try:
            return os.getpgid(self.pid) == os.getpgrp()
        except ProcessLookupError:
            return True


@contextmanager
def start_child(argv: Sequence[str], **popen: Any) -> Iterator[Child]:
    """Start ``argv`` with these options of ``subprocess.Popen``; inside the context, signals go to the child.

    Signals that arrive while it is being started are forwarded too; those after its end are dropped. To be called in
    the main thread. Raises OSError where ``argv`` cannot be started.
    """
    # where SIGCHLD is ignored, the kernel drops the exit codes of children
    on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _READ)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        signal_fd = _open_signalfd(libc)
        try:
            early = {int(number) for number in signal.sigpending() if number in FORWARDED}
            unblock = partial(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
            yield Child(subprocess.Popen(list(argv), preexec_fn=unblock, **popen), signal_fd, early)
        finally:
            _received(signal_fd)
            os.close(signal_fd)
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGCHLD, on_child or signal.SIG_DFL)


def _wait_for_orphans(child_pid: int) -> None:
    """Wait for our children that have ended, but for the one of ``child_pid``, whose exit code Popen takes."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == child_pid:
                return
            os.waitpid(ended.si_pid, 0)


def _open_signalfd(libc: ctypes.CDLL) -> int:
    numbers = ctypes.create_string_buffer(_SIGSET_B)
    libc.sigemptyset(numbers)
    for number in _READ:
        libc.sigaddset(numbers, int(number))
    fd = int(libc.signalfd(-1, numbers, os.O_CLOEXEC | os.O_NONBLOCK))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def _received(signal_fd: int) -> list[tuple[int, int]]:
    """The signals that are pending, each with its ``si_code``."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            number, _errno, code = struct.unpack_from("Iii", os.read(signal_fd, _SIGNALFD_SIGINFO_B))
            found.append((number, code))
    return found
