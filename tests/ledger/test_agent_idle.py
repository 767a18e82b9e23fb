"""Idle energy of a node with an agent, by a known truth: one job burns, one sleeps, and some CPUs are nobody's."""

from __future__ import annotations

from accounted import answer, row
from fake_agent import FakeAgent
from fake_spool import SECOND, START_NS, FakeSpool

from hpcfrugal.ledger.closure import closed_nodes
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.sidecar.agent.node_accounts import NodeAccounts
from hpcfrugal.sidecar.agent.node_job import NodeJob
from hpcfrugal.sidecar.sensor_in_use import ActiveChannel
from hpcfrugal.sidecar.sensors.base import Channel

CHANNELS = (("cpu", "package-0", "components", True, 1000), ("cpu", "package-0/core", "components", False, 1000))
IDLE_W, CPUS, SECONDS = 80, 8, 1800
FIGURES = [{"component": "cpu", "power_uw": IDLE_W * 10**6, "source": "a wattmeter"}]


def node_of_two_jobs(spool: FakeSpool) -> FakeAgent:
    """Half an hour of 100 W, of which 80 W are drawn at rest: 2 CPUs of job 900 are busy, 4 of job 901 are not."""
    agent = FakeAgent(spool.root, start_ns=START_NS, channels=CHANNELS, idle_power=FIGURES)
    entries = [ActiveChannel(Channel("cpu", domain, "fake", max_w=1000, detail="")) for domain in ("p", "p/core")]
    entries[1].channel.counted = False
    begin_ns = agent.boottime_ns
    for entry in entries:
        entry.meter.update(begin_ns, 0)
        entry.meter.restart()
    jobs = [NodeJob("900", begin_ns, uid=1000), NodeJob("901", begin_ns, uid=1001)]
    jobs[0].cpus, jobs[1].cpus = 2, 4
    accounts = NodeAccounts(entries, [], jobs, 0, begin_ns, CPUS, {"cpu": IDLE_W * 10**6})
    for second in range(1, SECONDS + 1):
        agent.at_s = second
        jobs[0].cpu_us = 2 * second * 10**6
        for entry, power_w in zip(entries, (100, 50), strict=True):
            entry.meter.update(agent.boottime_ns, power_w * second * 10**6)
        accounts.divide(jobs, jobs[0].cpu_us, agent.boottime_ns)
        if second % 60 == 0:
            lines = [job.line() for job in jobs]
            agent.record(energy_uj=accounts.energy_uj, rest_uj=accounts.rest_uj, jobs=lines)
    for job in jobs:
        agent.write(kind="job", ended_ns=agent.boottime_ns, **job.line())
    return agent


def test_jobs_and_rest_with_idle_power_are_the_node_in_every_bucket(spool: FakeSpool) -> None:
    answer(
        spool,
        row("900", end=SECONDS, NodeList="n1"),
        row("901", end=SECONDS, NodeList="n1", User="bob"),
    )
    node_of_two_jobs(spool)
    assert not sync(spool.root, spool.ledger).problem_files
    with open_ledger(spool.ledger) as connection:
        query = "SELECT energy_uj, jobs_uj, rest_uj FROM node_buckets WHERE counted ORDER BY started"
        node = [tuple(each) for each in connection.execute(query)]
        query = "SELECT job_id, energy_uj FROM node_job_buckets WHERE counted ORDER BY job_id, started"
        parts = [tuple(each) for each in connection.execute(query)]
        query = "SELECT job_id, measured_j FROM jobs_energy ORDER BY job_id"
        energies = [tuple(each) for each in connection.execute(query)]
        found = {job.job_id: job for job in find_jobs(connection, JobFilter())}
        closed = closed_nodes(connection, (START_NS, START_NS + SECONDS * SECOND))
    # 20 W by CPU time and 2 of 8 CPUs' part of 80 W; 4 CPUs' part; and that of 2 CPUs which no job holds
    whole = SECONDS // 300
    assert node == [(100 * 300 * 10**6, 80 * 300 * 10**6, 20 * 300 * 10**6)] * whole
    assert parts == [("900", 40 * 300 * 10**6)] * whole + [("901", 40 * 300 * 10**6)] * whole
    assert energies == [("900", 40.0 * SECONDS), ("901", 40.0 * SECONDS)]
    (channel,) = [one for one in found["900"].channels if one.counted and one.source == "agent"]
    assert (channel.idle_uj, channel.idle_power) == (20 * SECONDS * 10**6, "80 W (a wattmeter)")
    totals = found["901"].totals
    assert (totals.lacks_idle, totals.idle_power) == (False, "known: cpu 80 W (a wattmeter)")
    (balance,) = [day.balance for day in closed["n1"].days.values()]
    assert balance is not None
    assert (balance.jobs_uj, balance.idle_uj, balance.system_uj) == (80 * SECONDS * 10**6, 0, 20 * SECONDS * 10**6)
    content = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == content


def test_a_job_whose_cpus_are_not_known_has_no_idle_energy_and_lacks_it(spool: FakeSpool) -> None:
    agent = FakeAgent(spool.root, channels=CHANNELS, idle_power=FIGURES)
    agent.start("900", 50, cpus=None)
    agent.advance(3600)
    agent.end("900")
    answer(spool, row("900", NodeList="n1"))
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
    assert job.totals.lacks_idle
    assert {one.idle_uj for one in job.channels} == {None}
