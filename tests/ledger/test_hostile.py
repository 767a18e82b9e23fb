"""What one file says, forged or not, harms no other: it counts or is refused, and a sync goes on."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from fake_spool import GPU, PACKAGE, PSYS, SECOND, START_NS, FakeRun, FakeSpool

from hpcfrugal.ledger import new_runs, run_reading
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.groups import grouped
from hpcfrugal.ledger.packed import BUCKETS
from hpcfrugal.ledger.queries import JobFilter, JobRow, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sums import exact_sum, in_whole
from hpcfrugal.ledger.sync import rebuild, sync

HUGE = 2**62
DAY_S = 86_400


def jobs(spool: FakeSpool) -> dict[str, JobRow]:
    with open_ledger(spool.ledger) as connection:
        return {job.job_id: job for job in find_jobs(connection, JobFilter())}


def energy_uj(job: JobRow) -> int | None:
    known = [channel.energy_uj for channel in job.channels if channel.counted and channel.energy_uj is not None]
    return sum(known) if known else None


def problems(spool: FakeSpool) -> list[str]:
    return [problem.partition("/")[2] for problem in check_ledger(spool.root, spool.ledger, compare=False).problems]


def many_failed_reads(run: FakeRun) -> list[dict[str, Any]]:
    return [run.header("18"), run.record(10, [1, 1], errors=[HUGE, 0])] * 2


def many_resets(run: FakeRun) -> list[dict[str, Any]]:
    return [run.header("18"), run.record(10, [1, 1], resets=[HUGE, 0], gaps=[0, HUGE])] * 2


def much_cpu_time(run: FakeRun) -> list[dict[str, Any]]:
    return [run.header("18", channels=[], exclusive=False), run.record(10, [], job_cpu_us=HUGE)]


def busy_for_longer_than_there_is_time(run: FakeRun) -> list[dict[str, Any]]:
    return [run.header("18", channels=[]), run.record(10, [], node_busy_us=HUGE)]


def energy_of_three_lives(run: FakeRun) -> list[dict[str, Any]]:
    last = run.record(399 * DAY_S, [HUGE, 0], job_cpu_us=None, node_busy_us=None)
    lives = ((run.header("18", boot_id=str(boot)), run.record(0, [0, 0]), last) for boot in range(3))
    return [
        {**line, "wall_ns": line["wall_ns"] + boot * 400 * DAY_S * SECOND}
        for boot, lines in enumerate(lives)
        for line in lines
    ]


def many_lives_at_one_time(run: FakeRun) -> list[dict[str, Any]]:
    records = [run.record(0, [0, 0]), run.record(399 * DAY_S, [1, 1])]
    return [line for boot in range(134) for line in (run.header("18", boot_id=str(boot)), *records)]


def much_memory(run: FakeRun) -> list[dict[str, Any]]:
    return [run.header("18", channels=[], memory_alloc_b=HUGE, memory_node_b=HUGE), run.record(60, [], memory_b=HUGE)]


FORGED = [
    many_failed_reads, many_resets, much_cpu_time, busy_for_longer_than_there_is_time, energy_of_three_lives,
    many_lives_at_one_time, much_memory,
]  # fmt: skip


@pytest.mark.parametrize("forged", FORGED)
def test_an_impossible_number_invalidates_only_its_own_file(spool: FakeSpool, forged: Any) -> None:
    run = spool.run("18")
    run.samples(forged(run), "18")
    run.end(job_id="18")
    spool.whole_run("17")
    result = sync(spool.root, spool.ledger)
    assert (result.skipped, result.problem_files) == ((), 1)
    found = jobs(spool)
    assert energy_uj(found["17"]) == 6_600_000_000
    # A machine of 8 CPUs, 64 GB and two channels: no kilowatt.
    assert (energy_uj(found["18"]) or 0) < 1000 * 60 * 10**6
    assert problems(spool)[0].startswith("18.0.n1.jsonl: ")
    before = dump(spool.ledger)
    assert sync(spool.root, spool.ledger).runs_changed == 0
    rebuild(spool.root, spool.ledger)
    assert (dump(spool.ledger), check_ledger(spool.root, spool.ledger).differences) == (before, ())


@pytest.mark.slow
def test_seventy_forged_files_among_seven_hundred_cost_no_other_run_its_energy(spool: FakeSpool) -> None:
    forged_runs = []
    for forged in FORGED * 10:
        run = spool.run("18")
        lines = forged(run)
        if forged is many_lives_at_one_time:
            lines = [{**line, "boot_id": f"{part}-{line.get('boot_id')}"} for part in range(10) for line in lines]
        run.samples(lines, "18")
        run.end(job_id="18")
        forged_runs.append(run.run_id)
        for _ in range(10):
            spool.whole_run("17")
    result = sync(spool.root, spool.ledger)
    assert (result.runs, result.skipped, result.problem_files) == (770, (), 70)
    with open_ledger(spool.ledger) as connection:
        found = find_jobs(connection, JobFilter())
    assert [energy_uj(job) for job in found if job.run_id not in forged_runs] == [6_600_000_000] * 700
    assert all((energy_uj(job) or 0) < 1000 * 60 * 10**6 for job in found if job.run_id in forged_runs)
    before = dump(spool.ledger)
    assert sync(spool.root, spool.ledger).runs_changed == 0
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == before


def test_a_refused_file_leaves_none_of_its_earlier_rows(spool: FakeSpool) -> None:
    run = spool.whole_run("18")
    sync(spool.root, spool.ledger)
    run.samples(energy_of_three_lives(run), "18")
    sync(spool.root, spool.ledger)
    (job,) = jobs(spool).values()
    assert (job.channels, job.sessions) == ((), ())
    assert problems(spool) == ["18.0.n1.jsonl: has impossible sums of cpu/package-0/rapl-powercap"]
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown


@pytest.mark.parametrize("known", [False, True])
def test_a_run_that_fails_for_a_number_does_not_stop_the_others(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    bad = spool.whole_run("18")
    if known:
        sync(spool.root, spool.ledger)
        bad.end(exit_code=3, job_id="18")
    good = spool.whole_run("17")
    module, name = (run_reading, "write_rows") if known else (new_runs, "run_row")
    real = getattr(module, name)

    def fail(*arguments: Any) -> Any:
        found = real(*arguments)
        of = arguments[2].state.listing.run_dir.run_id if known else arguments[0].run_id
        if of == bad.run_dir.run_id:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return found

    monkeypatch.setattr(module, name, fail)
    result = sync(spool.root, spool.ledger)
    assert result.skipped == (f"{bad.run_dir.path}: holds a number too large",)
    assert good.run_id in {job.run_id for job in jobs(spool).values()}
    assert {job.exit_code for job in jobs(spool).values()} == {0}


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": [{**PSYS, "domain": "meter:x"}, PACKAGE]},
        {"absent": [{"component": "node", "source": "meter:x", "reason": "no"}]},
    ],
)
def test_a_sidecar_cannot_write_channels_of_a_meter(spool: FakeSpool, changes: dict[str, Any]) -> None:
    run = spool.whole_run()
    run.samples([run.header(**changes), *run.records([200, 100][: len(changes.get("channels", "ab"))], 50)])
    for _ in range(2):
        sync(spool.root, spool.ledger)
        assert problems(spool) == [
            "17.0.n1.jsonl: names a domain or source with 'meter:', which only a meter's file may"
        ]
        assert jobs(spool)["17"].channels == ()
        run.samples([run.record(60, [12 * 10**9, 6 * 10**9])], mode="a")
    run.samples([run.header(), *run.records([100, 10], 60)])
    sync(spool.root, spool.ledger)
    assert energy_uj(jobs(spool)["17"]) == 6_600_000_000
    assert check_ledger(spool.root, spool.ledger).differences == ()


def hours(lives: list[tuple[dict[str, Any], ...]], first: int = 0) -> list[dict[str, Any]]:
    """The lines of sessions an hour apart on the wall clock, from ``first`` hours after the start."""
    return [
        {**line, "wall_ns": line["wall_ns"] + hour * 3600 * SECOND}
        for hour, lines in enumerate(lives, first)
        for line in lines
    ]


def test_a_job_whose_sum_is_larger_than_there_can_be_has_no_figures(spool: FakeSpool) -> None:
    run = spool.run()
    gpus = [{**GPU, "domain": f"gpu-{number}", "gpu_uuid": f"GPU-{number}"} for number in range(12)]
    each_uj = 10**7 * 3600 * 10**6
    records = [run.record(0, [0] * 12), run.record(3600, [each_uj] * 12)]
    run.samples(hours([(run.header(channels=gpus, boot_id=str(boot)), *records) for boot in range(100)]))
    spool.whole_run("18")
    sync(spool.root, spool.ledger)
    assert 1200 * each_uj > 2**63
    assert problems(spool) == []
    found = jobs(spool)
    assert [found[job_id].totals.sums.energy_uj for job_id in ("17", "18")] == [None, 6_600_000_000]
    reason = "n1 gpu gpu-0: its figures add up to more than there can be"
    assert reason in (found["17"].totals.unknown or ())
    with open_ledger(spool.ledger) as connection:
        group = grouped(connection, JobFilter()).total
    assert (group.sums.energy_uj, group.counts.incomplete) == (6_600_000_000, 1)


def test_a_day_whose_sum_overflows_is_added_up_from_its_jobs(spool: FakeSpool) -> None:
    each_uj = 10**7 * 3600 * 10**6
    for job_id in ("17", "18", "19"):
        run = spool.run(job_id)
        records = [run.record(0, [0] * 4), run.record(3600, [each_uj] * 4)]
        gpus = [{**GPU, "domain": f"gpu-{number}", "gpu_uuid": f"GPU-{job_id}-{number}"} for number in range(4)]
        headers = [run.header(job_id, channels=gpus, boot_id=str(boot)) for boot in range(24)]
        # From midnight on.
        run.samples(hours([(header, *records) for header in headers], 14), job_id)
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        group = grouped(connection, JobFilter()).total
    assert group.components["gpu"].measured_uj == 288 * each_uj > 2**63


def test_an_exact_sum_is_one() -> None:
    values = [2**62, 2**62, 2**62 - 1, 0, 7, -5, -(2**62)]
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (v INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    assert in_whole(*connection.execute(f"SELECT {exact_sum('v')} FROM t").fetchone()) == sum(values)
    connection.close()


def buckets_in(ledger: Path) -> int:
    with open_ledger(ledger) as connection:
        return int(connection.execute(f"SELECT count(*) FROM ({BUCKETS})").fetchone()[0])


def test_a_small_file_does_not_fill_the_ledger(spool: FakeSpool) -> None:
    run = spool.run()
    lines: list[dict[str, Any]] = []
    for number in range(8):
        header = run.header(boot_id=str(number), wall_ns=START_NS + number * 400 * DAY_S * SECOND)
        lines += [header, run.record(0, [0, 0]), run.record(399 * DAY_S, [10**9, 0])]
    size = run.samples(lines).stat().st_size
    started = time.process_time()
    sync(spool.root, spool.ledger)
    assert time.process_time() - started < 2
    assert buckets_in(spool.ledger) < 8 * 2 * 300 < size
    many = [{"index": number, "uuid": f"GPU-{number}", "name": None} for number in range(500)]
    run.samples([run.header(gpus=many), run.record(0, [0, 0]), run.record(399 * DAY_S, [10**9, 0])])
    sync(spool.root, spool.ledger)
    assert problems(spool) == [
        "17.0.n1.jsonl: records are too far apart",
    ]
    assert buckets_in(spool.ledger) == 0


def test_a_job_that_slept_for_long_keeps_all_of_its_energy(spool: FakeSpool) -> None:
    run = spool.run()
    gpus = [{**GPU, "domain": f"gpu-{number}", "gpu_uuid": f"GPU-{number}"} for number in range(20)]
    held = [{"index": number, "uuid": f"GPU-{number}", "name": "A100"} for number in range(20)]
    sleep_s = 60 * DAY_S
    lines = [run.record(at_s, [100 * 10**6 * at_s] * 20) for at_s in (0, 10, 10 + sleep_s, 20 + sleep_s)]
    run.samples([run.header(channels=gpus, gpus=held), *lines])
    sync(spool.root, spool.ledger)
    (job,) = jobs(spool).values()
    assert sum(channel.energy_uj or 0 for channel in job.channels if channel.component == "gpu") == (
        20 * 100 * 10**6 * (20 + sleep_s)
    )
    assert problems(spool) == []


def test_one_node_has_one_name(spool: FakeSpool) -> None:
    run = spool.whole_run()
    path = run.run_dir.samples("17", 0, "n1")
    other = path.with_name("17.0.%6E1.jsonl")
    other.write_text(path.read_text().replace("6000000000", "9000000000"))
    for name in ("17.0.%6E1.m.meter", os.fsdecode(b"17.0.n\xff.jsonl"), "17.0.n%FF.jsonl", "17.0.n%2f.jsonl"):
        path.with_name(name).write_text(path.read_text())
    for touched in (other, path, other):
        os.utime(touched, ns=(1, time.time_ns()))
        sync(spool.root, spool.ledger)
        assert energy_uj(jobs(spool)["17"]) == 6_600_000_000
    assert sorted(problems(spool)) == sorted(
        [
            *(
                f"{name}: its name is not one of the spool"
                for name in ("17.0.%6E1.jsonl", "17.0.%6E1.m.meter", "17.0.n%2f.jsonl", "17.0.n?.jsonl")
            ),
            "17.0.n%FF.jsonl: the name of its node is not UTF-8",
        ]
    )
    assert check_ledger(spool.root, spool.ledger).differences == ()
