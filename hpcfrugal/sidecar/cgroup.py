"""The job's own control group: CPU time, memory and page faults of all its processes here, dead ones included.

It is found from ``/proc/self/cgroup`` upwards: the directory that Slurm made for the job: ``job_<id>``
(cgroup/v1, and cgroup/v2 before 26.05 or with ``CgroupJobIdPaths=yes``), or the job's SLUID such as
``sEKNKTV3WPV500`` below a ``*slurmstepd.scope`` (cgroup/v2 since 26.05; cgroup.conf(5)). No other group is
ever taken: the root group or a user's session would count what others do.
"""

from __future__ import annotations

import os

from .sysfs import CountFile, parse_count, read_whole, value_after

_CROCKFORD = frozenset("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
"""Digits of a SLUID after its leading ``s``: base 32 without I, L, O and U."""


class JobGroup:
    """Directories of the job in the hierarchies that count CPU time and memory; None where there is none."""

    def __init__(self) -> None:
        self.cpu_dir: str | None = None
        self.cpu_version = 0
        self.memory_dir: str | None = None
        self.memory_version = 0


def find_job_group(proc: str, job_id: str, sluid: str | None) -> JobGroup:
    """The job's group as seen by this process; empty where there is none or it is unknown."""
    found = JobGroup()
    try:
        own = read_whole(f"{proc}/self/cgroup").decode("utf-8", "surrogateescape")
    except OSError:
        return found
    if f"/job_{job_id}" not in own and "slurmstepd.scope/" not in own:
        return found
    try:
        mounts = _mounts(read_whole(f"{proc}/self/mountinfo").decode("utf-8", "surrogateescape"))
    except OSError:
        return found
    for line in own.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        job_path = job_part(path, job_id, sluid)
        if job_path is None:
            continue
        names = controllers.split(",") if controllers else []
        if number == "0" and not names:
            directory = _locate(mounts, "cgroup2", None, job_path)
            if directory is None:
                continue
            if found.cpu_dir is None and os.path.exists(f"{directory}/cpu.stat"):
                found.cpu_dir, found.cpu_version = directory, 2
            if found.memory_dir is None and os.path.exists(f"{directory}/memory.current"):
                found.memory_dir, found.memory_version = directory, 2
        if "cpuacct" in names:
            directory = _locate(mounts, "cgroup", "cpuacct", job_path)
            if directory is not None:
                found.cpu_dir, found.cpu_version = directory, 1
        if "memory" in names:
            directory = _locate(mounts, "cgroup", "memory", job_path)
            if directory is not None:
                found.memory_dir, found.memory_version = directory, 1
    return found


def node_group(proc: str) -> tuple[str, int] | None:
    """The topmost group that this process sees and the version of its hierarchy; None where CPU time is not counted.

    With version 1 its counter is that of the node, with version 2 those of the groups directly below it are exact.
    """
    try:
        mounts = _mounts(read_whole(f"{proc}/self/mountinfo").decode("utf-8", "surrogateescape"))
    except OSError:
        return None
    for mount in mounts:
        if mount.fstype == "cgroup" and "cpuacct" in mount.options:
            return mount.point, 1
    return next(((mount.point, 2) for mount in mounts if mount.fstype == "cgroup2"), None)


def slurm_groups(proc: str, node: str) -> list[tuple[str, int]]:
    """Where Slurm makes the groups of the jobs of ``node``, with the version of the hierarchy, whether there or not.

    Version 1: ``slurm/uid_U/job_N``, or ``slurm_NODE`` where Slurm was built for several nodes on one machine, and then
    ``NODE_slurmstepd.scope`` with version 2 (Slurm: src/plugins/cgroup).
    """
    try:
        mounts = _mounts(read_whole(f"{proc}/self/mountinfo").decode("utf-8", "surrogateescape"))
    except OSError:
        return []
    found: list[tuple[str, int]] = []
    # the first mount of each: a service that may not change groups has a second one, read-only, in the same place
    for mount in [mount for mount in mounts if mount.fstype == "cgroup" and "cpuacct" in mount.options][:1]:
        found += [(f"{mount.point}/{name}", 1) for name in ("slurm", f"slurm_{node}")]
    for mount in [mount for mount in mounts if mount.fstype == "cgroup2"][:1]:
        scopes = ("slurmstepd.scope", f"{node}_slurmstepd.scope")
        found += [(f"{mount.point}/system.slice/{name}", 2) for name in scopes]
    return found


def beside(proc: str, directory: str, controller: str) -> str | None:
    """The folder that a group with ``directory`` below cpuacct (version 1) has below another controller, whether there
    or not; None where that is not mounted."""
    try:
        mounts = _mounts(read_whole(f"{proc}/self/mountinfo").decode("utf-8", "surrogateescape"))
    except OSError:
        return None
    points = {name: mount.point for mount in reversed(mounts) if mount.fstype == "cgroup" for name in mount.options}
    own = points.get("cpuacct")
    if own is None or controller not in points or not directory.startswith(f"{own}/"):
        return None
    return points[controller] + directory[len(own) :]


def job_part(path: str, job_id: str, sluid: str | None) -> str | None:
    """``path`` cut after the component that is the job's, or None where it has no such component."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part == f"job_{job_id}":
            return "/".join(parts[: index + 1])
        below_scope = index > 0 and parts[index - 1].endswith("slurmstepd.scope")
        if below_scope and is_sluid(part) and (not sluid or part == sluid):
            return "/".join(parts[: index + 1])
    return None


def is_sluid(text: str) -> bool:
    """Whether a group has the name that Slurm gives to a job's since 26.05."""
    return len(text) == 14 and text[0] == "s" and all(char in _CROCKFORD for char in text[1:])


class _Mount:
    def __init__(self, fstype: str, options: list[str], root: str, point: str) -> None:
        self.fstype = fstype
        self.options = options
        self.root = root
        self.point = point


def _mounts(text: str) -> list[_Mount]:
    """The cgroup mounts of a mountinfo file (proc_pid_mountinfo(5))."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) > 4 and len(tail) > 2 and tail[0] in ("cgroup", "cgroup2"):
            found.append(_Mount(tail[0], tail[2].split(","), _unescape(fields[3]), _unescape(fields[4])))
    return found


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def _locate(mounts: list[_Mount], fstype: str, controller: str | None, path: str) -> str | None:
    for mount in mounts:
        if mount.fstype != fstype or (controller is not None and controller not in mount.options):
            continue
        root = mount.root.rstrip("/")
        if root and path != root and not path.startswith(root + "/"):
            continue
        directory = mount.point.rstrip("/") + path[len(root) :]
        if os.path.isdir(directory):
            return directory
    return None


class GroupCpu:
    """CPU time of a group in microseconds since it was made."""

    def __init__(self, directory: str, version: int) -> None:
        """Open the group's counter. Raises OSError."""
        self.source = f"cgroup-v{version}"
        self._file = CountFile(f"{directory}/{'cpu.stat' if version == 2 else 'cpuacct.usage'}")

    def read_us(self) -> int | None:
        """The counter now; None where it cannot be read. Version 1 counts in nanoseconds."""
        try:
            data = self._file.read_bytes()
        except OSError:
            return None
        if self.source == "cgroup-v1":
            count_ns = parse_count(data)
            return None if count_ns is None else count_ns // 1000
        return parse_count(value_after(data, b"usage_usec"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class GroupMemory:
    """Memory charged to a group, page cache included, in bytes."""

    def __init__(self, directory: str, version: int) -> None:
        """Open the group's files. Raises OSError; the kernel's own peak may be missing (before 6.5)."""
        self.source = f"cgroup-v{version}"
        names = ("memory.current", "memory.peak")
        if version == 1:
            names = ("memory.usage_in_bytes", "memory.max_usage_in_bytes")
        now, peak = names
        self._now = CountFile(f"{directory}/{now}")
        self._peak_b = 0
        try:
            self._peak: CountFile | None = CountFile(f"{directory}/{peak}")
        except OSError:
            self._peak = None

    def read_b(self) -> tuple[int | None, int | None]:
        """Bytes now and at most; the peak is the kernel's, else the largest value seen here."""
        now_b = self._now.read_count()
        if now_b is not None and now_b > self._peak_b:
            self._peak_b = now_b
        peak_b = self._peak.read_count() if self._peak is not None else None
        return now_b, peak_b if peak_b is not None else (self._peak_b or None)

    def close(self) -> None:
        """Close the files."""
        self._now.close()
        if self._peak is not None:
            self._peak.close()


class GroupFaults:
    """Page faults of a group and the groups below it since they were made."""

    def __init__(self, directory: str, version: int) -> None:
        """Open the group's statistics. Raises OSError."""
        self.source = f"cgroup-v{version}"
        self._file = CountFile(f"{directory}/memory.stat")
        # version 1 has the group's own numbers first, and those with all groups below it as total_
        self._prefix = b"" if version == 2 else b"total_"

    def read(self) -> tuple[int | None, int | None]:
        """Minor and major faults; ``pgfault`` counts both kinds (Linux: Documentation/admin-guide/cgroup-v2.rst)."""
        try:
            text = self._file.read_bytes(16384)
        except OSError:
            return None, None
        every, major = (parse_count(value_after(text, self._prefix + key)) for key in (b"pgfault", b"pgmajfault"))
        if every is None or major is None:
            return None, None
        return max(0, every - major), major

    def close(self) -> None:
        """Close the file."""
        self._file.close()
