"""What a job uses, summed over its processes in procfs. For nodes where no control group counts the job.

The job is everything below its roots: the batch script and, under Slurm, each ``slurmstepd`` of the job. A process that
was once seen below a root stays a member, even after its parent has ended. When a process ends, the kernel adds its
counts to the parent that waits for it. If no member waits for it, its last known counts are kept, so that no sum ever
decreases.

Reading every process of a node each time would be slow. The first scan reads only the root (or the sidecar, where the
root is on another node) and its parent. Later scans read new processes and their ancestors, which is enough to find out
whose they are. The remaining processes are read a few at a time, the youngest first, and then over and over, because
process ids are reused.

Where procfs hides other users' processes (hidepid), ``slurmstepd`` cannot be seen. A process whose parent is hidden is
then recognised by the job id in its environment.
"""

from __future__ import annotations

import os

from .node import ticks_per_s
from .proc_ends import ended_by_heir, left_over, taken_by
from .proc_stat import Process, read_io_b, read_process
from .sysfs import read_bytes, read_whole

SCANNED_AT_ONCE = 24
"""How many of the processes that existed before the job each later scan reads."""

RESCANNED_AT_ONCE = 8
"""How many processes of other jobs each scan reads again, once all have been read."""

OLDER_S = 5
"""A process that is this many seconds older than the root was not started by the job. What it had used before it was
found is not counted."""


class TreeUse:
    """Counts since the roots began, memory now and at most; None where nothing was seen.

    ``io_partial`` is True where ``io_b`` lacks the bytes of some process: no member waited for its end, or its figures
    may not be read.
    """

    def __init__(self) -> None:
        self.cpu_us: int | None = None
        self.minor_faults: int | None = None
        self.major_faults: int | None = None
        self.memory_b: int | None = None
        self.memory_peak_b: int | None = None
        self.io_b: tuple[int, int] | None = None
        self.io_partial = False


def shows_own_pids(proc: str) -> bool:
    """Whether the process ids in ``proc`` are those of our own PID namespace.

    A container may have a PID namespace of its own and the procfs of another one.
    """
    try:
        return os.readlink(f"{proc}/self") == str(os.getpid())
    except OSError:
        return True  # no real procfs, or none at all


class ProcTree:
    """The job's processes. ``job_id`` is None outside Slurm; ``node`` is this node's name in Slurm. ``leader_id`` is
    the job that SLURM_JOB_ID names, where that is another one: of a heterogeneous job the first component."""

    def __init__(
        self, proc: str, root_pid: int | None, job_id: str | None, node: str, leader_id: str | None = None
    ) -> None:
        self.source = "proc-tree"
        self._proc = proc
        self._root_pid = root_pid
        # slurmstepd names itself "slurmstepd: [17.batch]"; the dot keeps job 17 apart from job 170
        self._job_mark = None if job_id is None else f"slurmstepd: [{job_id}".encode()
        self._job_id = None if job_id is None else (leader_id or job_id).encode()
        self._node = node.encode("utf-8", "surrogateescape")
        self.hides_others = job_id is not None and not os.path.exists(f"{proc}/1/stat")
        """Whether the counts of another step's task are lost when it ends between two scans."""
        self._members: dict[int, Process] = {}
        self._foreign: set[int] = set()
        self._again: list[int] = []
        self._began_ticks = 0
        self._later: list[int] = []
        self._steps: dict[tuple[int, int], int] = {}
        self._kept = [0, 0, 0]
        self._totals = [0, 0, 0]
        self._io_kept_b = [0, 0]
        self._io_b: tuple[int, int] | None = None
        self._io_partial = self.hides_others
        self._scanned = False
        self._undecided = False
        self._hidden: set[int] = set()
        self._tick_us = 1_000_000 // ticks_per_s()
        self._page_b = os.sysconf("SC_PAGE_SIZE")
        self._peak_b = 0

    def read(self) -> TreeUse:
        """The sums now."""
        use = TreeUse()
        try:
            self._scan()
        except OSError:
            return use
        if self._members or any(self._totals):
            use.cpu_us = self._totals[0] * self._tick_us
            use.minor_faults, use.major_faults = self._totals[1:]
            use.io_b = self._io_b
            use.io_partial = self._io_partial
        if self._members:
            use.memory_b = sum([member.rss_pages for member in self._members.values()]) * self._page_b
            self._peak_b = max(self._peak_b, use.memory_b)
            use.memory_peak_b = self._peak_b
        return use

    def _scan(self) -> None:
        pids = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        seen = self._look(self._candidates(pids), pids)
        before = self._members
        members = self._choose(seen)
        for pid, member in members.items():
            old = before.get(pid)
            member.io_b = read_io_b(self._proc, pid)
            if member.io_b is None:
                self._io_partial = self._io_partial or member.comm != b"slurmstepd"
                member.io_b = old.io_b if old is not None and old.start == member.start else None
            if old is None and member.start < self._began_ticks:
                self._leave_out(member)
        if not self._scanned:
            self._scanned = True
            root = seen.get(self._root_pid or os.getpid())
            self._began_ticks = 0 if root is None else max(0, root.start - OLDER_S * 1_000_000 // self._tick_us)
        self._take_over(members)
        self._members = members
        self._add_up()

    def _candidates(self, pids: set[int]) -> set[int]:
        """The processes to look at: members, new ones, and some of the others."""
        self._foreign &= pids
        if not self._scanned:
            first = pids & {self._root_pid or os.getpid()}
            self._later = sorted(pids - first)
            return first
        self._later = [pid for pid in self._later if pid in pids]
        chosen = pids - self._foreign - set(self._later)
        if self._later:
            chosen.update(self._later[-SCANNED_AT_ONCE:])
            del self._later[-SCANNED_AT_ONCE:]
            return chosen
        self._again = [pid for pid in self._again if pid in self._foreign] or sorted(self._foreign)
        chosen.update(self._again[-RESCANNED_AT_ONCE:])
        del self._again[-RESCANNED_AT_ONCE:]
        return chosen

    def _look(self, chosen: set[int], pids: set[int]) -> dict[int, Process]:
        """The ``chosen`` processes and those above them, up to one that is known not to be the job's."""
        seen: dict[int, Process] = {}
        self._hidden = set()
        for pid in chosen:
            above_root = False
            below = 0
            while pid and pid not in seen:
                process = read_process(self._proc, pid) if pid in pids else None
                if process is None:
                    # it ended after the listing, or is hidden
                    if below:
                        self._hidden.add(below)
                    break
                seen[pid] = process
                below = pid
                # nothing above these belongs to the job, except for the daemon of the root's own step
                known = self._members.get(pid)
                is_member = known is not None and known.start == process.start
                if is_member or above_root or process.comm == b"slurmstepd":
                    break
                above_root = pid == self._root_pid
                if above_root and self._job_mark is None:
                    break
                pid = process.parent
                if pid in self._foreign:
                    break
        if self._later:
            self._later = [pid for pid in self._later if pid not in seen]
        return seen

    def _leave_out(self, member: Process) -> None:
        """Subtract what a process had used when it was found: it may have used it before the job began."""
        for index in range(3):
            self._kept[index] -= member.own[index] + member.reaped[index]
        if member.io_b is not None:
            for index in range(2):
                self._io_kept_b[index] -= member.io_b[index]

    def _add_up(self) -> None:
        members = self._members.values()
        for index in range(3):
            total = sum([member.own[index] + member.reaped[index] for member in members]) + self._kept[index]
            self._totals[index] = max(self._totals[index], total)
        bytes_of = [member.io_b for member in members if member.io_b is not None]
        if bytes_of or self._io_b is not None:
            old_b, kept_b = self._io_b or (0, 0), self._io_kept_b
            read_b, written_b = (sum([item[index] for item in bytes_of]) + kept_b[index] for index in range(2))
            self._io_b = (max(old_b[0], read_b), max(old_b[1], written_b))

    def _choose(self, seen: dict[int, Process]) -> dict[int, Process]:
        # neither the sidecar nor the processes of its sensors are the job's
        verdict: dict[int, bool] = {0: False} if self._root_pid == os.getpid() else {0: False, os.getpid(): False}
        self._undecided = False
        for pid, process in seen.items():
            if pid in verdict:
                continue
            known = self._members.get(pid)
            member = pid == self._root_pid or (known is not None and known.start == process.start)
            if not member:
                is_daemon = process.comm == b"slurmstepd"
                is_lost = pid in self._hidden or self._is_orphan(process)
                member = self._is_step(pid, seen) if is_daemon else is_lost and self._names_job(pid)
            if member:
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
        if self._undecided:
            # the next scan looks at all of them, for the tasks of that step
            self._foreign.clear()
            self._later.clear()
        else:
            self._foreign.update(
                [pid for pid, process in seen.items() if not verdict[pid] and process.comm != b"slurmstepd"]
            )
        return {pid: process for pid, process in seen.items() if verdict[pid]}

    def _take_over(self, members: dict[int, Process]) -> None:
        """Keep the counts of processes that ended without a member having waited for them."""
        ended = ended_by_heir(self._members, members)
        for heir, processes in ended.items():
            taken = taken_by(heir, self._members, members)
            for index in range(3):
                self._kept[index] += left_over(processes, taken, index)
            has_io = bool(heir) and members[heir].io_b is not None
            self._take_over_io(processes, taken[1] if has_io else 0)
        for pid, member in members.items():
            # a slurmstepd whose bytes may not be read has waited for a process that no scan saw
            old_member = self._members.get(pid)
            if old_member is not None and member.io_b is None:
                known = sum([process.own[1] + process.reaped[1] for process in ended.get(pid, [])])
                self._io_partial = self._io_partial or member.reaped[1] - old_member.reaped[1] > known

    def _take_over_io(self, processes: list[Process], taken_faults: int) -> None:
        """The same for bytes. The kernel adds a child's bytes to those of its parent, so the page faults of children
        show which of them the parent has waited for: every process has some."""
        for process in sorted(processes, key=lambda process: process.own[1] + process.reaped[1]):
            faults = process.own[1] + process.reaped[1]
            if faults <= taken_faults and taken_faults:
                taken_faults -= faults
                continue
            self._io_partial = True
            if process.io_b is not None:
                self._io_kept_b[0] += process.io_b[0]
                self._io_kept_b[1] += process.io_b[1]

    def _is_step(self, pid: int, seen: dict[int, Process]) -> bool:
        """Whether ``pid`` is a slurmstepd of this job on this node.

        Several nodes can share one kernel (slurmd's multiple-slurmd mode), so the node name or mount namespace of its
        tasks decides. While neither can be read, the answer is no. If that is still so at the second scan, the job id
        in its title decides.
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

    def _is_orphan(self, process: Process) -> bool:
        """Whether a process that started after the job began lost its parent before the scan that found it."""
        return process.parent == 1 and self._scanned and process.start >= self._began_ticks

    def _names_job(self, pid: int) -> bool:
        """Whether the environment of a process names this job and this node."""
        if self._job_id is None or b"SLURM_JOB_ID=" + self._job_id not in self._environ(pid):
            return False
        return self._same_node(pid) is True

    def _environ(self, pid: int) -> list[bytes]:
        try:
            return read_whole(f"{self._proc}/{pid}/environ").split(b"\0")
        except OSError:
            return []

    def _same_node(self, pid: int) -> bool | None:
        for entry in self._environ(pid):
            if entry.startswith(b"SLURMD_NODENAME="):
                return entry[len(b"SLURMD_NODENAME=") :] == self._node
        try:
            same = os.readlink(f"{self._proc}/{pid}/ns/mnt") == os.readlink(f"{self._proc}/self/ns/mnt")
        except OSError:
            return None
        return None if same else False
