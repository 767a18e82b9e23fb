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


def any_history(spool: FakeSpool, draw: random.Random) -> FakeAgent:
    """Jobs that come and go, an agent that is killed, sensors that are not read for some time, lines that are late or
    lost."""
    agent = FakeAgent(spool.root, start_ns=START_NS + draw.randrange(300) * SECOND, record_s=draw.choice((7, 60, 200)))
    late: list[str] = []
    for number in range(60):
        event = draw.choice(("start", "start", "end", "wait", "wait", "late", "lost", "gap", "kill", "restart"))
        if event == "start":
            agent.start(str(900 + number), draw.randrange(1, 80))
        elif event in ("end", "late", "lost") and agent.jobs:
            before = agent.path.read_text()
            agent.end(draw.choice(sorted(agent.jobs)))
            if event != "end":
                late += [agent.path.read_text().removeprefix(before)] if event == "late" else []
                agent.path.write_text(before)
        elif event == "gap":
            at_s = agent.at_s - agent.begun_s
            agent.record(measured_ns=[at_s * SECOND // 2] * len(agent.channels))
        elif event == "kill":
            for job_id in sorted(agent.jobs)[:1]:
                del agent.jobs[job_id]
            agent.begin()
            late = []
        elif event == "restart":
            agent.record("end")
            agent.begin()
            late = []
        agent.advance(draw.choice((1, 30, 59, 300, 900)))
        if late and draw.random() < 0.5:
            with agent.path.open("a") as file:
                file.write(late.pop())
    return agent


@pytest.mark.parametrize("seed", range(6))
def test_a_file_that_grows_gives_the_same_as_one_that_is_read_whole(spool: FakeSpool, seed: int) -> None:
    draw = random.Random(seed)
    agent = any_history(spool, draw) if seed else day_of_jobs(spool)
    whole = agent.path.read_bytes()
    sync(spool.root, spool.ledger)
    expected = dump(spool.ledger)
    of_node = "SELECT domain, started, sum(energy_uj), sum(jobs_uj) FROM node_buckets GROUP BY 1, 2"
    of_jobs = "SELECT domain, started, sum(energy_uj) FROM node_job_buckets GROUP BY 1, 2"
    jobs_uj = {place: energy_uj for *place_, energy_uj in rows(spool, of_jobs) if (place := tuple(place_))}
    for domain, started, _, part_uj in rows(spool, of_node):
        assert part_uj == jobs_uj.pop((domain, started), 0)
    assert not any(jobs_uj.values())
    spool.ledger.unlink()
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


def test_a_copy_under_the_name_of_another_day_does_not_count(spool: FakeSpool) -> None:
    agent = day_of_jobs(spool)
    sync(spool.root, spool.ledger)
    query = "SELECT count(*), sum(energy_uj) FROM node_buckets"
    expected = rows(spool, query)
    agent.path.with_name("2026-11-24.jsonl").write_bytes(agent.path.read_bytes())
    assert sync(spool.root, spool.ledger).problem_files == 1
    assert rows(spool, query) == expected
    ((problems,),) = rows(spool, "SELECT problems FROM agent_files WHERE name LIKE '%24.jsonl'")
    assert "2 lines: header of another day than that of its file" in problems


def test_a_link_does_not_count_until_a_file_takes_its_place(spool: FakeSpool) -> None:
    agent = day_of_jobs(spool)
    agent.path.rename(agent.path.with_name("kept"))
    agent.path.symlink_to(agent.path.with_name("kept"))
    assert sync(spool.root, spool.ledger).problem_files == 1
    assert rows(spool, "SELECT accepted, problems FROM agent_files") == [(0, '["a symbolic link, not followed"]')]
    assert rows(spool, "SELECT count(*) FROM node_buckets") == [(0,)]
    agent.path.unlink()
    agent.path.with_name("kept").rename(agent.path)
    assert sync(spool.root, spool.ledger).problem_files == 0
    assert rows(spool, "SELECT count(*) > 0 FROM node_buckets") == [(1,)]
