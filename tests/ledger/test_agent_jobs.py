"""Jobs get what node agents measured of them, in place of models and of what sidecars measured at the same time."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from accounted import answer, row
from fake_agent import FakeAgent
from fake_spool import SECOND, START_NS, FakeSpool

from hpcfrugal.ledger import store
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.closure import closed_nodes
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.rows import ChannelRow, JobRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.spool.cluster_documents import (
    ClusterFacts,
    EnergyVerdicts,
    NodeClass,
    SetupVerdict,
    SlurmSetup,
    store_cluster_document,
)

HOUR = 3600
SLUID = "sEKNKTV3WPV500"


def jobs(spool: FakeSpool) -> list[JobRow]:
    sync(spool.root, spool.ledger)
    found = check_ledger(spool.root, spool.ledger)
    assert (found.damage, found.differences) == ((), ())
    with open_ledger(spool.ledger) as connection:
        return find_jobs(connection, JobFilter())


def counted(job: JobRow) -> list[ChannelRow]:
    return [channel for channel in job.channels if channel.counted]


def figures(channels: Sequence[ChannelRow]) -> list[tuple[str, str, str, float | None]]:
    return [
        (one.component, one.source, one.quality, None if one.energy_uj is None else one.energy_uj / 1e6)
        for one in channels
    ]


def agent_with_a_job(spool: FakeSpool, before_s: int = 600, job_id: str = "900") -> FakeAgent:
    """An agent from ``before_s`` before START on, and a job of 50 W from START to an hour later."""
    agent = FakeAgent(spool.root, start_ns=START_NS - before_s * SECOND)
    agent.advance(before_s)
    agent.start(job_id, 50)
    agent.advance(HOUR)
    agent.end(job_id)
    agent.advance(120)
    return agent


def test_a_job_that_only_slurm_has_is_measured_where_the_agent_was(spool: FakeSpool) -> None:
    agent_with_a_job(spool)
    answer(spool, row(NodeList="n1"))
    (job,) = jobs(spool)
    assert figures(counted(job)) == [("cpu", "agent", "measured", 180_000), ("dram", "agent", "measured", 45_000)]
    (whole,) = [channel for channel in job.channels if not channel.counted]
    assert (whole.component, whole.boundary, whole.energy_uj) == ("node", "node", 270_000_000_000)
    assert all(one.measured_ns == pytest.approx(HOUR * SECOND, abs=2 * SECOND) for one in job.channels)
    assert {one.attribution for one in job.channels} == {"agent"}
    sums = job.totals.sums
    assert (sums.measured_uj, sums.modelled_uj, job.totals.complete) == (225_000_000_000, None, True)
    assert (sums.coverage, job.totals.lacks_idle) == (1.0, True)
    with open_ledger(spool.ledger) as connection:
        query = "SELECT DISTINCT job_id, user, restart FROM node_job_buckets"
        assert [tuple(each) for each in connection.execute(query)] == [("900", "alice", 0)]


@pytest.mark.parametrize("agent_first", [True, False])
def test_a_job_of_which_the_agent_has_only_the_sluid(spool: FakeSpool, agent_first: bool) -> None:
    def seen() -> None:
        agent = FakeAgent(spool.root)
        for name, watts in ((SLUID, 50), ("sOTHER00000000", 7)):
            agent.start(name, watts)
            agent.jobs[name] |= {"job_id": None, "sluid": name}
        agent.advance(HOUR)
        agent.end(SLUID)

    if agent_first:
        seen()
        assert jobs(spool) == []
    answer(spool, row(NodeList="n1", SLUID=SLUID), row("901", NodeList="n1"))
    if not agent_first:
        assert [job.totals.sums.measured_uj for job in jobs(spool)] == [None, None]
        seen()
    found = {job.job_id: job.totals.sums.measured_uj for job in jobs(spool)}
    assert found == {"900": 225_000_000_000, "901": None}
    with open_ledger(spool.ledger) as connection:
        query = "SELECT DISTINCT job_id, name FROM node_job_buckets ORDER BY 1"
        assert [tuple(each) for each in connection.execute(query)] == [(None, "sOTHER00000000"), ("900", SLUID)]


def test_the_spool_of_a_site_that_was_moved_counts_once(spool: FakeSpool, tmp_path: Path) -> None:
    """It has no runs: what agents measured in it is not another spool's."""
    agent_with_a_job(spool)
    answer(spool, row(NodeList="n1"))
    before = jobs(spool)
    content = dump(spool.ledger)
    spool.root = spool.root.rename(tmp_path / "elsewhere")
    assert jobs(spool) == before
    assert dump(spool.ledger) == content
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == content


def test_where_the_agent_was_for_a_part_the_rest_stays_modelled(spool: FakeSpool) -> None:
    answer(spool, row(NodeList="n1"))
    modelled = {one.component: one.energy_uj or 0 for one in jobs(spool)[0].channels}
    agent = FakeAgent(spool.root, start_ns=START_NS + HOUR // 4 * SECOND)
    agent.start("900", 50)
    agent.advance(3 * HOUR // 4)
    agent.end("900")
    (job,) = jobs(spool)
    found = {(one.component, one.quality): one for one in counted(job)}
    assert found["cpu", "measured"].energy_uj == 50 * 3 * HOUR // 4 * 10**6
    for component in ("cpu", "dram"):
        rest = found[component, "modelled"]
        assert rest.energy_uj == pytest.approx(modelled[component] / 4, rel=0.002)
        assert rest.range_uj is not None
        assert rest.range_uj[0] < rest.energy_uj < rest.range_uj[1]
        assert rest.measured_ns == pytest.approx(HOUR // 4 * SECOND, abs=2 * SECOND)
    sums = job.totals.sums
    assert (job.totals.complete, sums.coverage) == (True, pytest.approx(1.0, abs=0.001))
    assert sums.modelled_uj == sum(found[one, "modelled"].energy_uj or 0 for one in ("cpu", "dram"))


def test_of_a_job_with_a_sidecar_the_share_by_the_agent_counts(spool: FakeSpool) -> None:
    agent_with_a_job(spool, job_id="17")
    run = spool.run()
    run.samples([run.header(), *run.records([90, 30], HOUR)])
    run.slurm(end_s=HOUR)
    answer(spool, row("17", NodeList="n1"))
    (job,) = jobs(spool)
    assert figures(counted(job)) == [("cpu", "agent", "measured", 180_000), ("dram", "agent", "measured", 45_000)]
    aside = [channel for channel in job.channels if not channel.counted and channel.boundary == "components"]
    assert figures(aside) == [
        ("cpu", "rapl-powercap", "measured", 324_000),
        ("dram", "rapl-powercap", "measured", 108_000),
    ]
    assert [channel.reason for channel in aside] == ["the share by the node's agent counts"] * 2
    assert job.totals.sums.measured_uj == 225_000_000_000
    assert job.totals.scope == "share of the node"  # though the sidecar's was the whole node


OF_ONE_PIECE = (
    ("cpu", "package-0", "components", False, 1000),
    ("gpu", "amd-gpu-0", "components", True, 2000),
)
"""The channels of a node whose processor and GPU are of one piece."""


@pytest.mark.parametrize("with_sidecar", [False, True])
def test_the_processor_of_a_node_is_not_counted_a_second_time_beside_its_gpu(
    spool: FakeSpool, with_sidecar: bool
) -> None:
    """The GPU's power, with that of the processor in it, is the job's that holds it; the other job has no part of it
    that is known, whether Slurm's accounting alone has it or a sidecar read the processor beside it."""
    agent = FakeAgent(spool.root, channels=OF_ONE_PIECE)
    agent.gpu_job = "900"
    agent.start("900", 50)
    agent.start("901", 20)
    agent.advance(HOUR)
    agent.end("900")
    agent.end("901")
    agent.record("end")
    answer(spool, row(NodeList="n1"), row("901", NodeList="n1"))
    if with_sidecar:
        run = spool.run("901")
        run.samples([run.header("901", exclusive=False), *run.records([90, 30], HOUR)], "901")
        run.slurm(job_id="901", end_s=HOUR)
    found = {job.job_id: job for job in jobs(spool)}
    assert figures(counted(found["900"])) == [("gpu", "agent", "measured", 360_000)]
    other = found["901"]
    assert {(one.quality, one.energy_uj, one.reason) for one in counted(other)} == {
        ("unknown", None, "in the power of GPUs of the node that are not the job's")
    }
    assert {one.component for one in counted(other)} == {"cpu", "dram"}
    assert (other.totals.complete, other.totals.sums.measured_uj, other.totals.sums.modelled_uj) == (False, None, None)
    with open_ledger(spool.ledger) as connection:
        (at,) = closed_nodes(connection, (0, START_NS + 86_400 * SECOND))["n1"].days.values()
    balance = at.balance
    assert balance is not None
    assert balance.jobs_uj == sum(job.totals.sums.measured_uj or 0 for job in found.values())
    assert balance.node_uj == (50 * 2 + 10 * 2) * HOUR * 10**6


def test_where_the_agent_is_missing_the_sidecar_counts(spool: FakeSpool) -> None:
    agent = FakeAgent(spool.root, start_ns=START_NS - 60 * SECOND)
    agent.advance(60)
    agent.start("17", 50)
    agent.advance(HOUR // 3)  # then it is killed
    run = spool.run()
    run.samples([run.header(), *run.records([90, 30], HOUR)])
    run.slurm(end_s=HOUR)
    answer(spool, row("17", NodeList="n1"))
    (job,) = jobs(spool)
    cpu = [one for one in counted(job) if one.component == "cpu"]
    assert figures(cpu) == [
        ("cpu", "agent", "measured", 50 * HOUR / 3),
        ("cpu", "rapl-powercap", "measured", pytest.approx(90 * HOUR * 2 / 3)),
    ]
    assert (job.totals.sums.coverage, job.totals.complete) == (1.0, True)
    # once the agent's file is read on, nothing is left of that
    agent.advance(2 * HOUR // 3)
    agent.end("17")
    (job,) = jobs(spool)
    assert figures(counted(job)) == [("cpu", "agent", "measured", 180_000), ("dram", "agent", "measured", 45_000)]


def test_the_share_by_the_agent_counts_before_the_energy_of_slurm(spool: FakeSpool) -> None:
    agent_with_a_job(spool)
    answer(spool, row(NodeList="n1", ConsumedEnergyRaw=str(300 * HOUR), AllocCPUS="8"))
    setup = SlurmSetup(START_NS, "24.11.5", "ipmi", contain=True, step_s=30)
    store_cluster_document(spool.root, ClusterFacts("lab", (setup,), (NodeClass("n1", 8, 8, 16_000),)))
    verdicts = (SetupVerdict(setup.release, setup.plugin, "measured"),)
    store_cluster_document(spool.root, EnergyVerdicts("lab", 1, START_NS, verdicts, ""))
    (job,) = jobs(spool)
    assert figures(counted(job)) == [("cpu", "agent", "measured", 180_000), ("dram", "agent", "measured", 45_000)]
    # the documents are read first where the agent's file comes later
    (spool.root / "agents").rename(spool.root / "later")
    spool.ledger.unlink()
    (job,) = jobs(spool)
    assert figures(counted(job)) == [("node", "slurm-energy", "measured", 300 * HOUR)]
    (spool.root / "later").rename(spool.root / "agents")
    (job,) = jobs(spool)
    assert figures(counted(job)) == [("cpu", "agent", "measured", 180_000), ("dram", "agent", "measured", 45_000)]


def test_each_restart_has_its_own_energy_and_so_has_a_number_that_comes_again(spool: FakeSpool) -> None:
    agent = FakeAgent(spool.root, start_ns=START_NS - 60 * SECOND)
    agent.advance(60)
    agent.start("900", 50)
    agent.advance(HOUR)
    agent.end("900")
    agent.advance(120)
    agent.start("900", 20)
    agent.advance(600)
    agent.end("900")
    agent.record("end")
    first = row(NodeList="n1", State="REQUEUED")
    again = row(start=HOUR + 120, end=HOUR + 720, NodeList="n1", Submit=first["End"])
    long_ago = row(start=-200 * 86_400, end=-200 * 86_400 + 100, NodeList="n1")
    answer(spool, first, again, long_ago)
    found = [
        (job.restart, {one.source: one.energy_uj for one in counted(job) if one.component == "cpu"})
        for job in jobs(spool)
    ]
    assert found[1:] == [(0, {"agent": 180_000_000_000}), (1, {"agent": 12_000_000_000})]
    assert list(found[0][1]) == ["model-tdp"]


def test_it_does_not_matter_what_was_read_first(spool: FakeSpool) -> None:
    agent = FakeAgent(spool.root, start_ns=START_NS - 60 * SECOND)
    agent.advance(60)
    agent.start("900", 50)
    agent.start("17", 5)
    agent.advance(1000)
    sync(spool.root, spool.ledger)
    answer(spool, row(end=None, NodeList="n1"), row("17", end=None, NodeList="n1"), asked_s=60_000)
    _, running = jobs(spool)
    assert not running.totals.complete
    assert ("cpu", "agent", "measured", 48_000) in figures(counted(running))
    run = spool.run()
    run.samples([run.header(), *run.records([90, 30], 900)])
    run.slurm("RUNNING", end_s=None)
    sync(spool.root, spool.ledger)
    agent.advance(HOUR - 1000)
    agent.end("900")
    agent.end("17")
    sync(spool.root, spool.ledger)
    run.samples([run.header(), *run.records([90, 30], HOUR)])
    run.slurm(end_s=HOUR)
    answer(spool, row(NodeList="n1"), row("17", NodeList="n1"), asked_s=70_000)
    assert all(job.totals.complete for job in jobs(spool))
    expected = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == expected


def killed_sync(spool: FakeSpool, steps: int | None) -> int:
    """A sync in a process of its own that is killed after so many steps of SQLite (None: not); how many it took."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        count = 0

        class Connection(LedgerConnection):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self.set_progress_handler(step, 50)

        def step() -> int:
            nonlocal count
            count += 1
            if count == steps:
                os.kill(os.getpid(), signal.SIGKILL)
            return 0

        try:
            store.LedgerConnection = Connection  # type: ignore[misc]
            sync(spool.root, spool.ledger)
            os.write(writer, str(count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        took = pipe.read()
    os.waitpid(pid, 0)
    return int(took or 0)


def test_a_sync_that_is_killed_at_any_moment_loses_nothing_and_counts_nothing_twice(spool: FakeSpool) -> None:
    agent = FakeAgent(spool.root, start_ns=START_NS - 60 * SECOND)
    agent.advance(60)
    run = spool.run()
    moments, draw, killed = 16, random.Random(5), 0
    agent.start("17", 5)
    agent.start("900", 50)
    steps = killed_sync(spool, None)
    for moment in range(moments):
        if moment == moments // 2:
            agent.end("17")
        agent.advance(HOUR // moments)
        run.samples([run.header(), *run.records([90, 30], min(agent.at_s - 60, HOUR // 2))])
        ended = HOUR // 2 if moment > moments // 2 else None
        answer(spool, row(end=None, NodeList="n1"), row("17", end=ended, NodeList="n1"), asked_s=50_000 + moment)
        took = killed_sync(spool, draw.randrange(1, max(2, steps)))
        killed += not took
        steps = took or steps * 2
    assert killed >= moments // 2
    agent.end("900")
    agent.record("end")
    answer(spool, row(NodeList="n1"), row("17", end=HOUR // 2, NodeList="n1"), asked_s=60_000)
    found = {job.job_id: job.totals.sums.measured_uj for job in jobs(spool)}
    assert found == {"17": 5 * HOUR // 2 * 1_250_000, "900": 50 * HOUR * 1_250_000}
    expected = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == expected
