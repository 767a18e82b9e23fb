"""Finding the job's control group, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcfrugal.sidecar.cgroup import GroupCpu, GroupMemory, find_job_group, job_part

SLUID = "sEKNKTV3WPV500"
SCOPE = "/system.slice/slurmstepd.scope"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{SCOPE}/job_17/step_batch/user/task_0", f"{SCOPE}/job_17"),
        ("/slurm/uid_1000/job_17/step_0", "/slurm/uid_1000/job_17"),
        ("/system.slice/n1_slurmstepd.scope/job_17/step_0/user", "/system.slice/n1_slurmstepd.scope/job_17"),
        (f"{SCOPE}/{SLUID}/step_batch/user/task_0", f"{SCOPE}/{SLUID}"),
        (f"{SCOPE}/job_170/step_0", None),
        (f"{SCOPE}/system/x", None),
        (f"/user.slice/{SLUID}/step_0", None),
        ("/user.slice/user-1000.slice/session-1.scope", None),
        ("/", None),
        ("/../..", None),
    ],
)
def test_job_part(path: str, expected: str | None) -> None:
    assert job_part(path, "17", None) == expected


def test_other_sluid_is_not_ours() -> None:
    assert job_part(f"{SCOPE}/{SLUID}/step_0", "17", SLUID) == f"{SCOPE}/{SLUID}"
    assert job_part(f"{SCOPE}/{SLUID}/step_0", "17", "s0000000000000") is None


def _proc(tmp_path: Path, cgroup: str, mountinfo: str) -> str:
    folder = tmp_path / "proc/self"
    folder.mkdir(parents=True)
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text(mountinfo)
    return str(tmp_path / "proc")


def _mount(number: int, root: str, point: Path, fstype: str, options: str) -> str:
    escaped = str(point).replace(" ", "\\040")
    return f"{number} 25 0:{number} {root} {escaped} rw,nosuid shared:9 - {fstype} {fstype} {options}\n"


@pytest.mark.parametrize("name", ["job_17", SLUID])
def test_version_2(tmp_path: Path, name: str) -> None:
    mount = tmp_path / "cg roup"
    job = mount / f"system.slice/slurmstepd.scope/{name}"
    job.mkdir(parents=True)
    (job / "cpu.stat").write_text("usage_usec 1234567\nuser_usec 1\nsystem_usec 2\n")
    (job / "memory.current").write_text("4096\n")
    (job / "memory.peak").write_text("8192\n")
    proc = _proc(
        tmp_path,
        f"0::{SCOPE}/{name}/step_batch/user/task_0\n",
        _mount(30, "/", mount, "cgroup2", "rw,nsdelegate"),
    )
    group = find_job_group(proc, "17", None)
    assert (group.cpu_dir, group.memory_dir) == (str(job), str(job))
    assert group.cpu_dir is not None
    assert group.memory_dir is not None
    cpu = GroupCpu(group.cpu_dir, group.cpu_version)
    assert (cpu.source, cpu.read_us()) == ("cgroup-v2", 1234567)
    memory = GroupMemory(group.memory_dir, group.memory_version)
    assert memory.read_b() == (4096, 8192)
    cpu.close()
    memory.close()


def test_version_1_and_a_peak_of_our_own(tmp_path: Path) -> None:
    cpu_mount, memory_mount = tmp_path / "cpuacct", tmp_path / "memory"
    for mount in (cpu_mount, memory_mount):
        (mount / "slurm/uid_1000/job_17/step_0").mkdir(parents=True)
    (cpu_mount / "slurm/uid_1000/job_17/cpuacct.usage").write_text("5000999\n")
    usage = memory_mount / "slurm/uid_1000/job_17/memory.usage_in_bytes"
    usage.write_text("900\n")
    proc = _proc(
        tmp_path,
        "4:memory:/slurm/uid_1000/job_17/step_0\n2:cpu,cpuacct:/slurm/uid_1000/job_17/step_0/task_0\n0::/\n",
        _mount(31, "/", cpu_mount, "cgroup", "rw,cpu,cpuacct") + _mount(32, "/", memory_mount, "cgroup", "rw,memory"),
    )
    group = find_job_group(proc, "17", None)
    assert group.cpu_dir == str(cpu_mount / "slurm/uid_1000/job_17")
    assert group.memory_dir == str(memory_mount / "slurm/uid_1000/job_17")
    cpu = GroupCpu(group.cpu_dir, group.cpu_version)
    assert (cpu.source, cpu.read_us()) == ("cgroup-v1", 5000)
    memory = GroupMemory(group.memory_dir, group.memory_version)
    assert memory.read_b() == (900, 900)
    usage.write_text("700\n")
    assert memory.read_b() == (700, 900)
    cpu.close()
    memory.close()


def test_mount_of_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    mount = tmp_path / "inside"
    (mount / "job_17").mkdir(parents=True)
    (mount / "job_17/cpu.stat").write_text("usage_usec 5\n")
    proc = _proc(tmp_path, f"0::{SCOPE}/job_17/step_0\n", _mount(30, SCOPE, mount, "cgroup2", "rw"))
    assert find_job_group(proc, "17", None).cpu_dir == str(mount / "job_17")


@pytest.mark.parametrize("own", ["0::/\n", "0::/user.slice/user-0.slice\n", f"0::{SCOPE}/job_18/step_0\n", ""])
def test_no_other_group_is_taken(tmp_path: Path, own: str) -> None:
    (tmp_path / "cg").mkdir()
    (tmp_path / "cg/cpu.stat").write_text("usage_usec 5\n")
    proc = _proc(tmp_path, own, _mount(30, "/", tmp_path / "cg", "cgroup2", "rw"))
    group = find_job_group(proc, "17", None)
    assert (group.cpu_dir, group.memory_dir) == (None, None)


def test_an_unreadable_procfs_gives_no_group(tmp_path: Path) -> None:
    assert find_job_group(str(tmp_path), "17", None).cpu_dir is None
