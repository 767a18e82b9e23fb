"""The jobs of a node by their processes, for nodes where no control group counts CPU time.

A job is all that is below a ``slurmstepd`` of it, which names the job in its title; a process that was once below one
stays the job's. Processes that belong to no job are read once, and then a few at a time, since ids are used again.
"""

from __future__ import annotations

import os

from ..node import ticks_per_s
from ..proc_ends import ended_by_heir, left_over, taken_by
from ..proc_stat import read_process
from .node_job import NodeJob
from .step_processes import DAEMON, environ_of, job_of_title, note_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..proc_stat import Process

_READ_AGAIN = 16
"""Processes of no job that each scan reads again."""

_YOUNG_S = 5
"""A process of no job that is younger is read again: between fork and exec, slurmstepd is still slurmd."""

_MOST_LOOKS = 10
"""Scans after which a step without a task that names its node counts as that of another one: a step of Slurm's own
(extern) uses next to no CPU time."""


class _Members:
    """The processes of a job, and the ticks of those that ended without another one having waited for them."""

    def __init__(self, job: NodeJob) -> None:
        self.job = job
        self.processes: dict[int, Process] = {}
        self.base_ticks = self._kept_ticks = 0

    def ticks(self, now: dict[int, Process]) -> int:
        """CPU time of all of them so far."""
        for heir, ended in ended_by_heir(self.processes, now).items():
            self._kept_ticks += left_over(ended, taken_by(heir, self.processes, now), 0)
        self.processes = now
        return self._kept_ticks + sum([process.own[0] + process.reaped[0] for process in now.values()])


class JobProcesses:
    """The jobs of ``node``, as Slurm calls it: several nodes may share one machine."""

    source = "proc-tree"

    def __init__(self, proc: str, node: str) -> None:
        self._proc = proc
        self._node = node
        self._jobs: dict[str, _Members] = {}
        self._of: dict[tuple[int, int], str | None] = {}
        """The job of each slurmstepd that was looked at, by id and start; None for one of another node."""
        self._looks: dict[tuple[int, int], int] = {}
        self._foreign: set[int] = set()
        self._again: list[int] = []
        self._ticks_per_s = ticks_per_s()
        self._tick_us = 1_000_000 // self._ticks_per_s
        self._is_first = True
        self.has_gpus = False
        """As that of ``JobGroups``."""

    def read(self, now_ns: int) -> list[NodeJob]:
        """All jobs that are here, or have ended since the call before, with their CPU times."""
        grown_up = now_ns // 1_000_000 * self._ticks_per_s // 1000 - _YOUNG_S * self._ticks_per_s
        members = self._members(self._scan(), grown_up)
        found: list[NodeJob] = []
        for job_id, processes in members.items():
            entry = self._jobs.get(job_id)
            is_new = entry is None
            if entry is None:
                entry = self._jobs[job_id] = _Members(NodeJob(job_id, now_ns))
            ticks = entry.ticks(processes)
            if is_new and self._is_first:
                entry.base_ticks = ticks
            entry.job.cpu_us = max(entry.job.cpu_us, (ticks - entry.base_ticks) * self._tick_us)
            if self.has_gpus or not entry.job.is_known:
                self._note_tasks(entry.job, processes)
            found.append(entry.job)
        for job_id in [job_id for job_id in self._jobs if job_id not in members]:
            ended = self._jobs.pop(job_id).job
            ended.ended_ns = now_ns
            found.append(ended)
        self._is_first = False
        return found

    def _scan(self) -> dict[int, Process]:
        """All processes that are a job's, or may be."""
        try:
            pids = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        except OSError:
            return {}
        self._foreign &= pids
        self._again = [pid for pid in self._again if pid in self._foreign] or sorted(self._foreign)
        self._foreign.difference_update(self._again[-_READ_AGAIN:])
        del self._again[-_READ_AGAIN:]
        found: dict[int, Process] = {}
        for pid in pids - self._foreign:
            process = read_process(self._proc, pid)
            if process is not None:
                found[pid] = process
        return found

    def _members(self, seen: dict[int, Process], grown_up: int) -> dict[str, dict[int, Process]]:
        """The processes of each job. One that started before the tick ``grown_up`` stays what it is."""
        owner: dict[int, str | None] = {}
        for job_id, entry in self._jobs.items():
            for pid, process in entry.processes.items():
                if pid in seen and seen[pid].start == process.start:
                    owner[pid] = job_id
        undecided = self._find_steps(seen, owner)
        found: dict[str, dict[int, Process]] = {}
        for pid in seen:
            chain: list[int] = []
            at = pid
            while at in seen and at not in owner:
                chain.append(at)
                owner[at] = None  # ends a cycle that a race between two reads could show
                at = seen[at].parent
            own = owner.get(at)
            for link in chain:
                owner[link] = own
            if own is not None:
                found.setdefault(own, {})[pid] = seen[pid]
            elif not undecided and seen[pid].start <= grown_up:
                self._foreign.add(pid)
        return found

    def _find_steps(self, seen: dict[int, Process], owner: dict[int, str | None]) -> bool:
        """Note the job of each slurmstepd in ``owner``; whether one is not decided yet."""
        undecided = False
        daemons = {pid: process for pid, process in seen.items() if process.comm == DAEMON and pid not in owner}
        for pid, process in daemons.items():
            key = (pid, process.start)
            if key not in self._of:
                here = self._is_here(pid, seen)
                looks = self._looks[key] = self._looks.get(key, 0) + 1
                if here is None and looks < _MOST_LOOKS:
                    undecided = True
                    continue
                del self._looks[key]
                self._of[key] = job_of_title(self._proc, pid) if here else None
            owner[pid] = self._of[key]
        if len(self._of) > 2 * len(daemons) + 64:
            self._of = {key: self._of[key] for key in self._of if key[0] in daemons}
            self._looks = {key: self._looks[key] for key in self._looks if key[0] in daemons}
        return undecided

    def _is_here(self, pid: int, seen: dict[int, Process]) -> bool | None:
        """Whether the tasks of a slurmstepd run on this node; None while there are none that show it."""
        for child, process in seen.items():
            if process.parent == pid:
                name = (environ_of(self._proc, child) or {}).get("SLURMD_NODENAME")
                if name is not None:
                    return name == self._node
        return None

    def _note_tasks(self, job: NodeJob, processes: dict[int, Process]) -> None:
        """Look at tasks until all is known; with GPUs at the first process of each, since steps may have others."""
        daemons = {pid for pid, process in processes.items() if process.comm == DAEMON}
        job.looked &= processes.keys()
        for pid, process in processes.items():
            if pid in daemons or pid in job.looked or (job.is_known and process.parent not in daemons):
                continue
            note_task(job, self._proc, pid)
            if process.parent in daemons:
                job.looked.add(pid)
            if job.is_known and not self.has_gpus:
                return
