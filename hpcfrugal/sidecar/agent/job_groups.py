"""The jobs of a node by their control groups, and the CPU time of each.

The folders that hold the groups are listed when their number of links changes (the kernel counts their subfolders), or
when the counter of a group has vanished; between that, a sample costs one read for each job.

The counter of a job is read once more when its first task ends, before Slurm removes the group. The kernel keeps the
CPU time of a group that is gone in the group above it. So what jobs used that ended between two samples, since they
were read last, is what all jobs together used, less what the others did. Of several that ended and were not read at
their end, each gets a part of it by what it used shortly before.
"""

from __future__ import annotations

import os
from functools import partial

from ..cgroup import GroupCpu, beside, is_sluid
from ..sysfs import parse_cpus, text_or_empty
from .gpu_devices import allowed_gpus
from .node_job import NodeJob
from .step_processes import first_task, note_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Watch = Callable[[int, Callable[[], None]], None]
    """Has a function called when a process ends; see ``JobWait.watch``."""

LOOKS = 10
"""Samples in which a new job's processes are looked at, for its user and for its first task; after that one in
``LOOK_EVERY``."""

LOOK_EVERY = 30


class _Listing:
    """Path and name of the subfolders of a folder, which need not be there, whose name ``is_wanted``."""

    def __init__(self, path: str, is_wanted: Callable[[str], bool]) -> None:
        self.path = path
        self.found: list[tuple[str, str]] = []
        self._is_wanted = is_wanted
        self._links = 0

    def look(self, *, again: bool) -> None:
        """List it, where that may show something new."""
        try:
            links = os.stat(self.path).st_nlink
            # 1: a file system that does not count subfolders
            if again or links != self._links or links == 1:
                with os.scandir(self.path) as entries:
                    names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
                self.found = [(f"{self.path}/{name}", name) for name in names if self._is_wanted(name)]
                # One that went while it was listed may be counted still: the next one would make it the same number.
                self._links = links if links == len(names) + 2 else 0
        except OSError:
            self.found, self._links = [], 0


class _Group:
    """The group of a job and its counter, of which ``base_us`` is not the job's. ``samples_us``: the job's CPU time at
    the latest three samples."""

    def __init__(self, directory: str, version: int) -> None:
        """Open the counter. Raises OSError."""
        self.directory = directory
        self.version = version
        self._inode = os.stat(directory).st_ino
        self.cpu = GroupCpu(directory, version)
        self.base_us = 0
        self.samples_us = (0, 0, 0)
        self.looks = 0
        self.is_watched = False
        """Whether the end of a task will be noticed."""
        self.is_read_at_end = False
        """Whether the counter was read at the end of a task since the latest sample."""

    @property
    def recent_us(self) -> int:
        """CPU time that the job used between the latest three samples."""
        return self.samples_us[2] - self.samples_us[0]

    def is_there(self) -> bool:
        """Whether the directory is still that of this group, and not of another attempt of the job."""
        try:
            return os.stat(self.directory).st_ino == self._inode
        except OSError:
            return False


class JobGroups:
    """The jobs whose groups are below ``roots``, of version 1 or 2 each; see ``cgroup.slurm_groups``."""

    def __init__(self, proc: str, roots: Sequence[tuple[str, int]], watch: Watch | None = None) -> None:
        self._proc = proc
        self._watch = watch
        self._roots = [(_Listing(path, _is_user if version == 1 else _is_job), version) for path, version in roots]
        self._users: dict[str, _Listing] = {}
        self._jobs: dict[str, tuple[NodeJob, _Group]] = {}
        self._above: dict[str, GroupCpu] = {}
        self._above_us: dict[str, int | None] = {}
        self._is_first = True
        self.has_gpus = False
        """Whether the node has GPUs, so that each step of a job is to be looked at."""
        self.gpu_devices: Mapping[str, str] = {}
        """As that of the function."""
        self._is_listed = True
        """Whether all groups that were listed could be opened."""

    def are_there(self) -> bool:
        """Whether Slurm has made any of these folders."""
        return any(os.path.isdir(listing.path) for listing, _ in self._roots)

    def have_jobs(self) -> bool:
        """Whether there is the group of a job."""
        return next(self._listed(again=False), None) is not None

    @property
    def source(self) -> str:
        """Where CPU times come from."""
        return f"cgroup-v{next((version for listing, version in self._roots if listing.found), 2)}"

    def read(self, now_ns: int) -> list[NodeJob]:
        """All jobs that are here, or have ended since the call before, with their CPU times."""
        gone = [path for path, one in self._jobs.items() if not self._read_one(*one) and not one[1].is_there()]
        ended = [self._jobs.pop(path) for path in gone]
        known, self._jobs = self._jobs, {}
        is_listed, self._is_listed = self._is_listed, True
        for path, name, version, uid in self._listed(again=bool(gone) or not is_listed):
            entry = known.pop(path, None) or self._open(path, name, version, uid, now_ns)
            if entry is None:
                self._is_listed = False  # gone again
            else:
                self._jobs[path] = entry
        # a folder that is not listed any more, though its counter could still be read
        ended += known.values()
        grown_us = sum([job.cpu_us - group.samples_us[2] for job, group in [*self._jobs.values(), *ended]])
        self._end(ended, grown_us, now_ns)
        for job, group in self._jobs.values():
            group.samples_us = (*group.samples_us[1:], job.cpu_us)
            group.is_read_at_end = False
        self._is_first = False
        return [job for job, _ in [*self._jobs.values(), *ended]]

    def look(self) -> None:
        """Look at the processes of jobs: for what is not known of a job, and for one whose end is to be noticed."""
        for job, group in self._jobs.values():
            is_sought = self.has_gpus or not job.is_known
            if not is_sought and (group.is_watched or self._watch is None):
                continue
            group.looks += 1
            if group.looks > LOOKS and group.looks % LOOK_EVERY:
                continue
            if not group.is_watched:
                self._watch_task(job, group)
            if is_sought:
                if job.cpus is None:
                    job.cpus = self._cpus(group)
                self._confine(job, group)
                note_group(job, self._proc, group.directory, again=self.has_gpus)

    @staticmethod
    def _read_one(job: NodeJob, group: _Group) -> bool:
        """Read a counter; whether that could be read."""
        us = group.cpu.read_us()
        if us is not None:
            # a kernel may let a sum of per-CPU times slip back by a tick
            job.cpu_us = max(job.cpu_us, us - group.base_us)
        return us is not None

    def _watch_task(self, job: NodeJob, group: _Group) -> None:
        """Have the counter read when a task of the job ends."""
        pid = first_task(self._proc, group.directory) if self._watch is not None else None
        if self._watch is None or pid is None:
            return
        try:
            self._watch(pid, partial(self._read_at_end, job, group))
            group.is_watched = True
        except ProcessLookupError:
            return
        except OSError:
            self._watch = None  # an old kernel, or too many open files

    def _read_at_end(self, job: NodeJob, group: _Group) -> None:
        group.is_watched = False
        group.looks = 0  # for a task that goes on
        group.is_read_at_end = job.ended_ns is None and self._read_one(job, group)

    def _cpus(self, group: _Group) -> int | None:
        """The CPUs to which Slurm confines the job (ConstrainCores); None where it does not."""
        directory = group.directory if group.version == 2 else beside(self._proc, group.directory, "cpuset")
        return None if directory is None else len(parse_cpus(text_or_empty(f"{directory}/cpuset.cpus"))) or None

    def _confine(self, job: NodeJob, group: _Group) -> None:
        """Note the GPUs to which Slurm confines the job (ConstrainDevices), where that can be seen."""
        if group.version == 2 or not self.gpu_devices:
            return
        directory = beside(self._proc, group.directory, "devices")
        allowed = allowed_gpus(text_or_empty(f"{directory}/devices.list"), self.gpu_devices) if directory else None
        if allowed is not None:
            job.gpus, job.is_confined = allowed, True

    def _listed(self, *, again: bool) -> Iterator[tuple[str, str, int, int | None]]:
        """Path, name, version and user of each group that is a job's."""
        # the folder of a user goes with the last job, and may come again with as many links
        known, self._users = self._users, {}
        for listing, version in self._roots:
            listing.look(again=again)
            if version == 2:
                yield from [(path, name, 2, None) for path, name in listing.found]
                continue
            for path, name in listing.found:
                user = self._users[path] = known.get(path) or _Listing(path, _is_job)
                user.look(again=again)
                yield from [(job_path, job, 1, int(name[len("uid_") :])) for job_path, job in user.found]

    def _open(self, path: str, name: str, version: int, uid: int | None, now_ns: int) -> tuple[NodeJob, _Group] | None:
        try:
            group = _Group(path, version)
        except OSError:
            return None
        us = group.cpu.read_us()
        if us is None:
            group.cpu.close()
            return None
        by_number = name.startswith("job_")
        job = NodeJob(name[len("job_") :] if by_number else None, now_ns, sluid=None if by_number else name, uid=uid)
        # what a job had used before the agent came is not counted
        group.base_us = us if self._is_first else 0
        job.cpu_us = us - group.base_us
        return job, group

    def _end(self, ended: list[tuple[NodeJob, _Group]], grown_us: int, now_ns: int) -> None:
        """Close what has ended, and give it what was used beside the ``grown_us`` that was read."""
        above_us = self._grown_above()
        for job, group in ended:
            job.ended_ns = now_ns
            group.cpu.close()
        left_us = 0 if above_us is None else max(0, above_us - grown_us)
        unseen = [one for one in ended if not one[1].is_read_at_end] or ended
        all_us = sum([group.recent_us for _, group in unseen])
        for job, group in unseen:
            job.cpu_us += left_us * group.recent_us // all_us if all_us else left_us // len(unseen)

    def _grown_above(self) -> int | None:
        """Growth of the CPU time of the folders of all jobs since the call before; None where it is not known."""
        known = True
        total_us = 0
        for listing, version in self._roots:
            if listing.path not in self._above:
                try:
                    self._above[listing.path] = GroupCpu(listing.path, version)
                except OSError:
                    continue  # no job yet
                # a folder that is new has counted since it was made
                self._above_us[listing.path] = None if self._is_first else 0
            us, last_us = self._above[listing.path].read_us(), self._above_us[listing.path]
            self._above_us[listing.path] = us
            if us is None:
                # gone, and maybe made again since then, as the scope of slurmstepd by systemd
                self._above.pop(listing.path).close()
            if us is None or last_us is None:
                known = False
            else:
                total_us += max(0, us - last_us)
        return total_us if known else None


def _is_user(name: str) -> bool:
    uid = name[len("uid_") :]
    return name.startswith("uid_") and uid.isdigit() and len(uid) <= 10


def _is_job(name: str) -> bool:
    if name.startswith("job_"):
        return name[4:].isdigit() and len(name) <= 14
    return is_sluid(name)
