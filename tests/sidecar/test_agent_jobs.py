"""Which jobs the node agent finds, by control groups of all releases and by processes, and their CPU times."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_groups import FakeGroups
from fake_proc import FakeProc

from hpcfrugal.sidecar.agent import job_groups
from hpcfrugal.sidecar.agent.job_groups import JobGroups
from hpcfrugal.sidecar.agent.job_processes import JobProcesses
from hpcfrugal.sidecar.agent.node_job import NodeJob
from hpcfrugal.sidecar.agent.node_jobs import NodeJobs
from hpcfrugal.sidecar.cgroup import slurm_groups

SLUID = "sEKNKTV3WPV500"
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def groups_of(fake: FakeGroups) -> JobGroups:
    return JobGroups(str(fake.proc), slurm_groups(str(fake.proc), "n1"))


def sampled(jobs: JobGroups | NodeJobs, now_ns: int) -> list[NodeJob]:
    """What the agent does at each sample."""
    found = jobs.read(now_ns)
    jobs.look()
    return found


def seen(jobs: list[NodeJob]) -> dict[str | None, tuple[int, bool]]:
    """CPU time of each job, and whether it has ended."""
    return {job.job_id or job.sluid: (job.cpu_us, job.ended_ns is not None) for job in jobs}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("node", [None, "n1"])
def test_jobs_by_their_groups(tmp_path: Path, version: int, node: str | None) -> None:
    fake = FakeGroups(tmp_path, version, node)
    fake.put("job_17", 5_000_000)
    fake.above(5_000_000)
    groups = groups_of(fake)
    (job,) = sampled(groups, 1)
    assert (job.job_id, job.sluid, job.uid, job.first_ns) == ("17", None, 1000 if version == 1 else None, 1)
    assert job.cpu_us == 0  # what it had used before the agent came
    fake.put("job_17", 5_300_000)
    fake.put("job_18", 40_000, uid=1001)  # it began since, so all of it counts
    assert seen(sampled(groups, 2)) == {"17": (300_000, False), "18": (40_000, False)}
    assert groups.source == f"cgroup-v{version}"


@pytest.mark.parametrize("version", [1, 2])
def test_a_hierarchy_that_is_mounted_twice_has_each_job_once(tmp_path: Path, version: int) -> None:
    """As for a systemd service with ProtectControlGroups."""
    fake = FakeGroups(tmp_path, version)
    fake.put("job_17", 0)
    mounts = fake.proc / "self/mountinfo"
    mounts.write_text(mounts.read_text() * 2)
    groups = groups_of(fake)
    (first,) = sampled(groups, 1)
    assert sampled(groups, 2) == [first]


@pytest.mark.parametrize("version", [1, 2])
def test_the_last_cpu_time_of_a_job_that_ended_alone_is_counted(tmp_path: Path, version: int) -> None:
    fake = FakeGroups(tmp_path, version)
    fake.put("job_17", 1_000_000)
    fake.put("job_18", 1_000_000)
    fake.above(2_000_000)
    groups = groups_of(fake)
    sampled(groups, 1)
    fake.put("job_17", 1_400_000)
    fake.end("job_18")
    fake.above(3_000_000)  # of the 1 s that was used, 0.4 s by the other job
    assert seen(sampled(groups, 2)) == {"17": (400_000, False), "18": (600_000, True)}
    assert seen(sampled(groups, 3)) == {"17": (400_000, False)}


@pytest.mark.parametrize(("used", "last"), [((300_000, 100_000), (450_000, 150_000)), ((0, 0), (300_000, 300_000))])
def test_cpu_time_last_used_by_several_jobs_goes_by_what_they_used_before(
    tmp_path: Path, used: tuple[int, int], last: tuple[int, int]
) -> None:
    names = ("job_17", "job_18")
    fake = FakeGroups(tmp_path)
    for name in (*names, "job_19"):
        fake.put(name, 1_000_000)
    fake.above(3_000_000)
    groups = groups_of(fake)
    sampled(groups, 1)
    for name, us in zip(names, used, strict=True):
        fake.put(name, 1_000_000 + us)
    fake.above(3_000_000 + sum(used))
    sampled(groups, 2)
    for name in names:
        fake.end(name)
    fake.put("job_19", 1_200_000)
    fake.above(3_000_000 + sum(used) + 800_000)
    first, second = (before_us + last_us for before_us, last_us in zip(used, last, strict=True))
    assert seen(sampled(groups, 3)) == {"17": (first, True), "18": (second, True), "19": (200_000, False)}


class Watched:
    """Processes whose end is awaited."""

    def __init__(self) -> None:
        self.calls: dict[int, Callable[[], None]] = {}
        self.error: OSError | None = None
        self.asked = 0

    def watch(self, pid: int, then: Callable[[], None]) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.calls[pid] = then

    def end(self, pid: int) -> None:
        self.calls.pop(pid)()


@pytest.mark.parametrize("version", [1, 2])
def test_jobs_that_end_together_are_read_when_their_tasks_end(tmp_path: Path, version: int) -> None:
    """Else each would get a half of what both used last. Job 19 goes without a task that could be watched."""
    fake, watched = FakeGroups(tmp_path, version), Watched()
    for pid, name in ((171, "job_17"), (181, "job_18")):
        fake.put(name, 0)
        fake.run(name, 170, pid)
        fake.processes.put(170, 1, comm="slurmstepd")
        fake.processes.put(pid, 170)
    fake.put("job_19", 0)
    fake.above(0)
    groups = JobGroups(str(fake.proc), slurm_groups(str(fake.proc), "n1"), watched.watch)
    sampled(groups, 1)
    for name in ("job_17", "job_18", "job_19"):
        fake.put(name, 1_000_000)
    fake.above(3_000_000)
    sampled(groups, 2)
    assert sorted(watched.calls) == [171, 181]
    fake.put("job_17", 1_700_000)
    watched.end(171)
    fake.put("job_18", 1_100_000)
    watched.end(181)
    for name in ("job_17", "job_18", "job_19"):
        fake.end(name)
    fake.above(4_000_000)
    assert seen(sampled(groups, 3)) == {"17": (1_700_000, True), "18": (1_100_000, True), "19": (1_200_000, True)}


def test_a_job_whose_task_ends_and_that_goes_on_is_watched_again(tmp_path: Path) -> None:
    fake, watched = FakeGroups(tmp_path), Watched()
    fake.put("job_17", 0)
    fake.above(0)
    fake.run("job_17", 171, 172)
    fake.processes.put(171, 170)
    fake.processes.put(172, 170)
    groups = JobGroups(str(fake.proc), slurm_groups(str(fake.proc), "n1"), watched.watch)
    sampled(groups, 1)
    fake.put("job_17", 400)
    watched.end(171)
    fake.processes.end(171)
    fake.put("job_17", 500)
    fake.above(500)
    assert seen(sampled(groups, 2)) == {"17": (500, False)}
    assert list(watched.calls) == [172]
    fake.end("job_17")
    fake.above(700)
    assert seen(sampled(groups, 3)) == {"17": (700, True)}
    watched.end(172)  # later than the agent has noticed: its group is closed
    assert seen(sampled(groups, 4)) == {}


def test_a_job_without_a_task_is_looked_at_less_and_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    monkeypatch.setattr(job_groups, "first_task", lambda _proc, directory: looks.append(directory))
    fake = FakeGroups(tmp_path)
    fake.put("job_17", 0)
    groups = JobGroups(str(fake.proc), slurm_groups(str(fake.proc), "n1"), Watched().watch)
    for now_ns in range(1, 3 * job_groups.LOOK_EVERY + 1):
        sampled(groups, now_ns)
    assert looks == [str(fake.job("job_17"))] * (job_groups.LOOKS + 3)


@pytest.mark.parametrize(("error", "asked"), [(ProcessLookupError(), 2), (OSError("no such system call"), 1)])
def test_watching_is_given_up_where_the_system_cannot(tmp_path: Path, error: OSError, asked: int) -> None:
    fake, watched = FakeGroups(tmp_path), Watched()
    watched.error = error
    fake.put("job_17", 0)
    fake.run("job_17", 171)
    fake.processes.put(171, 170)
    groups = JobGroups(str(fake.proc), slurm_groups(str(fake.proc), "n1"), watched.watch)
    for now_ns in (1, 2):
        assert seen(sampled(groups, now_ns)) == {"17": (0, False)}
    assert watched.asked == asked


@pytest.mark.parametrize("version", [1, 2])
def test_a_job_is_found_whose_folder_takes_the_place_of_one_that_went_while_it_was_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    fake = FakeGroups(tmp_path, version)
    for name in ("job_17", "job_18"):
        fake.put(name, 0)
    groups = groups_of(fake)
    sampled(groups, 1)
    scandir = os.scandir

    def without_17(path: str) -> Any:
        if fake.job("job_17").exists():
            fake.end("job_17")
        return scandir(path)

    fake.end("job_18")  # so that all folders are listed
    monkeypatch.setattr(os, "scandir", without_17)
    assert seen(sampled(groups, 2)) == {"17": (0, True), "18": (0, True)}
    fake.put("job_19", 0)
    assert [job.job_id for job in sampled(groups, 3)] == ["19"]


def test_the_next_job_of_a_user_is_found_at_once_after_a_time_without_any(tmp_path: Path) -> None:
    """The folder of a user goes with the last job, and comes again with as many folders in it."""
    fake = FakeGroups(tmp_path, 1)
    fake.put("job_16", 0, uid=1001)
    fake.put("job_17", 0)
    groups = groups_of(fake)
    sampled(groups, 1)
    fake.end("job_17")
    fake.job("job_17").parent.rmdir()
    assert seen(sampled(groups, 2)) == {"16": (0, False), "17": (0, True)}
    fake.put("job_18", 300)
    assert seen(sampled(groups, 3)) == {"16": (0, False), "18": (300, False)}


def test_a_job_that_is_requeued_is_another_attempt(tmp_path: Path) -> None:
    fake = FakeGroups(tmp_path)
    fake.put("job_17", 1_000_000)
    groups = groups_of(fake)
    (first,) = sampled(groups, 1)
    fake.end("job_17")
    assert [job.ended_ns for job in sampled(groups, 2)] == [2]
    fake.put("job_17", 20_000)
    (second,) = sampled(groups, 3)
    assert second is not first
    assert (second.job_id, second.first_ns, second.cpu_us) == ("17", 3, 20_000)


def test_other_control_groups_are_not_taken_for_jobs(tmp_path: Path) -> None:
    fake = FakeGroups(tmp_path)
    fake.put("job_17", 0)
    for name in ("system", "job_x", "job_", "job_12345678901", "sTOOSHORT"):
        (fake.slurm / name).mkdir()
    (fake.slurm / "job_19").symlink_to(fake.job("job_17"))
    assert [job.job_id for job in sampled(groups_of(fake), 1)] == ["17"]


def test_id_and_user_of_a_job_that_is_named_by_its_sluid(tmp_path: Path) -> None:
    fake = FakeGroups(tmp_path)
    fake.put(SLUID, 0)
    fake.processes.put(70, 1, comm="slurmstepd", title="slurmstepd: [4711.batch]")
    # a user's environment is not believed for the id
    task = {"SLURM_JOB_ID": "666", "SLURM_JOB_GPUS": "0,3"}
    fake.processes.put(71, 70, environ=task)
    fake.run(SLUID, 70, step="step_batch/slurm")
    fake.run(SLUID, 71)
    (job,) = sampled(groups_of(fake), 1)
    assert (job.job_id, job.sluid, job.uid) == ("4711", SLUID, os.getuid())
    assert job.gpus == {"0", "3"}


def test_a_job_is_looked_at_again_until_its_first_task_is_there(tmp_path: Path) -> None:
    fake = FakeGroups(tmp_path)
    fake.put(SLUID, 0)
    groups = groups_of(fake)
    (job,) = sampled(groups, 1)
    assert (job.job_id, job.uid, job.gpus) == (None, None, None)
    fake.processes.put(70, 1, comm="slurmstepd", title="slurmstepd: [4711.batch]")
    fake.run(SLUID, 70)
    sampled(groups, 2)
    assert (job.job_id, job.uid) == ("4711", None)


@pytest.mark.parametrize("version", [1, 2])
def test_cpus_are_those_to_which_slurm_confines_the_job(tmp_path: Path, version: int) -> None:
    fake = FakeGroups(tmp_path, version)
    fake.put("job_17", 0)
    fake.confine("job_17", "0-3,8\n")
    # a user's environment is not believed beside it
    fake.processes.put(71, 1, environ={"SLURM_JOB_ID": "17", "SLURM_CPUS_ON_NODE": "64"})
    fake.run("job_17", 71)
    (job,) = sampled(groups_of(fake), 1)
    assert job.cpus == 5


@pytest.mark.parametrize(
    ("environ", "cpus"),
    [
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2)", "SLURM_CPUS_ON_NODE": "1"}, 4),  # of the job, not of its step
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2),2", "SLURM_CPUS_ON_NODE": "2"}, 2),
        ({"SLURM_CPUS_ON_NODE": "x"}, None),
        ({"SLURM_CPUS_ON_NODE": "0"}, None),
        ({"SLURM_JOB_CPUS_PER_NODE": "99999", "SLURM_CPUS_ON_NODE": "3"}, 3),  # by its user: no record may have it
        ({}, None),
    ],
)
def test_cpus_of_a_job_that_is_not_confined(tmp_path: Path, environ: dict[str, str], cpus: int | None) -> None:
    fake = FakeGroups(tmp_path)
    fake.put("job_17", 0)
    fake.confine("job_17", "\n")
    fake.processes.put(71, 1, environ={"SLURM_JOB_ID": "17", **environ})
    fake.run("job_17", 71)
    (job,) = sampled(groups_of(fake), 1)
    assert (job.cpus, job.slurm_cpus, job.line()["cpus"]) == (None, cpus, cpus)


@pytest.mark.parametrize(
    "environ",
    [{"SLURM_SHARDS_ON_NODE": "2"}, {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50"}, {"CUDA_VISIBLE_DEVICES": "0"}],
)
def test_shared_gpus_and_those_not_named_for_the_node_are_left_out(tmp_path: Path, environ: dict[str, str]) -> None:
    fake = FakeGroups(tmp_path)
    fake.put("job_17", 0)
    fake.processes.put(71, 1, environ={"SLURM_JOB_ID": "17", **environ})
    fake.run("job_17", 71)
    (job,) = sampled(groups_of(fake), 1)
    assert job.gpus == set()


@pytest.mark.parametrize("by_groups", [True, False])
def test_a_job_holds_the_gpus_of_all_its_steps_on_the_node(tmp_path: Path, by_groups: bool) -> None:
    """Whichever of its steps is seen first, and also one that begins later."""
    fake = FakeGroups(tmp_path)
    environ = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1", "SLURM_JOB_GPUS": "6", "SLURM_CPUS_ON_NODE": "4"}

    def begin(number: int, gpus: dict[str, str]) -> None:
        daemon, task = 100 + 10 * number, 101 + 10 * number
        fake.processes.put(daemon, 1, comm="slurmstepd", title=f"slurmstepd: [17.{number}]", start=daemon)
        fake.processes.put(task, daemon, start=task, environ=environ | gpus)
        if by_groups:
            fake.run("job_17", task, step=f"step_{number}/user/task_0")

    if by_groups:
        fake.put("job_17", 0)
    # the number of the job is that of another node
    begin(0, {"SLURM_STEP_ID": "0", "SLURM_STEP_GPUS": "0"})
    begin(1, {"SLURM_STEP_ID": "1", "SLURM_JOB_NUM_NODES": "2", "CUDA_VISIBLE_DEVICES": "GPU-bbbb"})
    jobs = NodeJobs(str(fake.proc), "n1")
    jobs.note_gpus(any_there=True)
    (job,) = sampled(jobs, 1)
    assert job.gpus == {"0", "GPU-bbbb"}
    begin(2, {"SLURM_STEP_ID": "2", "SLURM_STEP_GPUS": "3"})
    sampled(jobs, 2)
    assert job.gpus == {"0", "GPU-bbbb", "3"}
    begin(3, {"SLURM_STEP_GPUS": "0"})  # of a script all of the job
    sampled(jobs, 3)
    assert job.gpus == {"0", "GPU-bbbb", "3", "6"}


def test_a_user_does_not_fill_the_memory_of_the_agent_with_names_of_gpus(tmp_path: Path) -> None:
    fake = FakeGroups(tmp_path)
    fake.put("job_17", 0)
    for pid, first, count in ((71, 0, 200), (72, 1_000, 100), (73, 0, 2)):
        gpus = ",".join(map(str, range(first, first + count)))
        fake.processes.put(pid, 1, environ={"SLURM_JOB_ID": "17", "SLURM_STEP_GPUS": gpus})
        fake.run("job_17", pid, step=f"step_{pid}/user/task_0")
    jobs = NodeJobs(str(fake.proc), "n1")
    jobs.note_gpus(any_there=True)
    (job,) = sampled(jobs, 1)
    assert job.gpus is not None
    assert 2 <= len(job.gpus) <= 256


def gpus_of_the_node(fake: FakeGroups) -> Path:
    """Two of NVIDIA, whose numbers are not those of their devices, and one each of AMD and Intel; sysfs."""
    for address, minor, uuid in (("0000:01:00.0", 1, "GPU-aaaa"), ("0000:02:00.0", 0, "GPU-bbbb")):
        folder = fake.proc / "driver/nvidia/gpus" / address
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t A\nGPU UUID:   \t {uuid}\nDevice Minor: \t {minor}\n")
    sysfs = fake.root / "sys"
    for minor, address, unique in ((128, "0000:03:00.0", "cccc"), (129, "0000:04:00.0", "")):
        device = sysfs / "devices" / address
        device.mkdir(parents=True)
        if unique:
            (device / "unique_id").write_text(f"{unique}\n")
        card = sysfs / "class/drm" / f"renderD{minor}"
        card.mkdir(parents=True)
        (card / "dev").write_text(f"226:{minor}\n")
        (card / "device").symlink_to(device)
    return sysfs


@pytest.mark.parametrize(
    ("devices", "gpus"),
    [
        ("c 1:3 rwm\nc 195:0 rwm\nc 195:255 rwm\nb 226:128 rwm\n", {"GPU-bbbb"}),
        ("c 226:128 rw\nc 226:129 rw\nc 136:* rwm\n", {"GPU-cccc", "PCI-0000:04:00.0"}),
        ("c 1:3 rwm\n", set()),
        ("a *:* rwm\n", {"7"}),  # what is denied is not shown
        ("c 195:* rwm\nc 1:3 rwm\n", {"7"}),
        ("c 195:0 rw\nc 195:1 rw\nc 226:128 rw\nc 226:129 rw\n", {"7"}),
        ("", {"7"}),
    ],
)
def test_gpus_are_those_that_the_group_lets_the_job_open(tmp_path: Path, devices: str, gpus: set[str]) -> None:
    """Else those in the environment of a task."""
    fake = FakeGroups(tmp_path, 1)
    fake.put("job_17", 0)
    fake.set("job_17", "devices", "devices.list", devices)
    fake.processes.put(71, 1, environ={"SLURM_JOB_ID": "17", "SLURM_JOB_GPUS": "7"})
    fake.run("job_17", 71)
    jobs = NodeJobs(str(fake.proc), "n1")
    jobs.note_gpus(any_there=True, sysfs=str(gpus_of_the_node(fake)))
    (job,) = sampled(jobs, 1)
    assert job.gpus == gpus


def step(proc: FakeProc, pid: int, job_id: str, node: str = "n1", own: int = 0) -> None:
    """A slurmstepd with one task, whose process id is the next one."""
    proc.put(pid, 1, comm="slurmstepd", title=f"slurmstepd: [{job_id}.batch]", start=pid)
    proc.put(pid + 1, pid, own=own, start=pid, environ={"SLURM_JOB_ID": job_id, "SLURMD_NODENAME": node})


def test_jobs_by_their_processes(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.put(1, 0, own=1000)
    proc.put(50, 1, own=400)
    step(proc, 100, "17", own=5)
    step(proc, 200, "18", node="n2", own=9)
    jobs = JobProcesses(str(tmp_path), "n1")
    (job,) = jobs.read(1)
    assert (job.job_id, job.uid, job.cpu_us) == ("17", os.getuid(), 0)
    proc.put(101, 100, own=12, start=100, environ={"SLURM_JOB_ID": "17"})
    proc.put(102, 101, own=3, start=150)
    step(proc, 300, "19", own=4)  # it began since, so all of it counts
    assert seen(jobs.read(2)) == {"17": (10 * TICK_US, False), "19": (4 * TICK_US, False)}
    proc.end(102)  # nobody has waited for it, so it counts on
    assert seen(jobs.read(3))["17"] == (10 * TICK_US, False)
    for pid in (100, 101):
        proc.end(pid)
    assert seen(jobs.read(4)) == {"17": (10 * TICK_US, True), "19": (4 * TICK_US, False)}
    assert seen(jobs.read(5)) == {"19": (4 * TICK_US, False)}


def test_a_step_that_was_seen_before_its_program_was_started(tmp_path: Path) -> None:
    """Between fork and exec, slurmstepd is a second slurmd."""
    proc = FakeProc(tmp_path)
    proc.put(100, 1, comm="slurmd", start=1_000)
    jobs = JobProcesses(str(tmp_path), "n1")
    at_ns = 1_000 * TICK_US * 1000
    assert jobs.read(at_ns) == []
    step(proc, 100, "17", own=4)
    assert seen(jobs.read(at_ns + 10**9)) == {"17": (4 * TICK_US, False)}


def test_a_program_named_slurmstepd_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = FakeProc(tmp_path)
    step(proc, 100, "17")
    owner = os.stat(tmp_path / "100").st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    os.chown(tmp_path / "100", 12345, -1)
    assert JobProcesses(str(tmp_path), "n1").read(1) == []


def test_the_folder_of_all_jobs_is_read_again_after_it_was_made_anew(tmp_path: Path) -> None:
    fake = FakeGroups(tmp_path)
    fake.put("job_17", 1_000_000)
    fake.above(1_000_000)
    groups = groups_of(fake)
    sampled(groups, 1)
    os.truncate(fake.slurm / "cpu.stat", 0)  # the kernel lets nobody read it any more
    shutil.rmtree(fake.slurm)
    assert seen(sampled(groups, 2)) == {"17": (0, True)}
    for name in ("job_18", "job_19"):
        fake.put(name, 100_000)
    fake.above(200_000)
    sampled(groups, 3)
    fake.end("job_18")
    fake.above(500_000)
    assert seen(sampled(groups, 4)) == {"18": (400_000, True), "19": (100_000, False)}


def test_jobs_are_found_by_processes_where_folders_of_groups_are_left_over(tmp_path: Path) -> None:
    """Slurm made groups once, and was configured anew while the node was up."""
    fake = FakeGroups(tmp_path)
    fake.slurm.mkdir(parents=True)
    jobs = NodeJobs(str(fake.proc), "n1")
    step(fake.processes, 100, "17", own=5)
    found = [seen(sampled(jobs, at)) for at in range(1, 122)]
    assert found[:119] == [{}] * 119
    assert found[119:] == [{"17": (0, False)}] * 2
    assert jobs.source == "proc-tree"
    fake.put("job_18", 0)
    assert [(job.job_id, job.ended_ns) for job in sampled(jobs, 122)] == [("17", 122), ("18", None)]
    assert jobs.source == "cgroup-v2"


def test_a_job_counts_once_when_slurm_begins_to_make_groups(tmp_path: Path) -> None:
    fake = FakeGroups(tmp_path)
    step(fake.processes, 100, "17", own=5)
    jobs = NodeJobs(str(fake.proc), "n1")
    assert seen(sampled(jobs, 1)) == {"17": (0, False)}
    assert jobs.source == "proc-tree"
    fake.put("job_17", 900_000)
    assert [(job.job_id, job.cpu_us, job.ended_ns) for job in sampled(jobs, 2)] == [("17", 0, 2), ("17", 0, None)]
    fake.put("job_17", 950_000)
    assert seen(sampled(jobs, 3)) == {"17": (50_000, False)}
    assert jobs.source == "cgroup-v2"
    assert jobs.cpu_us == 50_000
