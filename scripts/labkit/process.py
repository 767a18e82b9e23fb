"""Processes by identity: a pid may have been given to somebody else, a pid with its start time can't."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process as the kernel knows it; `started_ticks` is field 22 of /proc/PID/stat."""

    pid: int
    started_ticks: int

    @property
    def alive(self) -> bool:
        """Still the same process, and not a zombie."""
        return find(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal if it is still there."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def find(pid: int) -> Process | None:
    """The living process with this pid now."""
    try:
        # The second field is a name in parentheses that may hold anything, so count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def everyone() -> list[Process]:
    """All living processes, without those of containers, in which the same number may be another user."""
    own = _namespace("self", "pid")
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    found = (find(pid) for pid in pids if _namespace(pid, "pid") == own)
    return [process for process in found if process]


def of_users(uids: Iterable[int]) -> list[Process]:
    """Living processes of these users."""
    wanted = set(uids)
    return [process for process in everyone() if _owner(process.pid) in wanted]


def in_namespaces(inodes: Iterable[int]) -> list[Process]:
    """Living processes whose mount namespace is one of these (by inode of its nsfs file)."""
    wanted = set(inodes)
    return [process for process in everyone() if _namespace(process.pid, "mnt") in wanted]


def end(processes: Iterable[Process], grace_s: float) -> None:
    """SIGTERM, then after `grace_s` SIGKILL for those that stay; returns when all are gone (5 s at most)."""
    left = list(processes)
    if grace_s > 0:
        for process in left:
            process.send(signal.SIGTERM)
        left = _still_alive(left, grace_s)
    for process in left:
        process.send(signal.SIGKILL)
    _still_alive(left, 5.0)


def _still_alive(processes: list[Process], seconds: float) -> list[Process]:
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if process.alive]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None


def _namespace(pid: int | str, kind: str) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except (FileNotFoundError, ProcessLookupError):
        return None
    except PermissionError:
        # A process with more rights than ours (a container's init, say): not one that the lab started.
        return None
