"""Signals that ask a program to end, noted until it is at a point where it can."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

END = (signal.SIGTERM, signal.SIGINT)
"""By which a service is ended: of systemd, and Ctrl-C."""

_USUAL = {signal.SIGINT: signal.default_int_handler}


class StopRequest:
    """``requested``: whether one of the signals has come. See ``stop_noted``."""

    def __init__(self, wake_fd: int) -> None:
        self.requested = False
        self._wake_fd = wake_fd

    def wait(self, span_s: float) -> bool:
        """Sleep for ``span_s`` seconds, or until one of the signals comes; returns whether one has come."""
        until = time.monotonic() + span_s
        while not self.requested and (left_s := until - time.monotonic()) > 0:
            if select.select([self._wake_fd], [], [], left_s)[0]:
                os.read(self._wake_fd, 4096)
        return self.requested


@contextmanager
def stop_noted(*numbers: signal.Signals) -> Iterator[StopRequest]:
    """Within the block the first of these signals is noted, and does not end the program in the middle of what it does;
    a second one acts as always. Signals that something else handles or ignores are left alone, and so are all outside
    the main thread.

    The handler sets no ``threading.Event``: it may run while this thread is in the event's ``wait`` and holds its lock.
    Where a signal comes just before ``select``, the handler runs only after it; the interpreter writes to the pipe at
    once.
    """
    in_main = threading.current_thread() is threading.main_thread()
    usual = {
        number: handler
        for number in numbers
        if in_main and (handler := signal.getsignal(number)) is _USUAL.get(number, signal.SIG_DFL)
    }
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    stop = StopRequest(wake_read)

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(_number: int, _frame: object) -> None:
        stop.requested = True
        restore()

    woken_before = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False) if usual else -1
    for number in usual:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()
        if usual:
            signal.set_wakeup_fd(woken_before)
        os.close(wake_read)
        os.close(wake_write)
