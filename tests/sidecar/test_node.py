"""Busy time of the node beside the exact CPU time of control groups, in made-up trees."""

from __future__ import annotations

import itertools
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
        self.stat(0)

    def stat(self, ticks: int) -> None:
        (self.proc / "stat").write_text(f"cpu  {100 + ticks} 0 0 1000 7 0 0 0 0 0\ncpu0 1 2\n")

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
        system = ticks = 0

        def show() -> None:
            tree.stat(ticks)
            if version == 2:
                tree.group("slurm.slice", sum(jobs))
                tree.group("system.slice", system)
            else:
                tree.group("", sum(jobs) + system)

        show()
        seen = [NodeBusy(str(tree.proc)) for _ in jobs]
        busy = [[node.read_us(job)] for node, job in zip(seen, jobs, strict=True)]
        for step_ticks, step_jobs, step_system in steps:
            ticks += step_ticks
            jobs = [job + more for job, more in zip(jobs, step_jobs, strict=True)]
            system += step_system
            show()
            for index, node in enumerate(seen):
                busy[index].append(node.read_us(jobs[index]))
        for readings in busy:
            for (old, new), (step_ticks, step_jobs, step_system) in zip(
                itertools.pairwise(readings), steps, strict=True
            ):
                assert old is not None
                assert new is not None
                # never less than any of them says, and never more than the largest
                assert new - old == max(step_ticks * TICK_US, sum(step_jobs) + step_system)


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
    tree.stat(13)
    assert node.read_us(None) == 113 * TICK_US + 50_100
    assert node.read_us(150_700) == 113 * TICK_US + 50_100


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
