"""The process of one sensor: opens it, then reads it for each byte on its input, until that is closed.

It is forked from the sidecar, which costs neither a start of the interpreter nor its files. It holds nothing of the
job's open, ends with the sidecar however that ends, and leaves no core file behind.
"""

from __future__ import annotations

import fcntl
import os
import time

from .sensor_calls import checked_open, checked_read, reason_of
from .sensor_messages import encode
from .signals import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from .sensors.base import Opened, Sensor

_PR_SET_PDEATHSIG = 1
_RLIMIT_CORE = 4
"""prctl(2) and getrlimit(2); the latter is the same on every architecture of Linux."""

_MOST_FDS = 4096
"""Closed where procfs does not list those that are open."""


class UseOfGpus:
    """What a sensor notes of the utilisation of its GPUs, until it is sent; see ``gpu_busy.GpuBusy``."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.percents: list[int | None] | None = None

    def update(self, percents: Sequence[int | None]) -> None:
        """Take one reading of each GPU."""
        self.percents = list(percents)

    def messages(self) -> str:
        """What has come since the last call, as messages."""
        text = "".join([encode("reason", {"text": reason}) for reason in self.reasons])
        self.reasons.clear()
        if self.percents is not None:
            text += encode("percents", _numbered(self.percents))
            self.percents = None
        return text


def serve(make: Callable[[UseOfGpus], Sensor], requests: int, replies: int, parent: int) -> NoReturn:
    """Answer the requests of the process ``parent`` about the sensor that ``make`` gives, then end the process."""
    try:
        requests, replies = _detach(requests, replies, parent)
        use = UseOfGpus()
        try:
            sensor = make(use)
            opened = checked_open(sensor)
        except Exception as error:
            _send(replies, encode("failed", {"reason": reason_of(error)}) + encode("opened", _cpu_time()))
            os._exit(0)
        _send(replies, _opened(opened) + use.messages() + encode("opened", _cpu_time()))
        count = len(opened.channels)
        reads = 0
        while os.read(requests, 1):
            reads += 1
            try:
                answer = encode("values", _numbered(checked_read(sensor, count)))
            except Exception as error:
                answer = encode("failed", {"reason": reason_of(error)})
            _send(replies, use.messages() + answer + encode("read", _cpu_time()))
            if reads == 1:
                # as the sidecar does once its first record is written
                os.setpriority(os.PRIO_PROCESS, 0, 19)
    finally:
        os._exit(0)


def _opened(opened: Opened) -> str:
    """What a sensor found, as messages."""
    channels = [{**vars(channel), "contains": " ".join(channel.contains)} for channel in opened.channels]
    text = "".join([encode("channel", values) for values in channels])
    text += "".join([encode("absent", vars(absent)) for absent in opened.absent])
    text += "".join([encode("gpu", vars(gpu)) for gpu in opened.gpus])
    return text + encode("limit", {"cpu_limit_uw": opened.cpu_limit_uw, "unread_gpus": opened.unread_gpus})


def _numbered(values: Sequence[int | None]) -> dict[str, int | None]:
    return {str(index): value for index, value in enumerate(values)}


def _cpu_time() -> dict[str, int]:
    return {"cpu_ns": time.process_time_ns()}


def _send(fd: int, text: str) -> None:
    data = text.encode("utf-8", "replace")
    while data:
        data = data[os.write(fd, data) :]


def _detach(requests: int, replies: int, parent: int) -> tuple[int, int]:
    """Let go of all that belongs to the sidecar and the job; the new numbers of the two pipes."""
    signal.set_wakeup_fd(-1)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2"):
        # they are for the job, or for the sidecar, whose end ends this process
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests, replies = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (requests, replies))
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    try:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        fds = list(range(_MOST_FDS))
    for fd in fds:
        if fd not in (0, 1, 2, requests, replies):
            try:
                os.close(fd)
            except OSError:
                continue  # that of the listing itself
    import ctypes

    libc = ctypes.CDLL(None)
    libc.setrlimit(_RLIMIT_CORE, (ctypes.c_ulong * 2)(0, 0))
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    return requests, replies
