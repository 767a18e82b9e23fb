"""What a job used beside energy, from its records to the report."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fake_spool import FakeSpool
from rich.console import Console

from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.queries import JobFilter, JobRow, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.report.field import to_json
from hpcfrugal.report.formats.text_blocks import renderable
from hpcfrugal.report.job import ReportedJob
from hpcfrugal.report.job_detail import job_blocks
from hpcfrugal.report.usage import USAGE_FIELDS, usage_of

SOURCES = {"memory": "cgroup-v2", "page_faults": "cgroup-v2", "io": "proc-tree", "gpu_busy": "nvml"}
USAGE = {"sources": {**SOURCES, "hardware_counters": None}, "reasons": {"hardware_counters": "not requested"}}
COUNTED = {"sources": {**SOURCES, "hardware_counters": "perf-event"}, "reasons": {}}


def figures(at_s: float) -> dict[str, Any]:
    """1 MiB on average, 2 faults and 3 bytes a second, two GPUs half busy."""
    return {
        "memory_kib_s": round(1024 * at_s),
        "memory_ns": round(at_s * 1e9),
        "page_faults_minor": round(2 * at_s),
        "page_faults_major": 0,
        "io_read_b": round(3 * at_s),
        "io_write_b": 0,
        "gpu_busy_us": round(1e6 * at_s),
        "gpu_seen_us": round(2e6 * at_s),
    }


def counters(at_s: float, running: float = 1.0) -> dict[str, Any]:
    return {
        "instructions": round(1e9 * at_s),
        "cycles": round(5e8 * at_s),
        "cache_references": None,
        "cache_misses": round(100 * at_s),
        "counters_enabled_ns": round(1e9 * at_s),
        "counters_running_ns": round(1e9 * running * at_s),
        "counters_cpu_us": round(1e6 * at_s),
    }


def lines(run: Any, usage: Any = USAGE, node: str = "n1", **more: Any) -> list[dict[str, Any]]:
    """A minute of samples with these figures in each record."""
    records = run.records([100.0, 10.0], 60)
    for number, record in enumerate(records):
        record |= figures(10.0 * number) | more
    return [run.header(node=node, usage=usage), *records]


def job(spool: FakeSpool) -> JobRow:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (found,) = find_jobs(connection, JobFilter())
    assert check_ledger(spool.root, spool.ledger).problems == ()
    return found


def shown(found: JobRow) -> str:
    console = Console(file=io.StringIO(), width=220)
    console.print(renderable(job_blocks(ReportedJob(found))))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_figures_of_one_node(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples(lines(run))
    run.slurm()
    found = job(spool)
    usage = to_json(USAGE_FIELDS, usage_of(found))
    nodes = usage.pop("nodes")
    assert usage == {
        "cpu_time_s": 60.0,
        "memory_peak_b": 2 * 10**9,
        "memory_mean_b": 1024 * 1024,
        "page_faults_minor": 120,
        "page_faults_major": 0,
        "io_read_b": 180,
        "io_write_b": 0,
        "io_complete": True,
        "gpu_utilisation": 0.5,
        "instructions": None,
        "cycles": None,
        "cache_references": None,
        "cache_misses": None,
        "counters_cpu_share": None,
        "counters_running": None,
        "reasons": [{"node": "n1", "figure": "hardware_counters", "reason": "not requested"}],
    }
    assert nodes[0]["sources"] == {**SOURCES, "cpu_time": "cgroup-v2"}
    text = shown(found)
    assert "1.0 MiB" in text
    assert "50.0 %" in text
    assert "not requested" not in text
    assert "Instructions" not in text


def test_sessions_add_up_and_a_part_without_makes_the_sum_unknown(spool: FakeSpool) -> None:
    run = spool.run()
    both = lines(run)
    run.samples(both)
    second = [dict(line) for line in lines(run)]
    for line in second:
        line["boottime_ns"] += 70 * 10**9
        line["wall_ns"] += 70 * 10**9
    second[3]["io_read_b"] = second[-1]["io_read_b"] = None
    second[-1]["gpu_busy_us"] = second[-1]["gpu_seen_us"] = None
    for line in second[1:]:
        line["page_faults_minor"] = None
    run.samples(second, mode="a")
    run.slurm(end_s=130)
    usage = to_json(USAGE_FIELDS, usage_of(job(spool)))
    assert usage["memory_mean_b"] == 1024 * 1024
    # the last known values count: 180 of the first session, 150 of the second
    assert usage["io_read_b"] == 330
    assert usage["gpu_utilisation"] == 0.5
    assert usage["page_faults_minor"] is None


def test_nodes_stand_apart_and_in_a_sum(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples(lines(run))
    run.samples(lines(run, node="n2", memory_peak_b=5 * 10**9), node="n2")
    run.slurm(nodes=("n1", "n2"))
    found = job(spool)
    usage = to_json(USAGE_FIELDS, usage_of(found))
    assert (usage["io_read_b"], usage["memory_mean_b"], usage["memory_peak_b"]) == (360, 1024 * 1024, 5 * 10**9)
    assert [node["io_read_b"] for node in usage["nodes"]] == [180, 180]
    assert usage["cpu_time_s"] == 120
    assert "all" in shown(found)


def test_a_node_without_samples_leaves_the_job_unknown(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples(lines(run))
    run.slurm(nodes=("n1", "n2"))
    usage = to_json(USAGE_FIELDS, usage_of(job(spool)))
    assert usage["cpu_time_s"] is None
    assert usage["io_complete"] is None
    assert usage["nodes"][0]["io_read_b"] == 180
    assert {"node": "n2", "figure": "all", "reason": "no samples"} in usage["reasons"]


def test_samples_of_an_older_sidecar(spool: FakeSpool) -> None:
    spool.whole_run()
    found = job(spool)
    usage = to_json(USAGE_FIELDS, usage_of(found))
    assert (usage["cpu_time_s"], usage["memory_peak_b"]) == (60.0, 2 * 10**9)
    assert [usage[name] for name in ("memory_mean_b", "io_read_b", "io_complete", "instructions")] == [None] * 4
    reasons = {item["figure"]: item["reason"] for item in usage["reasons"]}
    assert reasons["io"] == "not recorded by this version of the sidecar"
    assert "unknown" in shown(found)


@pytest.mark.parametrize(
    ("share", "running", "words"),
    [
        (1.0, 1.0, []),
        (0.4, 1.0, ["hardware counters: cover 40.0 % of the job's CPU time"]),
        (0.94, 1.0, ["hardware counters: cover 94.0 % of the job's CPU time"]),
        (0.96, 1.0, []),
        (1.0, 0.5, ["hardware counters: active 50.0 % of the time"]),
    ],
)
def test_counts_say_how_much_of_the_job_they_are(
    spool: FakeSpool, share: float, running: float, words: list[str]
) -> None:
    run = spool.run()
    samples = lines(run, COUNTED)
    for number, record in enumerate(samples[1:]):
        at_s = 10.0 * number
        record |= counters(at_s, running) | {"counters_cpu_us": round(share * 1e6 * at_s)}
    run.samples(samples)
    run.slurm()
    found = job(spool)
    usage = to_json(USAGE_FIELDS, usage_of(found))
    assert (usage["instructions"], usage["cycles"], usage["cache_misses"]) == (60 * 10**9, 30 * 10**9, 6000)
    assert usage["cache_references"] is None
    assert (usage["counters_cpu_share"], usage["counters_running"]) == (share, running)
    text = shown(found)
    assert "60,000,000,000" in text
    for word in ("cover 40.0 %", "cover 94.0 %", "cover 96.0 %", "active 50.0 %"):
        assert (word in text) == any(word in wanted for wanted in words)


def test_missing_bytes_are_noted(spool: FakeSpool) -> None:
    run = spool.run()
    samples = lines(run)
    samples[3]["io_partial"] = True
    run.samples(samples)
    run.slurm()
    found = job(spool)
    assert to_json(USAGE_FIELDS, usage_of(found))["io_complete"] is False
    text = shown(found)
    assert "≥ 180 B" in text
    assert "bytes read and written: a lower bound" in text


def test_at_least_nothing_is_unknown(spool: FakeSpool) -> None:
    run = spool.run()
    samples = lines(run)
    for sample in samples[1:]:
        sample["io_read_b"] = 0
    samples[3]["io_partial"] = True
    run.samples(samples)
    run.slurm()
    text = shown(job(spool))
    assert "≥ 0" not in text
    assert "unknown" in text


def test_reasons_are_text_and_no_markup(spool: FakeSpool) -> None:
    run = spool.run()
    reasons = {"gpu_busy": "[red]a'; rm -rf ~ #[/red]\x1b[31m", "hardware_counters": "denied: perf_event_paranoid is 4"}
    run.samples(lines(run, {"sources": SOURCES, "reasons": reasons}))
    run.slurm()
    text = shown(job(spool))
    assert "n1: gpu busy: [red]a'; rm -rf ~ #[/red]" in text
    assert "\x1b[31m" not in text
    assert "hardware counters: denied: perf_event_paranoid is 4" in text
