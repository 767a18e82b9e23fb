"""Sums over periods: the roll-up, the edges of a period, jobs by day and buckets are the same energy, in integers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fake_spool import PACKAGE, SECOND, START_NS, FakeSpool

from hpcfrugal.core.time import from_ns
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.due import DAY_NS, Defaults
from hpcfrugal.ledger.footprints import Intensities
from hpcfrugal.ledger.groups import grouped
from hpcfrugal.ledger.parts import counted_channels, not_started
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.refresh import compute
from hpcfrugal.ledger.rollup import refresh_rollup
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sums import EnergySums, total_of
from hpcfrugal.ledger.sync import sync
from hpcfrugal.ledger.totals import JobEnergy, JobSlot

HOUR = 3600 * SECOND
MIDNIGHT = START_NS - 10 * HOUR
BY = [
    (), ("user",), ("project",), ("name",), ("component",), ("node",), ("day",), ("month",), ("user", "month"),
    ("node", "component"), ("tag:phase", "day"), ("account", "partition"), ("qos",), ("phase",),
]  # fmt: skip


def ran(spool: FakeSpool, job_id: str, start_ns: int, seconds: int, draw: random.Random, **changes: Any) -> None:
    """A job on one or two nodes; its memory is modelled, and some lack a sensor, an end or samples."""
    run = spool.run(job_id, **changes)
    shift = (start_ns - START_NS) / SECOND
    kind = draw.choice(["whole", "whole", "no samples", "half", "gpu not found"])
    nodes = draw.choice([("n1",), ("n1", "n2")])
    for node in nodes if kind != "no samples" else ():
        step = seconds / 10
        lines = [
            run.header(job_id, node=node, channels=[PACKAGE], gpus_promised=1 if kind == "gpu not found" else None)
        ]
        lines += run.records([draw.randint(1, 300)], seconds, step)[: 6 if kind == "half" else None]
        for line in lines:
            line["wall_ns"] += start_ns - START_NS
            line["boottime_ns"] += start_ns - START_NS
        run.samples(lines, job_id, node=node)
    if draw.random() < 0.9:
        run.slurm(
            job_id=job_id, start_s=shift, end_s=shift + seconds, nodes=nodes,
            account=draw.choice(["a", "b"]), partition=draw.choice(["p", "q"]),
        )  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> FakeSpool:
    """Thirty jobs over three days, on both sides of a month's end; of one in four the zone is not known."""
    draw = random.Random(11)
    spool = FakeSpool(tmp_path_factory.mktemp("many"))
    for number in range(30):
        spec = {"name": draw.choice("xyz"), "tags": {"phase": draw.choice("tv")} if number % 3 else {}}
        start_ns = MIDNIGHT + 9 * DAY_NS + draw.randrange(0, 3 * DAY_NS // SECOND) * SECOND
        changes = {"user": draw.choice(["alice", "bob", "carol"]), "spec": spec}
        if number % 4:
            changes["carbon"] = {"zone": draw.choice(["FR", "DE"]), "pue": draw.choice([None, 1.3])}
        ran(spool, str(100 + number), start_ns, draw.choice([7, 600, 5000, 40_000, 100_000]), draw, **changes)
    spool.run("200").slurm("PENDING", job_id="200", start_s=None, end_s=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcfrugal.spool.documents.owner_name", lambda uid, said: said)
        sync(spool.root, spool.ledger, defaults=Defaults(None, 1.1))
    return spool


def label(job: JobRow, key: str, node: str, component: str, start_ns: int) -> str | None:
    if key.startswith("tag:"):
        return job.tags.get(key[4:])
    if key in ("day", "month"):
        return f"{from_ns(start_ns):{'%Y-%m-%d' if key == 'day' else '%Y-%m'}}"
    found: str | None = {"node": node, "component": component}.get(key) or getattr(job, key, None)
    return found


Expected = dict[tuple[str | None, ...], tuple[set[int], dict[str, EnergySums]]]


def one_by_one(jobs: list[JobRow], slots: dict[int, list[JobSlot]], wanted: JobFilter, by: tuple[str, ...]) -> Expected:
    """The jobs and the sums of each group, without SQL."""
    found: Expected = {}
    since_ns, until_ns = wanted.since_ns or 0, wanted.until_ns or 2**62
    for job in jobs:
        if wanted.user not in (None, job.user):
            continue
        own = slots[job.job]
        for slot, end_ns in zip(own, [*(slot.start_ns for slot in own[1:]), 2**62], strict=True):
            parts = slot.sums if not not_started(job) else {}
            if not since_ns <= slot.start_ns < until_ns:
                continue
            used = any(replace(sums, lacking=0) != EnergySums() for sums in parts.values())
            if not (used or slot.elapsed_ns or slot.start_ns <= job.totals.first_ns < end_ns):
                continue
            for node, component in [*parts, *([] if {"node", "component"} & set(by) else [("", "")])]:
                labels = tuple(label(job, key, node, component, slot.start_ns) for key in by)
                members, sums = found.setdefault(labels, (set(), {}))
                members.add(job.job)
                if component:
                    sums[component] = total_of([sums.get(component, EnergySums()), parts[node, component]])
    return found


def edges(draw: random.Random) -> Iterator[tuple[int | None, int | None]]:
    yield None, None
    for _ in range(5):
        ends = sorted(MIDNIGHT + draw.randrange(8 * DAY_NS, 13 * DAY_NS) for _ in range(2))
        grain = draw.choice([1, 300 * SECOND, HOUR, DAY_NS])
        since_ns, until_ns = (end // grain * grain for end in ends)
        yield draw.choice([since_ns, None]), draw.choice([until_ns + 1, None])


@pytest.mark.slow
@pytest.mark.parametrize("rolled_up", [True, False])
def test_a_period_is_the_sum_of_what_each_job_used_in_it(many: FakeSpool, rolled_up: bool) -> None:
    draw = random.Random(12)
    with open_ledger(many.ledger, write=True) as connection:
        jobs = find_jobs(connection, JobFilter())
        assert len(jobs) == 31
        if not rolled_up:
            connection.execute("INSERT INTO days_due SELECT DISTINCT day FROM job_days")
        intensity, defaults = Intensities(connection), Defaults(None, 1.1)
        for since_ns, until_ns in edges(draw):
            cuts_ns = [edge for edge in (since_ns, until_ns) if edge is not None]
            slots = {job.job: compute(intensity, JobEnergy(job), defaults, cuts_ns)[1] for job in jobs}
            wanted = JobFilter(since_ns, until_ns, user=draw.choice([None, "alice"]))
            for by in BY:
                expected = one_by_one(jobs, slots, wanted, by)
                result = grouped(connection, wanted, by)
                found = result.groups if by else [result.total] if result.total.counts.jobs else []
                assert {group.labels for group in found} == expected.keys(), (wanted, by)
                for group in found:
                    members, sums = expected[group.labels]
                    assert group.components == sums, (wanted, by, group.labels)
                    assert group.counts.jobs == len(members), (wanted, by, group.labels)
        if not rolled_up:
            refresh_rollup(connection)


def test_days_and_totals_are_the_energy_of_channels_and_of_buckets(many: FakeSpool) -> None:
    with open_ledger(many.ledger) as connection:
        jobs = find_jobs(connection, JobFilter())
        total = grouped(connection, JobFilter()).total.sums
    own = [channel for job in jobs for channel in counted_channels(job)]
    assert len(own) > 50
    assert total.energy_uj == sum(channel.energy_uj or 0 for channel in own)
    assert total.energy_uj == sum(bucket.energy_uj for channel in own for bucket in channel.buckets)
    for job in jobs:
        assert total_of(row.sums for row in job.energy) == job.totals.sums


def test_a_wrong_roll_up_is_damage(spool: FakeSpool) -> None:
    spool.whole_run()
    sync(spool.root, spool.ledger)
    assert check_ledger(spool.root, spool.ledger).damage == ()
    with open_ledger(spool.ledger, write=True) as connection:
        connection.execute("UPDATE rollup SET measured_uj = measured_uj + 1 WHERE component = 'dram'")
    assert check_ledger(spool.root, spool.ledger).damage == ("the roll-up of 2026-11-21 is not the sum of its jobs",)
    run = spool.whole_run("18")
    sync(spool.root, spool.ledger)
    assert check_ledger(spool.root, spool.ledger).damage == ()
    # What is computed goes with its job.
    run.run_dir.run_json.write_text("no run")
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        assert grouped(connection, JobFilter()).total.counts.jobs == 1
        due = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("totals_due", "days_due")]
    assert due == [0, 0]
