"""A forked process that answers over a pipe, and may end in any way."""

from __future__ import annotations

import os
import select
import time

from .sensor_messages import BadMessage, decode
from .signals import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .sensor_messages import Message

_MOST_BYTES = 1 << 20
"""A longer answer is none."""

_END_S = 1.0
"""Seconds that the end of a process is waited for."""


class ProcessEnded(Exception):
    """The process has ended or was killed; the text says why."""


class Forked:
    """The running process. ``cpu_ns`` is its CPU time as it last told, and at the end as the kernel counted it."""

    def __init__(self, serve: Callable[[int, int, int], None]) -> None:
        """Fork a process that calls ``serve`` with its ends of the pipes of requests and replies, and with our process
        id; ``serve`` must not return. Raises OSError."""
        self.cpu_ns = 0
        request_read, self._requests = os.pipe()
        self._replies, reply_write = os.pipe()
        parent = os.getpid()
        try:
            self._pid = os.fork()
            if self._pid == 0:
                serve(request_read, reply_write, parent)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(request_read)
            os.close(reply_write)
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)

    def ask(self) -> None:
        """Request an answer."""
        try:
            os.write(self._requests, b"r")
        except OSError:
            return  # it has ended, which the lack of an answer shows

    def answer(self, last: str, timeout_s: int) -> list[Message]:
        """The messages up to one of the kind ``last``. Raises ProcessEnded."""
        data = b""
        messages: list[Message] = []
        size = 0
        while size <= _MOST_BYTES:
            # in slices, so that the hour for which all of the job was stopped is not one without an answer
            if not self._poll.poll(1000):
                timeout_s -= 1
                if timeout_s > 0:
                    continue
                self.kill()
                raise ProcessEnded("its process did not answer in time and was killed")
            part = os.read(self._replies, 65536)
            if not part:
                raise ProcessEnded(self._end_reason())
            size += len(part)
            *lines, data = (data + part).split(b"\n")
            try:
                messages += [decode(line.decode("utf-8", "replace")) for line in lines]
            except BadMessage:
                break
            if messages and messages[-1][0] == last:
                cpu_ns = messages[-1][1].get("cpu_ns")
                self.cpu_ns = cpu_ns if type(cpu_ns) is int else self.cpu_ns
                return messages
        self.kill()
        raise ProcessEnded("its process gave an unreadable answer and was killed")

    def kill(self) -> None:
        """Send SIGKILL, which a process that hangs in a driver takes only later."""
        if self._pid:
            try:
                os.kill(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def is_gone(self) -> bool:
        """Whether it has ended, after a short wait."""
        return self._status() is not None

    def _end_reason(self) -> str:
        """How it ended, after it closed its pipe."""
        status = self._status()
        if status is None or status < 0:
            return "its process ended"
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return f"its process ended by signal {number} ({signal.strsignal(number) or 'unknown'})"
        return f"its process ended with exit code {os.WEXITSTATUS(status)}"

    def _status(self) -> int | None:
        """Its status as of waitpid(2), -1 where that is not known; None while it runs."""
        deadline_s = time.monotonic() + _END_S
        while self._pid:
            try:
                pid, status, used = os.wait4(self._pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self._pid, -1  # somebody else has waited for it
            else:
                if pid:
                    self.cpu_ns = int((used.ru_utime + used.ru_stime) * 1e9)
            if pid:
                self._pid = 0
                self._close()
                return status
            if time.monotonic() >= deadline_s:
                return None
            time.sleep(0.001)
        return -1

    def _close(self) -> None:
        os.close(self._requests)
        os.close(self._replies)
