"""The files of node agents in the ledger: energy of the node by time, and what jobs had of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fake_agent import FakeAgent
from fake_spool import SECOND, START_NS, FakeSpool

from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync


def rows(spool: FakeSpool, query: str) -> list[tuple[Any, ...]]:
    with open_ledger(spool.ledger) as connection:
        return [tuple(row) for row in connection.execute(query)]


def day_of_jobs(spool: FakeSpool) -> FakeAgent:
    """Two hours: jobs that share the node, a short one, one that the agent saw end after its last record."""
    agent = FakeAgent(spool.root, start_ns=START_NS + 17 * SECOND)
    agent.advance(130)
    agent.start("900", 50)
    agent.advance(1000)
    agent.start("901", 7)
    agent.advance(3)
    agent.end("901")
    agent.start("902", 20)
    agent.advance(3600)
    agent.end("900")
    agent.advance(700)
    agent.record("end")
    agent.begin()
    agent.advance(400)
    agent.end("902")
    return agent


def test_jobs_and_rest_are_the_node_in_each_bucket(spool: FakeSpool) -> None:
    day_of_jobs(spool)
    sync(spool.root, spool.ledger)
    found = rows(
        spool,
        "SELECT node, domain, started, sum(energy_uj), sum(jobs_uj), sum(rest_uj), min(rest_uj)"
        " FROM node_buckets GROUP BY 1, 2, 3",
    )
    query = "SELECT domain, started, sum(energy_uj) FROM node_job_buckets GROUP BY 1, 2"
    of_jobs = {(domain, started): energy_uj for domain, started, energy_uj in rows(spool, query)}
    assert {domain for _, domain, *_ in found} == {"package-0", "package-0/dram", "psys"}
    for _, domain, started, energy_uj, jobs_uj, rest_uj, least_uj in found:
        assert energy_uj == jobs_uj + rest_uj
        assert jobs_uj == of_jobs.get((domain, started), 0)
        assert least_uj >= 0
    whole = {domain: sum(row[3] for row in found if row[1] == domain) for domain in ("package-0", "psys")}
    true_j = 10 * 5833 + 50 * 4603 + 7 * 3 + 20 * 4700
    # of the last 13 s there is no record: of these only what the job had is known
    assert whole == {"package-0": (true_j - 10 * 13) * 10**6, "psys": (true_j - 10 * 13) * 1_500_000}


def test_a_job_has_its_energy_in_the_buckets_in_which_it_ran(spool: FakeSpool) -> None:
    day_of_jobs(spool)
    sync(spool.root, spool.ledger)
    found = rows(
        spool,
        "SELECT started, sum(energy_uj) FROM node_job_buckets WHERE job_id = '900' AND domain = 'package-0' GROUP BY 1",
    )
    assert [energy_uj for _, energy_uj in found][1:-1] == [50 * 300 * 10**6] * (len(found) - 2)
    assert sum(energy_uj for _, energy_uj in found) == 50 * 4603 * 10**6


@pytest.mark.parametrize("seed", range(4))
def test_a_file_that_grows_gives_the_same_as_one_that_is_read_whole(spool: FakeSpool, seed: int) -> None:
    agent = day_of_jobs(spool)
    whole = agent.path.read_bytes()
    sync(spool.root, spool.ledger)
    expected = dump(spool.ledger)
    spool.ledger.unlink()
    draw = random.Random(seed)
    agent.path.write_bytes(b"")
    done = 0
    for cut in [*sorted(draw.randrange(len(whole)) for _ in range(12)), len(whole)]:
        with agent.path.open("ab") as file:
            file.write(whole[done:cut])
        done = cut
        sync(spool.root, spool.ledger)
    assert dump(spool.ledger) == expected
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == expected
