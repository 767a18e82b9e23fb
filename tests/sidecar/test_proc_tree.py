"""CPU time of a process tree, against a procfs made by hand and against real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_proc import FakeProc

from hpcfrugal.sidecar import proc_tree
from hpcfrugal.sidecar.proc_tree import ProcTree, shows_own_pids

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
SCANNED_AT_ONCE = 24


def ticks(tree: ProcTree) -> int | None:
    cpu_us = tree.read().cpu_us
    return None if cpu_us is None else cpu_us // TICK_US


def grown(proc: FakeProc, root_pid: int | None, job_id: str | None = None) -> ProcTree:
    """A tree that has looked at all of ``proc``: the first look is at the root alone."""
    tree = ProcTree(str(proc.root), root_pid, job_id, "n1")
    tree.read()
    tree.read()
    return tree


def test_sum_over_the_descendants(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(1, 0, own=1000)
    proc.put(10, 1, own=5, reaped=7)
    proc.put(11, 10, own=20, comm="a) b (c")
    proc.put(12, 11, own=30)
    proc.put(50, 1, own=400)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    assert ticks(tree) == 12
    use = tree.read()
    assert use.cpu_us == 62 * TICK_US
    assert use.memory_b == use.memory_peak_b == 30 * os.sysconf("SC_PAGE_SIZE")


def test_sidecar_and_its_processes_are_not_the_job(tmp_path: Path) -> None:
    """It runs below the batch script, and has processes of its own for drivers, which come and go."""
    proc, own = FakeProc(tmp_path), os.getpid()
    proc.put(10, 1, own=5, start=100)
    proc.put(own, 10, own=30, start=101)
    proc.put(own + 1, own, own=40, start=102)
    tree = grown(proc, 10)
    proc.put(11, 10, own=3, start=103)
    proc.put(own + 2, own, own=400, start=104)
    assert ticks(tree) == 8
    proc.end(own + 1)
    proc.put(own, 10, own=50, reaped=45, start=101)
    proc.put(11, 10, own=4, start=103)
    assert ticks(tree) == 9
    assert tree.read().memory_b == 20 * os.sysconf("SC_PAGE_SIZE")


def test_child_that_was_waited_for_counts_once(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1)
    proc.put(11, 10, own=20)
    tree = grown(proc, 10)
    assert ticks(tree) == 20
    proc.end(11)
    proc.put(10, 1, own=1, reaped=25)
    assert ticks(tree) == 26


def test_a_child_that_was_not_waited_for_is_kept(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1)
    proc.put(11, 10, own=20)
    proc.put(12, 11, own=40)
    tree = grown(proc, 10)
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
    tree = grown(proc, 10)
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
    tree = grown(proc, 10)
    assert ticks(tree) == 20
    proc.put(10, 1, reaped=20)
    proc.put(11, 1, own=9999, start=77)
    assert ticks(tree) == 20


def test_foreign_process_id_used_by_the_job_is_found_again(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1)
    proc.put(11, 1, own=9999)
    tree = grown(proc, 10)
    assert ticks(tree) == 0
    proc.put(11, 10, own=3, start=5)
    assert ticks(tree) == 3


def test_root_that_is_gone_keeps_the_last_value(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1, own=8)
    tree = grown(proc, 10)
    assert ticks(tree) == 8
    proc.end(10)
    assert ticks(tree) == 8


def test_nothing_seen_is_unknown(tmp_path: Path) -> None:
    FakeProc(tmp_path).put(1, 0)
    use = ProcTree(str(tmp_path), 10, None, "n1").read()
    assert vars(use) == {
        "cpu_us": None, "io_b": None, "io_partial": False, "major_faults": None, "memory_b": None,
        "memory_peak_b": None, "minor_faults": None,
    }  # fmt: skip


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
    tree = grown(proc, None, "17")
    assert ticks(tree) == 33
    proc.put(140, 1, comm="slurmstepd", title="slurmstepd: [17.1]", own=0)
    proc.put(141, 140, own=7, environ={"SLURMD_NODENAME": "n1"})
    assert ticks(tree) == 40


def test_a_step_is_recognised_by_its_mount_namespace(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(100, 1, comm="slurmstepd", title="slurmstepd: [17.0]")
    proc.put(101, 100, own=10, namespace="mnt:[1]")
    proc.put(110, 1, comm="slurmstepd", title="slurmstepd: [17.0]")
    proc.put(111, 110, own=900, namespace="mnt:[2]")
    tree = grown(proc, None, "17")
    assert ticks(tree) == 10


def test_step_that_cannot_be_asked_is_taken_at_the_second_look(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(100, 1, comm="slurmstepd", title="slurmstepd: [17.0]")
    proc.put(101, 100, own=10)
    tree = ProcTree(str(tmp_path), None, "17", "n1")
    assert [ticks(tree), ticks(tree), ticks(tree)] == [None, None, 10]


def test_tasks_whose_daemon_is_hidden(tmp_path: Path) -> None:
    """With hidepid neither pid 1 nor a slurmstepd is there; 211 was left behind by a task that ended."""
    proc = FakeProc(tmp_path)
    here = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1"}
    proc.put(101, 100, own=10, environ=here)
    proc.put(102, 101, own=1)
    proc.put(201, 200, own=20, environ=here)
    proc.put(202, 201, own=2)
    proc.put(211, 1, own=40, environ=here)
    proc.put(301, 300, own=1000, environ={"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n2"})
    proc.put(401, 400, own=2000, environ={"SLURM_JOB_ID": "170", "SLURMD_NODENAME": "n1"})
    proc.put(501, 500, own=4000)
    proc.put(601, 600, own=8000, environ={"SLURM_JOB_ID": "17"})
    for root_pid in (101, None):
        tree = grown(proc, root_pid, "17")
        assert tree.hides_others
        assert tree.read().io_partial
        assert ticks(tree) == 73
    # outside of Slurm nothing is asked
    assert ticks(grown(proc, 101, None)) == 11


def test_orphan_that_was_never_seen_below_the_root(tmp_path: Path) -> None:
    """slurmstepd is no child subreaper: what a job leaves behind belongs to process 1, and still names its job."""
    proc = FakeProc(tmp_path)
    here = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1"}
    proc.put(1, 0, own=1000)
    proc.put(10, 1, own=5)
    tree = grown(proc, 10, "17")
    proc.put(20, 1, own=30, start=2, environ=here)
    proc.put(21, 20, own=2, start=2)
    proc.put(30, 1, own=400, start=2, environ={**here, "SLURM_JOB_ID": "18"})
    proc.put(40, 1, own=800, start=2)
    assert ticks(tree) == 37


def test_process_ids_of_another_namespace(tmp_path: Path) -> None:
    assert shows_own_pids("/proc")
    (tmp_path / "self").symlink_to(str(os.getpid() + 1))
    assert not shows_own_pids(str(tmp_path))


def test_what_a_process_used_long_before_the_job_is_left_out(tmp_path: Path) -> None:
    """A step's daemon that was there before; the root began at second 1000."""
    hertz = os.sysconf("SC_CLK_TCK")
    proc = FakeProc(tmp_path)
    proc.put(10, 1, own=4, start=1000 * hertz)
    proc.put(20, 1, comm="slurmstepd", title="slurmstepd: [17.extern]", own=500, start=900 * hertz, io_b=(70, 80))
    proc.put(21, 20, own=3, start=999 * hertz, environ={"SLURMD_NODENAME": "n1"})
    tree = grown(proc, 10, "17")
    assert ticks(tree) == 7
    proc.put(20, 1, comm="slurmstepd", title="slurmstepd: [17.extern]", own=502, start=900 * hertz, io_b=(71, 82))
    assert ticks(tree) == 9
    assert tree.read().io_b == (1, 2)


def test_few_files_at_first_and_all_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = FakeProc(tmp_path)
    for pid in range(100, 400):
        proc.put(pid, 1)
    proc.put(100, 1, own=1)
    proc.put(101, 100, own=20)
    looked: list[int] = []
    real = proc_tree.read_process
    monkeypatch.setattr(proc_tree, "read_process", lambda root, pid: looked.append(pid) or real(root, pid))
    tree = ProcTree(str(tmp_path), 100, None, "n1")
    assert ticks(tree) == 1
    assert looked == [100]
    for _ in range(300 // SCANNED_AT_ONCE + 1):
        looked.clear()
        total = ticks(tree)
        assert len(looked) <= SCANNED_AT_ONCE + 3
    assert total == 21
    proc.put(500, 101, own=300)
    assert ticks(tree) == 321


def test_a_parent_that_was_not_read_yet_decides_whose_a_new_process_is(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(1000, 1, own=1)
    proc.put(90, 1000, own=2)
    for pid in range(100, 400):
        proc.put(pid, 1)
    tree = ProcTree(str(tmp_path), 1000, None, "n1")
    tree.read()
    proc.put(1001, 90, own=40)
    assert ticks(tree) == 43


def test_page_faults_are_kept_like_cpu_time(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1, faults=(100, 5, 1, 0))
    proc.put(11, 10, faults=(30, 0, 2, 0))
    proc.put(12, 10, faults=(7, 0, 3, 0))
    tree = grown(proc, 10)
    use = tree.read()
    assert (use.minor_faults, use.major_faults) == (142, 6)
    proc.end(11)  # waited for, with 3 more
    proc.put(10, 1, faults=(100, 5 + 33, 1, 2))
    use = tree.read()
    assert (use.minor_faults, use.major_faults) == (145, 6)
    proc.end(12)  # waited for by nobody
    use = tree.read()
    assert (use.minor_faults, use.major_faults) == (145, 6)


def test_bytes_of_a_child_that_was_waited_for_are_its_parents(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1, faults=(100, 0, 0, 0), io_b=(1000, 0))
    proc.put(11, 10, faults=(30, 0, 0, 0), io_b=(50, 600))
    tree = grown(proc, 10)
    assert tree.read().io_b == (1050, 600)
    proc.end(11)
    # 10 has its own 5 more, and what 11 had in the end
    proc.put(10, 1, faults=(100, 31, 0, 0), io_b=(1000 + 5 + 60, 700))
    use = tree.read()
    assert (use.io_b, use.io_partial) == ((1065, 700), False)


def test_bytes_of_a_child_that_was_not_waited_for_are_kept_and_marked(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1, faults=(100, 0, 0, 0), io_b=(1000, 0))
    proc.put(11, 10, faults=(30, 0, 0, 0), io_b=(50, 600))
    proc.put(12, 10, faults=(40, 0, 0, 0), io_b=(3, 4))
    tree = grown(proc, 10)
    proc.end(11)
    proc.end(12)
    proc.put(10, 1, faults=(100, 35, 0, 0), io_b=(1050, 600))  # waited for 11 alone
    use = tree.read()
    assert (use.io_b, use.io_partial) == ((1053, 604), True)


def test_task_of_a_daemon_that_may_not_be_asked_keeps_what_was_seen(tmp_path: Path) -> None:
    step = {"comm": "slurmstepd", "title": "slurmstepd: [17.0]", "io_b": None}
    proc = FakeProc(tmp_path)
    proc.put(1, 0)
    proc.put(100, 1, **step)
    proc.put(101, 100, faults=(20, 0, 0, 0), io_b=(8, 9), environ={"SLURMD_NODENAME": "n1"})
    tree = grown(proc, 101, "17")
    use = tree.read()
    assert (use.io_b, use.io_partial) == ((8, 9), False)
    proc.put(100, 1, faults=(0, 500, 0, 0), **step)  # it waited for a task that came and went
    use = tree.read()
    assert (use.io_b, use.io_partial) == ((8, 9), True)
    proc.end(101)
    assert tree.read().io_b == (8, 9)


def test_process_that_hides_its_memory_makes_the_bytes_partial(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1, io_b=(1, 2))
    proc.put(11, 10, io_b=None)
    tree = grown(proc, 10)
    use = tree.read()
    assert (use.io_b, use.io_partial) == ((1, 2), True)
    proc.put(11, 10, io_b=(5, 5))
    (tmp_path / "10/io").unlink()
    assert tree.read().io_b == (6, 7)


def test_bytes_are_unknown_if_no_process_can_be_read(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(10, 1, io_b=None)
    assert grown(proc, 10).read().io_b is None
    proc.put(10, 1, io_b=(0, 0))
    (tmp_path / "10/io").write_text("read_bytes: -1\nwrite_bytes: 2\n")
    assert grown(proc, 10).read().io_b is None


def test_real_bytes_and_faults(tmp_path: Path) -> None:
    """A grandchild writes 3 MB through to the disk and is gone when its parent is asked."""
    write = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "os.write(fd, bytes(3_000_000)); os.fsync(fd)\n"
    )
    script = (
        "import subprocess, sys, resource\n"
        "sys.stdin.readline()\n"
        f"subprocess.run([sys.executable, '-c', {write!r}, sys.argv[1]])\n"
        "both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]\n"
        "print(sum(use.ru_minflt for use in both), sum(use.ru_oublock for use in both) * 512, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        tree = ProcTree("/proc", process.pid, None, "n1")
        before = tree.read()
        process.stdin.write("\n")
        process.stdin.flush()
        faults, written_b = map(int, process.stdout.readline().split())
        after = tree.read()
        process.communicate()
    assert before.io_b is not None
    assert after.io_b is not None
    assert after.minor_faults is not None
    assert after.io_b[1] >= written_b
    assert not after.io_partial
    assert faults <= after.minor_faults <= faults + 50


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
            cpu_us = tree.read().cpu_us or 0
        process.communicate()
    assert 250_000 <= cpu_us < 3_000_000
    assert (tree.read().cpu_us or 0) >= cpu_us
