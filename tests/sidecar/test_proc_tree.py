"""CPU time of a process tree, against a procfs made by hand and against real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from hpcfrugal.sidecar.proc_tree import FORGET_EVERY, ProcTree

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


class FakeProc:
    """A procfs of stat files (proc_pid_stat(5)), with title and environment for slurmstepd and its tasks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "self/ns").mkdir(parents=True)
        (root / "self/ns/mnt").symlink_to("mnt:[1]")

    def put(
        self,
        pid: int,
        parent: int,
        *,
        own: int = 0,
        reaped: int = 0,
        comm: str = "bash",
        start: int = 1,
        title: str = "",
        environ: dict[str, str] | None = None,
        namespace: str | None = None,
    ) -> None:
        folder = self.root / str(pid)
        (folder / "ns").mkdir(parents=True, exist_ok=True)
        fields = ["S", parent, 1, 1, 0, -1, 0, 0, 0, 0, 0, own, 0, reaped, 0, 20, 0, 1, 0, start, 0, 10, 0]
        (folder / "stat").write_text(f"{pid} ({comm}) " + " ".join(map(str, fields)) + "\n")
        (folder / "cmdline").write_text(title)
        if environ is not None:
            (folder / "environ").write_text("\0".join(f"{key}={value}" for key, value in environ.items()))
        if namespace and not (folder / "ns/mnt").is_symlink():
            (folder / "ns/mnt").symlink_to(namespace)

    def end(self, pid: int) -> None:
        shutil.rmtree(self.root / str(pid))


def ticks(tree: ProcTree) -> int | None:
    cpu_us = tree.read()[0]
    return None if cpu_us is None else cpu_us // TICK_US


def test_sum_over_the_descendants(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(1, 0, own=1000)
    proc.put(10, 1, own=5, reaped=7)
    proc.put(11, 10, own=20, comm="a) b (c")
    proc.put(12, 11, own=30)
    proc.put(50, 1, own=400)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    cpu_us, memory_b, peak_b = tree.read()
    assert cpu_us == 62 * TICK_US
    assert memory_b == peak_b == 30 * os.sysconf("SC_PAGE_SIZE")


def test_child_that_was_waited_for_counts_once(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1)
    proc.put(11, 10, own=20)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    assert ticks(tree) == 20
    proc.end(11)
    proc.put(10, 1, own=1, reaped=25)
    assert ticks(tree) == 26


def test_child_that_nobody_waited_for_is_kept(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1)
    proc.put(11, 10, own=20)
    proc.put(12, 11, own=40)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    assert ticks(tree) == 60
    proc.end(11)
    proc.end(12)
    proc.put(10, 1, own=100, reaped=20)
    assert ticks(tree) == 160


def test_orphan_stays_a_member(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1)
    proc.put(11, 10, own=2)
    proc.put(12, 11, own=20)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    assert ticks(tree) == 22
    proc.end(11)
    proc.put(10, 1, reaped=2)
    proc.put(12, 1, own=50)
    proc.put(13, 12, own=5)
    assert ticks(tree) == 57


def test_used_again_process_id_is_foreign(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1)
    proc.put(11, 10, own=20)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    assert ticks(tree) == 20
    proc.put(10, 1, reaped=20)
    proc.put(11, 1, own=9999, start=77)
    assert ticks(tree) == 20


def test_foreign_process_id_used_by_the_job_is_found_again(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1)
    proc.put(11, 1, own=9999)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    assert ticks(tree) == 0
    proc.put(11, 10, own=3, start=5)
    for _ in range(FORGET_EVERY):
        last = ticks(tree)
    assert last == 3


def test_root_that_is_gone_keeps_the_last_value(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1, own=8)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    assert ticks(tree) == 8
    proc.end(10)
    assert ticks(tree) == 8


def test_nothing_seen_is_unknown(tmp_path: Path) -> None:
    FakeProc(tmp_path).put(1, 0)
    assert ProcTree(str(tmp_path), 10, None, "n1").read() == (None, None, None)


def test_steps_of_the_job_on_this_node(tmp_path: Path) -> None:
    """Two nodes in one kernel; job 17 has a batch step and a step 0 on n1, and a step 0 on n2."""
    proc = FakeProc(tmp_path)
    proc.put(100, 1, comm="slurmstepd", title="slurmstepd: [17.batch]", own=1)
    proc.put(101, 100, own=10, environ={"A": "b", "SLURMD_NODENAME": "n1"})
    proc.put(110, 1, comm="slurmstepd", title="slurmstepd: [17.0 stepmgr]", own=2)
    proc.put(111, 110, own=20, environ={"SLURMD_NODENAME": "n1"})
    proc.put(120, 1, comm="slurmstepd", title="slurmstepd: [17.0]", own=4)
    proc.put(121, 120, own=1000, environ={"SLURMD_NODENAME": "n2"})
    proc.put(130, 1, comm="slurmstepd", title="slurmstepd: [170.0]", own=8)
    proc.put(131, 130, own=5000, environ={"SLURMD_NODENAME": "n1"})
    tree = ProcTree(str(tmp_path), None, "17", "n1")
    assert ticks(tree) == 33
    proc.put(140, 1, comm="slurmstepd", title="slurmstepd: [17.1]", own=0)
    proc.put(141, 140, own=7, environ={"SLURMD_NODENAME": "n1"})
    assert ticks(tree) == 40


def test_step_told_by_mount_namespace(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(100, 1, comm="slurmstepd", title="slurmstepd: [17.0]")
    proc.put(101, 100, own=10, namespace="mnt:[1]")
    proc.put(110, 1, comm="slurmstepd", title="slurmstepd: [17.0]")
    proc.put(111, 110, own=900, namespace="mnt:[2]")
    tree = ProcTree(str(tmp_path), None, "17", "n1")
    tree.read()
    assert ticks(tree) == 10


def test_step_that_cannot_be_asked_is_taken_at_the_second_look(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(100, 1, comm="slurmstepd", title="slurmstepd: [17.0]")
    proc.put(101, 100, own=10)
    tree = ProcTree(str(tmp_path), None, "17", "n1")
    assert ticks(tree) is None
    assert ticks(tree) == 10


def test_real_processes() -> None:
    """A grandchild burns 0.3 s; the kernel shows whole ticks, user and system time apart."""
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nsys.stdin.read()\n"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        tree = ProcTree("/proc", process.pid, None, "n1")
        deadline = time.monotonic() + 15
        cpu_us = 0
        while cpu_us < 250_000 and time.monotonic() < deadline:
            time.sleep(0.05)
            cpu_us = tree.read()[0] or 0
        process.communicate()
    assert 250_000 <= cpu_us < 3_000_000
    assert (tree.read()[0] or 0) >= cpu_us
