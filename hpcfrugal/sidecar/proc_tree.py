"""CPU time and memory of a job without a control group: the processes below its roots, from procfs.

Roots are the batch script and, on a Slurm node, each ``slurmstepd`` of the job. Once seen below a root a
process stays a member, also when its parent dies. A process that ends hands its time to the parent that
waits for it; where no member took it over the last known time is kept, so the sum never goes back.
"""

from __future__ import annotations

import os

from .node import ticks_per_s
from .sysfs import read_bytes

FORGET_EVERY = 6
"""Scans after which processes known as foreign are looked at again, since process ids are used anew."""


class _Process:
    __slots__ = ("comm", "own", "parent", "reaped", "rss_pages", "start")

    def __init__(self, stat: bytes) -> None:
        """Parse ``/proc/PID/stat``. Raises ValueError or IndexError for anything else.

        The name may hold blanks and brackets, so the fields are counted after its last bracket.
        """
        head, _, tail = stat.rpartition(b")")
        fields = tail.split()
        self.comm = head.partition(b"(")[2]
        self.parent = int(fields[1])
        self.own = int(fields[11]) + int(fields[12])
        self.reaped = int(fields[13]) + int(fields[14])
        self.start = int(fields[19])
        self.rss_pages = int(fields[21])


class ProcTree:
    """The job's processes. ``job_id`` is None outside Slurm; ``node`` is this node's name in Slurm."""

    __slots__ = (
        "_foreign",
        "_job_mark",
        "_lost_ticks",
        "_members",
        "_node",
        "_page_b",
        "_peak_b",
        "_proc",
        "_root_pid",
        "_scans",
        "_steps",
        "_tick_us",
        "_total_ticks",
        "_undecided",
        "source",
    )

    def __init__(self, proc: str, root_pid: int | None, job_id: str | None, node: str) -> None:
        self.source = "proc-tree"
        self._proc = proc
        self._root_pid = root_pid
        # slurmstepd names itself "slurmstepd: [17.batch]"; the dot keeps job 17 apart from job 170
        self._job_mark = None if job_id is None else f"slurmstepd: [{job_id}".encode()
        self._node = node.encode("utf-8", "surrogateescape")
        self._members: dict[int, _Process] = {}
        self._foreign: set[int] = set()
        self._steps: dict[tuple[int, int], int] = {}
        self._lost_ticks = 0
        self._total_ticks = 0
        self._scans = 0
        self._undecided = False
        self._tick_us = 1_000_000 // ticks_per_s()
        self._page_b = os.sysconf("SC_PAGE_SIZE")
        self._peak_b = 0

    def read(self) -> tuple[int | None, int | None, int | None]:
        """CPU microseconds since the roots began, resident bytes now and at most; None where unseen."""
        try:
            self._scan()
        except OSError:
            return None, None, None
        if not self._members:
            return (self._total_ticks * self._tick_us if self._total_ticks else None), None, None
        resident_b = sum([member.rss_pages for member in self._members.values()]) * self._page_b
        self._peak_b = max(self._peak_b, resident_b)
        return self._total_ticks * self._tick_us, resident_b, self._peak_b

    def _scan(self) -> None:
        self._scans += 1
        if self._scans % FORGET_EVERY == 0:
            self._foreign.clear()
        seen: dict[int, _Process] = {}
        pids = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        self._foreign &= pids
        for pid in pids - self._foreign:
            try:
                seen[pid] = _Process(read_bytes(f"{self._proc}/{pid}/stat", 1024))
            except (OSError, ValueError, IndexError):
                continue  # ended between the listing and the read
        members = self._choose(seen)
        self._lost_ticks += self._lost(members)
        self._members = members
        total = sum([member.own + member.reaped for member in members.values()]) + self._lost_ticks
        self._total_ticks = max(self._total_ticks, total)

    def _choose(self, seen: dict[int, _Process]) -> dict[int, _Process]:
        verdict: dict[int, bool] = {0: False}
        self._undecided = False
        for pid, process in seen.items():
            known = self._members.get(pid)
            member = pid == self._root_pid or (known is not None and known.start == process.start)
            if member or (process.comm == b"slurmstepd" and self._is_step(pid, seen)):
                verdict[pid] = True
        for pid in seen:
            chain = []
            while pid not in verdict and pid in seen:
                chain.append(pid)
                verdict[pid] = False  # ends a cycle that a race between two reads could show
                pid = seen[pid].parent
            answer = verdict.get(pid, False)
            for link in chain:
                verdict[link] = answer
        if not self._undecided:
            self._foreign.update(
                [pid for pid, process in seen.items() if not verdict[pid] and process.comm != b"slurmstepd"]
            )
        return {pid: process for pid, process in seen.items() if verdict[pid]}

    def _lost(self, members: dict[int, _Process]) -> int:
        """Ticks of processes that ended without a member having waited for them."""
        due: dict[int, int] = {}
        lost = 0
        for pid, old in self._members.items():
            if self._lives(pid, members):
                continue
            heir = old.parent
            while heir in self._members and not self._lives(heir, members):
                heir = self._members[heir].parent
            ticks = old.own + old.reaped
            if heir in self._members:
                due[heir] = due.get(heir, 0) + ticks
            else:
                lost += ticks
        for heir, ticks in due.items():
            taken = members[heir].reaped - self._members[heir].reaped
            lost += max(0, ticks - taken)
        return lost

    def _lives(self, pid: int, members: dict[int, _Process]) -> bool:
        now = members.get(pid)
        return now is not None and now.start == self._members[pid].start

    def _is_step(self, pid: int, seen: dict[int, _Process]) -> bool:
        """Whether ``pid`` is a slurmstepd of this job on this node.

        Several nodes can share one kernel (slurmd's multiple-slurmd mode), so its tasks are asked for the
        name of their node and their mount namespace. Until one can be asked the answer is no; if none can
        be asked at the second look, the job's number decides.
        """
        if self._job_mark is None:
            return False
        process = seen[pid]
        key = (pid, process.start)
        looks = self._steps.get(key, 0)
        if looks < 0:
            return looks == -1
        try:
            title = read_bytes(f"{self._proc}/{pid}/cmdline", 256)
        except OSError:
            return False
        mark = self._job_mark
        if not title.startswith(mark) or title[len(mark) : len(mark) + 1] not in (b".", b"+", b"]"):
            return False
        answers = [self._same_node(child) for child, other in seen.items() if other.parent == pid]
        if True in answers or (False not in answers and looks >= 1):
            self._steps[key] = -1
            return True
        if False in answers:
            self._steps[key] = -2
            return False
        self._steps[key] = looks + 1
        self._undecided = True
        return False

    def _same_node(self, pid: int) -> bool | None:
        try:
            environ = read_bytes(f"{self._proc}/{pid}/environ", 1 << 20).split(b"\0")
        except OSError:
            environ = []
        for entry in environ:
            if entry.startswith(b"SLURMD_NODENAME="):
                return entry[len(b"SLURMD_NODENAME=") :] == self._node
        try:
            same = os.readlink(f"{self._proc}/{pid}/ns/mnt") == os.readlink(f"{self._proc}/self/ns/mnt")
        except OSError:
            return None
        return None if same else False
