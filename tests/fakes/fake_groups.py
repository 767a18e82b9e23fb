"""Control groups of jobs as Slurm makes them, in a made-up tree, and the procfs through which they are found."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from fake_proc import FakeProc


@dataclass(slots=True)
class FakeGroups:
    """``version`` 1 or 2 of the hierarchy; ``node`` where Slurm puts the node's name into the names of its groups."""

    root: Path
    version: int = 2
    node: str | None = None
    processes: FakeProc = field(init=False)

    def __post_init__(self) -> None:
        self.processes = FakeProc(self.proc)
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        (self.proc / "sys/kernel/random/boot_id").write_text("boot-1\n")
        mounts = [(self.mount, "cgroup2 cgroup2 rw")]
        if self.version == 1:
            controllers = {"cpuacct": self.mount, "cpuset": self.beside("cpuset"), "devices": self.beside("devices")}
            mounts = [(point, f"cgroup cgroup rw,{name}") for name, point in controllers.items()]
        lines = [f"30 25 0:30 / {point} rw - {kind}\n" for point, kind in mounts]
        (self.proc / "self/mountinfo").write_text("".join(lines))
        self.mount.mkdir()
        self.busy(0)

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    @property
    def mount(self) -> Path:
        return self.root / "cgroup"

    def beside(self, controller: str) -> Path:
        """The root of another hierarchy of version 1."""
        return self.root / f"cgroup-{controller}"

    @property
    def slurm(self) -> Path:
        """The folder of all jobs."""
        if self.version == 1:
            return self.mount / ("slurm" if self.node is None else f"slurm_{self.node}")
        name = "slurmstepd.scope" if self.node is None else f"{self.node}_slurmstepd.scope"
        return self.mount / "system.slice" / name

    def job(self, name: str, uid: int = 1000) -> Path:
        """The folder of a job; ``name`` is job_N, or a SLUID."""
        return self.slurm / f"uid_{uid}" / name if self.version == 1 else self.slurm / name

    def put(self, name: str, cpu_us: int, uid: int = 1000) -> None:
        """Make a job's group, or let its counter show ``cpu_us``."""
        self.job(name, uid).mkdir(parents=True, exist_ok=True)
        self.count(self.job(name, uid), cpu_us)

    def set(self, name: str, controller: str, file: str, text: str, uid: int = 1000) -> None:
        """Write a file of a job's group below a controller."""
        folder = self.job(name, uid)
        if self.version == 1:
            folder = self.beside(controller) / folder.relative_to(self.mount)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)

    def confine(self, name: str, cpus: str) -> None:
        """Let a job have only these CPUs."""
        self.set(name, "cpuset", "cpuset.cpus", cpus)

    def above(self, cpu_us: int) -> None:
        """Let the counter of all jobs show ``cpu_us``."""
        self.count(self.slurm, cpu_us)

    def count(self, folder: Path, cpu_us: int) -> None:
        """Let the counter of a group show ``cpu_us``."""
        if self.version == 1:
            name, text = "cpuacct.usage", f"{cpu_us * 1000:<20}\n"
        else:
            name, text = "cpu.stat", f"usage_usec {cpu_us:<20}\nuser_usec 0\nsystem_usec 0\n"
        fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(fd, text.encode(), 0)  # in place: a reader keeps the file open
        finally:
            os.close(fd)

    def end(self, name: str, uid: int = 1000) -> None:
        """Remove a job's group."""
        gone = self.root / f"gone-{name}"
        self.job(name, uid).rename(gone)  # at once, as the kernel does
        shutil.rmtree(gone)

    def busy(self, busy_us: int) -> None:
        """Let the CPUs of the node have been busy for so long."""
        (self.proc / "stat").write_text(f"cpu  {busy_us // 10_000} 0 0 0 0 0 0 0 0 0\n")

    def run(self, name: str, *pids: int, uid: int = 1000, step: str = "step_batch/user/task_0") -> None:
        """Put processes into a job's group."""
        folder = self.job(name, uid) / step
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
