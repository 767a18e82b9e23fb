"""Jobs of one node, each with a run directory, a process tree that uses CPU time, and a sidecar of its own.

The sidecar is the real zipapp with the batch script's command line. A job's processes start once its sidecar
has written the baseline and are stopped before it ends, so what the kernel counted for them in between is
known to the tick.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hpcfrugal.spool import RunDir, new_run_id, write_json_atomic

CLUSTER = "crowd"
FIRST_JOB_ID = 4_000_000_001
LONGEST_WAIT_S = 60.0
PATTERN = (0,) * 24 + (1,) * 4 + (10,) * 3 + (20,)
"""CPU use of jobs in turn, in percent of a core: most wait for something, few compute. 64 jobs make 108 %."""

_LOAD = """
import sys, time
share = float(sys.argv[1]) / 100
while True:
    begun, until = time.monotonic(), time.process_time() + 0.1 * share
    while time.process_time() < until:
        pass
    time.sleep(max(0, begun + 0.1 - time.monotonic()))
"""
_TREE = """
read -r go
if [ "$3" -gt 0 ]; then
  "$1" -I -S -c "$2" "$3" &
  while :; do sleep 1; done &
fi
sleep 86400 &
wait
"""
"""The job's root: waits for the word, then has a child that computes, and one that starts a process a second."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a sidecar ended: exit code, what it said, seconds from the end of its input until it was gone (at
    most), and CPU seconds of its whole life."""

    exit_code: int
    said: str
    gone_s: float
    cpu_s: float


class Job:
    """One job: ``start``, ``go``, ``stop_load``, ``end``."""

    def __init__(
        self, spool: Path, zipapp: Path, node: str, number: int, percent: int, groups: Path | None = None
    ) -> None:
        """``groups``: where the job gets a control group of its own, as Slurm makes them; None: it gets none."""
        now = datetime.now(UTC)
        self.job_id = str(FIRST_JOB_ID + number)
        self.node = node
        self.percent = percent
        self.started_wall_s = 0.0
        self.started_ns = 0
        self.group = None if groups is None else groups / f"job_{self.job_id}"
        if self.group is not None:
            self.group.mkdir()
        self.run_dir = RunDir.create(spool, new_run_id(now, f"crowd {number}"))
        os.link(zipapp, self.run_dir.sidecar)
        self._document(now)
        self._root: subprocess.Popen[bytes] | None = None
        self._sidecar: subprocess.Popen[bytes] | None = None

    @property
    def samples(self) -> Path:
        """The sidecar's file."""
        return self.run_dir.samples(self.job_id, 0, self.node)

    @property
    def pid(self) -> int:
        """The sidecar's process."""
        assert self._sidecar is not None
        return self._sidecar.pid

    @property
    def session(self) -> int:
        """The session that all processes of the job are in."""
        assert self._root is not None
        return self._root.pid

    def start(self, sysfs: Path, interval_s: float, record_s: float) -> None:
        """Start the job's root, which waits, and the sidecar."""
        tree = [*self._entrance, "/bin/sh", "-c", _TREE, "job", sys.executable, _LOAD, str(self.percent)]
        self._root = subprocess.Popen(tree, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        argv = [*self._entrance, sys.executable, "-I", "-S", str(self.run_dir.sidecar)]
        argv += ["--run-dir", str(self.run_dir.path)]
        argv += ["--run-id", self.run_dir.run_id, "--interval", format(interval_s, "g")]
        argv += ["--record", format(record_s, "g"), "--until-eof", "--root-pid", str(self._root.pid)]
        argv += ["--sysfs", str(sysfs)]
        environ = {
            "PATH": "/usr/bin:/bin",
            "SLURM_JOB_ID": self.job_id,
            "SLURM_CLUSTER_NAME": CLUSTER,
            "SLURMD_NODENAME": self.node,
            "SLURM_CPUS_ON_NODE": "1",
            "SLURM_MEM_PER_NODE": "100",
            "CUDA_VISIBLE_DEVICES": "",
        }
        self.started_wall_s = time.time()
        self.started_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._sidecar = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environ,
            cwd="/",
            start_new_session=True,
        )

    @property
    def _entrance(self) -> list[str]:
        """Command prefix that enters the job's group."""
        if self.group is None:
            return []
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.group / "cgroup.procs")]

    def has_baseline(self) -> bool:
        """Whether header and first record are there. Raises RuntimeError where the sidecar is gone."""
        assert self._sidecar is not None
        if self._sidecar.poll() is not None:
            raise RuntimeError(f"the sidecar of job {self.job_id} left: {self._sidecar.communicate()[1].decode()}")
        return self.samples.exists() and self.samples.read_bytes().count(b"\n") >= 2

    def go(self) -> None:
        """Let the job's processes work."""
        assert self._root is not None
        assert self._root.stdin is not None
        self._root.stdin.write(b"go\n")
        self._root.stdin.flush()

    def stop_load(self) -> None:
        """Stop the job's processes where they are."""
        os.killpg(self.session, signal.SIGSTOP)

    def close_input(self) -> None:
        """What the batch script does at its end."""
        assert self._sidecar is not None
        assert self._sidecar.stdin is not None
        self._sidecar.stdin.close()

    def end(self, closed_s: float) -> Ended:
        """Wait for the sidecar, whose input was closed at ``closed_s`` of the monotonic clock; write the end
        document and kill the job's processes."""
        assert self._sidecar is not None
        assert self._sidecar.stderr is not None
        _, status, usage = os.wait4(self._sidecar.pid, 0)
        gone_s = time.monotonic() - closed_s
        self._sidecar.returncode = os.waitstatus_to_exitcode(status)
        said = self._sidecar.stderr.read().decode()
        self._sidecar.stderr.close()
        write_json_atomic(
            self.run_dir.end_json(self.job_id, 0),
            {
                "schema": 1,
                "job_id": self.job_id,
                "restart": 0,
                "array_job_id": None,
                "array_task_id": None,
                "exit_code": 0,
                "started_wall_s": self.started_wall_s,
                "ended_wall_s": time.time(),
            },
        )
        return Ended(self._sidecar.returncode, said, gone_s, usage.ru_utime + usage.ru_stime)

    def kill(self) -> None:
        """End whatever of it still runs."""
        if self._root is not None:
            if self._root.poll() is None:
                os.killpg(self._root.pid, signal.SIGKILL)
            self._root.wait()
            if self._root.stdin is not None:
                self._root.stdin.close()
        if self._sidecar is not None and self._sidecar.poll() is None:
            self._sidecar.kill()
            self._sidecar.communicate()
        if self.group is not None:
            _remove_group(self.group)
            self.group = None

    def _document(self, now: datetime) -> None:
        common = {"schema": 1, "run_id": self.run_dir.run_id}
        document = {
            **common,
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "uid": os.getuid(),
            "created_at": now.isoformat(),
            "hpcfrugal_version": "0",
            "backend": "slurm_cli",
            "host": self.node,
            "spec": {"name": f"job-{self.percent}-percent"},
            "plan": None,
        }
        write_json_atomic(self.run_dir.run_json, document)
        submitted = {"schema": 1, "cluster": CLUSTER, "job_id": self.job_id, "submitted_at": now.isoformat()}
        write_json_atomic(self.run_dir.submitted_json, submitted)


def unified_groups() -> Path | None:
    """Where control groups of version 2 are, by proc_pid_mountinfo(5); None where there are none."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            return Path(left.split()[4])
    return None


def _remove_group(group: Path) -> None:
    """Remove a group whose processes are dying. Raises RuntimeError where they don't."""
    deadline_s = time.monotonic() + LONGEST_WAIT_S
    while (group / "cgroup.procs").read_text():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"processes in {group} do not end")
        time.sleep(0.01)
    group.rmdir()


def wait_for_baselines(jobs: Sequence[Job]) -> None:
    """Until every sidecar has written its header and first record. Raises RuntimeError."""
    missing = list(jobs)
    deadline_s = time.monotonic() + LONGEST_WAIT_S
    while missing:
        missing = [job for job in missing if not job.has_baseline()]
        if missing and time.monotonic() > deadline_s:
            raise RuntimeError(f"{len(missing)} sidecars wrote no baseline in {LONGEST_WAIT_S:g} s")
        time.sleep(0.01)


def ticks_by_session(proc: Path = Path("/proc")) -> dict[int, int]:
    """Clock ticks of all processes of each session, with the children that they have waited for (proc_pid_stat(5):
    session is field 6, the times are 14 to 17)."""
    found: dict[int, int] = {}
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # ended meanwhile
        session = int(fields[3])
        found[session] = found.get(session, 0) + sum(map(int, fields[11:15]))
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process so far, by the scheduler's nanoseconds."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def memory_kib(pid: int) -> tuple[int, int]:
    """Peak resident and present proportional set size in KiB (VmHWM, Pss)."""
    peak = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    pss = Path(f"/proc/{pid}/smaps_rollup").read_text().partition("\nPss:")[2].split()[0]
    return int(peak), int(pss)
