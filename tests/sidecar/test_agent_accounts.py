"""The division of a node's energy among its jobs, sample by sample: it closes, and each job has what is its own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcfrugal.sidecar.agent.node_accounts import NodeAccounts
from hpcfrugal.sidecar.agent.node_job import NodeJob
from hpcfrugal.sidecar.sensor_in_use import ActiveChannel
from hpcfrugal.sidecar.sensors.base import Channel, Gpu

S = 10**9
GPU = "GPU-aaaa"


class Node:
    """Channels whose counters the test moves, a sample each second."""

    def __init__(
        self,
        *channels: Channel,
        jobs: tuple[NodeJob, ...] = (),
        busy_us: int | None = 0,
        cpus: int | None = None,
        idle_uw: dict[str, int] | None = None,
        slurm_cpus: int | None = None,
    ) -> None:
        self.entries = [ActiveChannel(channel) for channel in channels or (cpu(),)]
        self.at_ns = 0
        self.read(*[0] * len(self.entries))
        for entry in self.entries:
            entry.meter.restart()
        gpus = [Gpu(0, "GPU-of-amd", "c", domain="amd-gpu-0"), Gpu(0, GPU, "a"), Gpu(1, "GPU-bbbb", "b")]
        self.accounts = NodeAccounts(self.entries, gpus, jobs, busy_us, self.at_ns, cpus, idle_uw, slurm_cpus)

    def read(self, *counts_uj: int | None) -> None:
        self.at_ns += S
        for entry, count_uj in zip(self.entries, counts_uj, strict=True):
            entry.meter.update(self.at_ns, count_uj)


def cpu(domain: str = "package-0", source: str = "fake") -> Channel:
    return Channel("cpu", domain, source, max_w=10**6, detail="")


def gpu(uuid: str = GPU, scope: str = "job") -> Channel:
    return Channel("gpu", uuid, "fake", max_w=10**6, detail="", gpu_uuid=uuid, scope=scope)


def job(name: str, cpu_us: int = 0, gpus: list[str] | None = None, *, cpus: int | None = None) -> NodeJob:
    one = NodeJob(name, 0)
    one.cpu_us, one.cpus = cpu_us, cpus
    if gpus is not None:
        one.gpus = set(gpus)
    return one


def test_jobs_have_their_part_by_cpu_time() -> None:
    a, b = job("1"), job("2")
    node = Node(jobs=(a, b))
    a.cpu_us, b.cpu_us = 300_000, 100_000
    node.read(1_000)
    node.accounts.divide([a, b], 500_000, node.at_ns)
    assert (a.energy_uj, b.energy_uj, node.accounts.rest_uj) == ([600], [200], [200])
    assert node.accounts.energy_uj == [1_000]


def test_idle_energy_is_divided_by_the_cpus_that_jobs_hold() -> None:
    burning, idling, unknown = job("1", cpus=2), job("2", cpus=4), job("3")
    node = Node(cpu(), jobs=(burning, idling, unknown), cpus=8, idle_uw={"cpu": 800, "dram": 5})
    burning.cpu_us, unknown.cpu_us = 300_000, 100_000
    node.read(1_000)  # of which 800 are idle energy
    node.accounts.divide([burning, idling, unknown], 500_000, node.at_ns)
    assert (burning.energy_uj, burning.idle_uj) == ([200 * 3 // 5 + 200], [200])
    assert (idling.energy_uj, idling.idle_uj) == ([400], [400])
    assert (unknown.energy_uj, unknown.idle_uj) == ([40], [0])
    assert node.accounts.rest_uj == [40 + 200]  # the idle energy of CPUs that no job is known to hold


@pytest.mark.parametrize("source", ["fake", "another"])
def test_idle_energy_is_divided_among_the_channels_that_were_read(source: str) -> None:
    one = job("1", cpus=4)
    core = Channel("cpu", "package-0/core", "fake", max_w=10**6, detail="", counted=False)
    node = Node(cpu("package-0"), cpu("package-1", source), core, jobs=(one,), cpus=4, idle_uw={"cpu": 600})
    node.read(1_000, 2_000, 500)
    node.accounts.divide([one], 0, node.at_ns)
    assert (one.idle_uj, node.accounts.rest_uj) == ([200, 400, 0], [800, 1_600, 500])
    node.read(1_100, None, 500)  # draws less than it is thought to at rest
    node.accounts.divide([one], 0, node.at_ns)
    assert (one.idle_uj, node.accounts.rest_uj) == ([300, 400, 0], [800, 1_600, 500])
    node.read(2_100, 5_000, 500)  # of two seconds in the second package
    node.accounts.divide([one], 0, node.at_ns)
    assert one.idle_uj == [300 + 300, 400 + 600, 0]


def test_a_job_has_idle_energy_from_when_it_was_first_seen_and_all_no_more_than_there_is() -> None:
    a, b = job("1", cpus=8), job("2", cpus=8)
    node = Node(cpu(), jobs=(a,), cpus=8, idle_uw={"cpu": 800})
    b.first_ns = node.at_ns + S
    node.read(1_000)
    node.accounts.divide([a, b], 0, node.at_ns)
    assert (a.idle_uj, b.idle_uj) == ([800], [0])
    node.read(2_000)
    node.accounts.divide([a, b], 0, node.at_ns)
    assert (a.idle_uj, b.idle_uj, node.accounts.rest_uj) == ([1_200], [400], [400])


def test_a_job_holds_no_more_cpus_than_there_are() -> None:
    a, b, c = job("1", cpus=4), job("2", cpus=8_000), job("3")
    c.slurm_cpus = 8_000
    node = Node(cpu(), jobs=(a, b, c), cpus=4, idle_uw={"cpu": 900})
    node.read(1_000)
    node.accounts.divide([a, b, c], 100, node.at_ns)
    assert (a.idle_uj, b.idle_uj, c.idle_uj) == ([300], [300], [300])


@pytest.mark.parametrize(("slurm_cpus", "of_slurm"), [(8, 400), (None, 200)])
def test_idle_energy_where_slurm_counts_cores(slurm_cpus: int | None, of_slurm: int) -> None:
    """Two threads a core: 4 of 8 cores are a half of the node, as 8 of 16 CPUs of Linux."""
    confined, other = job("1", cpus=8), job("2")
    other.slurm_cpus = 4
    node = Node(cpu(), jobs=(confined, other), cpus=16, idle_uw={"cpu": 800}, slurm_cpus=slurm_cpus)
    node.read(1_000)
    node.accounts.divide([confined, other], 100, node.at_ns)
    assert (confined.idle_uj, other.idle_uj) == ([400], [of_slurm])


def test_a_failed_reading_is_divided_by_the_cpu_times_over_all_of_its_interval() -> None:
    a, b = job("1"), job("2")
    node = Node(cpu("package-0"), cpu("package-1"), jobs=(a, b))
    a.cpu_us = 100
    node.read(None, 1_000)
    node.accounts.divide([a, b], 100, node.at_ns)
    assert (a.energy_uj, node.accounts.energy_uj) == ([0, 1_000], [None, 1_000])
    b.cpu_us = 300
    node.read(2_000, 2_000)
    node.accounts.divide([a, b], 400, node.at_ns)
    assert (a.energy_uj, b.energy_uj) == ([500, 1_000], [1_500, 1_000])
    assert node.accounts.rest_uj == [0, 0]


def test_without_the_busy_time_of_the_node_all_is_the_rest() -> None:
    a = job("1")
    node = Node(jobs=(a,), busy_us=None)
    a.cpu_us = 100
    node.read(1_000)
    node.accounts.divide([a], None, node.at_ns)
    assert (a.energy_uj, node.accounts.rest_uj, node.accounts.energy_uj) == ([0], [1_000], [1_000])


def test_a_gpu_belongs_to_its_holder_and_one_with_two_holders_to_none() -> None:
    a, b = job("1", gpus=["0"]), job("2", gpus=["GPU-bb"])
    node = Node(gpu(), gpu("GPU-bbbb"), gpu("GPU-cccc"), gpu(scope="node"), jobs=(a, b))
    node.read(1_000, 2_000, 3_000, 4_000)
    node.accounts.divide([a, b], 0, node.at_ns)
    assert (a.energy_uj, b.energy_uj) == ([1_000, 0, 0, 0], [0, 2_000, 0, 0])
    assert node.accounts.rest_uj == [0, 0, 3_000, 4_000]
    thief = job("3", gpus=["0"])
    node.read(1_500, 2_000, 3_000, 4_000)
    node.accounts.divide([a, b, thief], 0, node.at_ns)
    assert (a.energy_uj[0], thief.energy_uj[0], node.accounts.rest_uj[0]) == (1_000, 0, 500)


def test_a_number_of_slurm_is_that_of_one_gpu_where_two_drivers_have_it() -> None:
    a, b = job("1", gpus=["0"]), job("2", gpus=["GPU-of-amd"])
    node = Node(gpu(), gpu("GPU-of-amd"), jobs=(a,))
    node.read(1_000, 2_000)
    node.accounts.divide([a], 0, node.at_ns)
    assert (a.energy_uj, node.accounts.rest_uj) == ([1_000, 0], [0, 2_000])
    node.read(1_500, 4_000)
    node.accounts.divide([a, b], 0, node.at_ns)
    assert (a.energy_uj, b.energy_uj) == ([1_500, 0], [0, 2_000])


def test_a_gpu_goes_on_to_the_next_job_when_one_has_ended() -> None:
    a, b = job("1", gpus=["0"]), job("2", gpus=["0"])
    node = Node(gpu(), jobs=(a,))
    a.ended_ns = 5
    node.read(1_000)
    node.accounts.divide([a], 0, node.at_ns)
    assert (a.energy_uj, node.accounts.ended_uj) == ([1_000], [1_000])
    node.read(1_700)
    node.accounts.divide([b], 0, node.at_ns)
    assert (a.energy_uj, b.energy_uj, node.accounts.ended_uj) == ([1_000], [700], [1_000])


@settings(max_examples=40)
@given(st.data())
def test_jobs_ended_jobs_and_rest_are_the_node(data: st.DataObject) -> None:
    """Whatever fails, begins and ends."""
    here: list[NodeJob] = []
    idle_uw = data.draw(st.sampled_from([{}, {"cpu": 10**5}, {"cpu": 10**9}]))
    node = Node(cpu("package-0"), cpu("package-1"), gpu(), jobs=(), cpus=4, idle_uw=idle_uw)
    counts_uj = [0, 0, 0]
    busy_us = 0
    for step in range(data.draw(st.integers(1, 12))):
        counts_uj = [count + data.draw(st.integers(0, 10**6)) for count in counts_uj]
        shown = [data.draw(st.sampled_from([count, None])) for count in counts_uj]
        here += [job(str(step), gpus=["0"], cpus=step or None) for _ in range(data.draw(st.integers(0, 2)))]
        for one in here:
            one.cpu_us += data.draw(st.integers(0, 10**6))
        busy_us += data.draw(st.integers(0, 10**6))
        for one in here:
            if data.draw(st.integers(0, 3)) == 0:
                one.ended_ns = step
        node.read(*shown)
        node.accounts.divide(here, data.draw(st.sampled_from([busy_us, None])), node.at_ns)
        here = [one for one in here if one.ended_ns is None]
        accounts = node.accounts
        for index, energy_uj in enumerate(accounts.energy_uj):
            jobs_uj = [one.energy_uj[index] for one in here]
            assert (energy_uj or 0) == accounts.rest_uj[index] + accounts.ended_uj[index] + sum(jobs_uj)
            assert min(accounts.rest_uj[index], *jobs_uj, 0) == 0
            assert all(one.idle_uj[index] <= one.energy_uj[index] for one in here)
