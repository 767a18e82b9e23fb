"""Busy time of the node beside the exact CPU time of control groups, in made-up trees."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcfrugal.sidecar.node import NodeBusy, cores_online, cpu_model, cpu_vendor

TICK_US = 10_000


class Tree:
    """A procfs and a control group tree, version 1 or 2, in which jobs compute."""

    def __init__(self, folder: Path, version: int) -> None:
        self.version = version
        self.proc = folder / "proc"
        self.cgroup = folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.cgroup.mkdir()
        kind, options = ("cgroup2", "rw") if version == 2 else ("cgroup", "rw,cpu,cpuacct")
        (self.proc / "self/mountinfo").write_text(f"30 25 0:30 / {self.cgroup} rw - {kind} {kind} {options}\n")
        if version == 1:
            (self.cgroup / "release_agent").write_text("")
        self.stat(0)

    def stat(self, ticks: int, irq: int = 0, softirq: int = 0, steal: int = 0) -> None:
        (self.proc / "stat").write_text(f"cpu  {100 + ticks} 0 0 1000 7 {irq} {softirq} {steal} 0 0\ncpu0 1 2\n")

    def group(self, name: str, usage_us: int) -> None:
        folder = self.cgroup / name
        folder.mkdir(exist_ok=True)
        if self.version == 2:
            (folder / "cpu.stat").write_text(f"usage_usec {usage_us}\nuser_usec 0\n")
        else:
            (folder / "cpuacct.usage").write_text(f"{usage_us * 1000}\n")


growths = st.lists(
    st.tuples(st.integers(0, 2000), st.lists(st.integers(0, 10**7), min_size=3, max_size=3), st.integers(0, 10**7)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60)
@given(version=st.sampled_from([1, 2]), steps=growths)
def test_jobs_never_have_more_than_the_node(version: int, steps: list[tuple[int, list[int], int]]) -> None:
    """Three jobs in one group and the system in another, with a sampled count that knows nothing of them."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder), version)
        jobs = [7, 77, 777]
        system = ticks = most_ahead_us = grown_us = 0

        def show() -> None:
            tree.stat(ticks)
            if version == 2:
                tree.group("slurm.slice", sum(jobs))
                tree.group("system.slice", system)
            else:
                tree.group("", sum(jobs) + system)

        show()
        seen = [NodeBusy(str(tree.proc)) for _ in jobs]
        first = [node.read_us(job) or 0 for node, job in zip(seen, jobs, strict=True)]
        for step_ticks, step_jobs, step_system in steps:
            ticks += step_ticks
            jobs = [job + more for job, more in zip(jobs, step_jobs, strict=True)]
            system += step_system
            grown_us += sum(step_jobs) + step_system
            if version == 2:
                most_ahead_us = max(most_ahead_us, ticks * TICK_US - grown_us)
            show()
            found = [node.read_us(job) for node, job in zip(seen, jobs, strict=True)]
            assert found == [one + grown_us + most_ahead_us for one in first]


NOISE_TICKS = (0, 2, -1, 1, -2, 2, 0, -2, 1, 2)
"""By how much a count of clock ticks is ahead of the truth, at one sample after the other."""


@pytest.mark.parametrize(("kind", "extra_ticks"), [("all tasks", 0), ("some tasks", 2), ("the job", 2)])
def test_noise_of_clock_ticks_counts_once(tmp_path: Path, kind: str, extra_ticks: int) -> None:
    tree = Tree(tmp_path, 1 if kind == "all tasks" else 2)
    if kind == "the job":
        (tree.proc / "self/mountinfo").unlink()
    group = "" if kind == "all tasks" else "slurm.slice"
    tree.group(group, 0)
    node = NodeBusy(str(tree.proc))
    first_us = node.read_us(0)
    assert first_us is not None
    for second in range(1, 101):
        busy_us = second * 30 * TICK_US
        tree.group(group, busy_us)
        tree.stat(second * 30 + NOISE_TICKS[second % 10])
        found = node.read_us(busy_us)
    assert found == first_us + busy_us + extra_ticks * TICK_US


def test_tasks_outside_of_all_groups_are_added(tmp_path: Path) -> None:
    """Half of the CPU time is of threads of the kernel, which version 2 counts in no group."""
    tree = Tree(tmp_path, 2)
    tree.group("slurm.slice", 0)
    node = NodeBusy(str(tree.proc))
    first_us = node.read_us()
    assert first_us is not None
    for second in range(1, 101):
        tree.group("slurm.slice", second * 30 * TICK_US)
        tree.stat(second * 60 + NOISE_TICKS[second % 10])
        found = node.read_us()
    assert found == first_us + 6000 * TICK_US


@pytest.mark.parametrize(("irq", "added_ticks"), [(0, 0), (1, 3 + 5)])
def test_interrupts_are_added_where_the_kernel_measures_them(tmp_path: Path, irq: int, added_ticks: int) -> None:
    """Else they are in the time of the tasks that they interrupt, and ``irq`` stays 0."""
    tree = Tree(tmp_path, 1)
    tree.group("", 0)
    tree.stat(0, irq, 100)
    node = NodeBusy(str(tree.proc))
    first_us = node.read_us()
    assert first_us is not None
    tree.group("", 700)
    tree.stat(10, irq + 3 if irq else 0, 105, 50)
    assert node.read_us() == first_us + 700 + added_ticks * TICK_US


@pytest.mark.parametrize("version", [1, 2])
def test_outside_of_a_container_the_node_is_busy_too(tmp_path: Path, version: int) -> None:
    """A container sees a group of the node as its topmost one, and all of the node in ``/proc/stat``."""
    tree = Tree(tmp_path, version)
    (tree.cgroup / "release_agent").unlink(missing_ok=True)
    tree.group("" if version == 1 else "a", 0)
    node = NodeBusy(str(tree.proc))
    first_us = node.read_us()
    assert first_us is not None
    tree.group("" if version == 1 else "a", 20 * TICK_US)
    tree.stat(100, steal=40)
    assert node.read_us() == first_us + 100 * TICK_US


def test_a_root_that_cannot_be_read_is_not_taken_for_all_tasks(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 1)
    node = NodeBusy(str(tree.proc))
    assert node.read_us() == 100 * TICK_US
    tree.stat(5)
    assert node.read_us() == 105 * TICK_US


def test_without_groups_the_sampled_count_and_the_job_remain(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 2)
    (tree.proc / "self/mountinfo").unlink()
    node = NodeBusy(str(tree.proc))
    assert node.read_us(500) == 100 * TICK_US
    tree.stat(3)
    assert node.read_us(600) == 103 * TICK_US
    assert node.read_us(50_600) == 103 * TICK_US + 50_000
    # a job whose time cannot be read now is compared with what it was
    assert node.read_us(None) == 103 * TICK_US + 50_000
    assert node.read_us(50_700) == 103 * TICK_US + 50_100
    # what the job had already is not added once more where the sampled count comes later
    tree.stat(13)
    assert node.read_us(None) == 113 * TICK_US
    assert node.read_us(150_700) == 103 * TICK_US + 150_100


def test_groups_that_come_and_go(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 2)
    tree.group("a", 5_000_000)
    tree.group("broken", 0)
    (tree.cgroup / "broken/cpu.stat").write_text("usage_usec -5\n")
    (tree.cgroup / "cgroup.procs").write_text("1\n")
    node = NodeBusy(str(tree.proc))
    first = node.read_us()
    assert first == 100 * TICK_US
    tree.group("a", 5_000_100)
    tree.group("new", 30)
    assert node.read_us() == first + 130
    (tree.cgroup / "a/cpu.stat").unlink()
    assert node.read_us() == first + 130
    # one that could not be read meanwhile has grown since it was, one that was never read is no news
    tree.group("a", 5_000_150)
    tree.group("broken", 9_000_000)
    assert node.read_us() == first + 180
    # and one that began anew is not taken back
    tree.group("a", 3)
    tree.group("broken", 9_000_001)
    assert node.read_us() == first + 181


def test_many_groups_are_not_all_read(tmp_path: Path) -> None:
    """A group that comes to be looked at late has not done all of its work just now."""
    tree = Tree(tmp_path, 2)
    for number in range(40):
        tree.group(f"g{number:02}", 1_000_000)
    node = NodeBusy(str(tree.proc))
    first = node.read_us()
    assert first is not None
    (tree.cgroup / "g00/cpu.stat").unlink()
    (tree.cgroup / "g00").rmdir()
    assert node.read_us() == first
    for number in range(1, 40):
        tree.group(f"g{number:02}", 1_000_001)
    assert first < (node.read_us() or 0) <= first + 39


@pytest.mark.parametrize("content", ["", "cpu 1 2\n", "intr 5\n", "cpu  x 0 0 0 0 0 0 0\n"])
def test_garbage_is_ignored_and_loses_no_cpu_time(tmp_path: Path, content: str) -> None:
    tree = Tree(tmp_path, 2)
    tree.group("a", 10)
    node = NodeBusy(str(tree.proc))
    first = node.read_us()
    assert first is not None
    tree.group("a", 1000)
    (tree.proc / "stat").write_text(content)
    assert node.read_us() is None
    tree.stat(0)
    assert node.read_us() == first + 990


def test_maker_and_model_of_the_processor(tmp_path: Path) -> None:
    assert (cpu_vendor(str(tmp_path)), cpu_model(str(tmp_path))) == (None, None)
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon : 9242\n")
    assert (cpu_vendor(str(tmp_path)), cpu_model(str(tmp_path))) == ("GenuineIntel", "Xeon : 9242")


@pytest.mark.parametrize(
    ("cpuinfo", "siblings", "cpus", "cores"),
    [
        ("siblings\t: 128\ncore id\t: 0\ncpu cores\t: 64\n", "0,128", 256, 128),
        ("siblings\t: 64\ncpu cores\t: 64\n", "0-1", 128, 128),
        ("siblings\t: 24\ncpu cores\t: 16\n", "0-1", 24, 16),
        ("siblings\t: 0\ncpu cores\t: 0\n", "", 4, None),
        ("", "0", 128, 128),
        ("", "0-3", 128, 32),
        ("", "0,64", 128, 64),
        ("", "", 8, None),
        ("", "x-3", 8, None),
        ("siblings\t: 2\ncpu cores\t: 1\n", "0-1", 1, 1),
        ("siblings\t: 2\ncpu cores\t: 1\n", "0-1", None, None),
    ],
)
def test_physical_cores(tmp_path: Path, cpuinfo: str, siblings: str, cpus: int | None, cores: int | None) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\n" + cpuinfo)
    topology = tmp_path / "devices/system/cpu/cpu0/topology"
    topology.mkdir(parents=True)
    (topology / "thread_siblings_list").write_text(siblings + "\n")
    assert cores_online(str(tmp_path), str(tmp_path), cpus) == cores
