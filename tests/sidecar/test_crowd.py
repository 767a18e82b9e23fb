"""Several jobs on one node, each with its own sidecar: the `crowd` benchmark on a small scale, and its checks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

BENCH = str(Path(__file__).resolve().parents[2] / "scripts" / "bench")
if BENCH not in sys.path:
    sys.path.insert(0, BENCH)

import crowd_run  # noqa: E402  (only now can it be found)
from crowd_check import Closure, check_file  # noqa: E402
from crowd_jobs import Job  # noqa: E402

PERCENTS = (0, 0, 2, 10, 10, 30)


@pytest.mark.slow
@pytest.mark.alone
def test_six_sidecars_on_one_node() -> None:
    """All records, no doubt, CPU time to the tick of the kernel's count, and every microjoule with somebody."""
    result = crowd_run.measure(6, 3, percents=PERCENTS, interval_s=0.25, record_s=1)
    assert result["problems"] == []
    assert result["records"] == result["records_expected"] >= 6 * 5
    assert result["cpu_time_source"] == "proc-tree"
    assert result["job_cpu_error_ticks"] == 0
    assert result["job_cpu_s"] > 0.5
    assert len(result["closure"]) == 4
    for row in result["closure"]:
        assert row["jobs"] == 6
        assert row["given_uj"] + row["residual_uj"] == row["node_uj"]
        assert 0 < row["given_uj"] < row["node_uj"]
        assert 0 < row["ledger_uj"] < row["node_uj"]


RECORD: dict[str, Any] = {
    "kind": "record",
    "energy_uj": [0],
    "measured_ns": [0],
    "errors": [0],
    "job_cpu_us": 0,
    "node_busy_us": 0,
}


def lines() -> list[dict[str, Any]]:
    """A file without fault: 20 s of a channel whose truth is known, a record every 5 s."""
    from crowd_node import truth_uj

    begin_ns = 10**12
    detail = "/sys/class/powercap/intel-rapl:0"
    found: list[dict[str, Any]] = [{"kind": "header", "channels": [{"detail": detail}], "cpu_time_source": "proc-tree"}]
    for number in range(5):
        now_ns = begin_ns + number * 5 * 10**9
        true_uj = truth_uj("intel-rapl:0", begin_ns, now_ns)
        found.append(
            {
                **RECORD,
                "boottime_ns": now_ns,
                "energy_uj": [true_uj],
                "measured_ns": [now_ns - begin_ns],
                "job_cpu_us": number * 50_000,
                "node_busy_us": number * 1_000_000,
            }
        )
    found.append({**found[-1], "kind": "end", "reason": "stopped", "boottime_ns": begin_ns + 20 * 10**9 + 1})
    return found


def _lose(found: list[dict[str, Any]]) -> None:
    del found[3]


def _late(found: list[dict[str, Any]]) -> None:
    found[3]["boottime_ns"] += 2 * 10**9


def _gap(found: list[dict[str, Any]]) -> None:
    found[-1]["gaps"] = [1]


def _reset(found: list[dict[str, Any]]) -> None:
    found[-1]["resets"] = [1]


def _failed(found: list[dict[str, Any]]) -> None:
    found[-1]["errors"] = [1]


def _unknown(found: list[dict[str, Any]]) -> None:
    found[2]["energy_uj"] = [None]


def _slowed(found: list[dict[str, Any]]) -> None:
    found[2]["note"] = {"slowed": 2}


def _orphaned(found: list[dict[str, Any]]) -> None:
    found[-1]["reason"] = "orphaned"


def _twice(found: list[dict[str, Any]]) -> None:
    found.insert(3, found[0])


def _unmeasured(found: list[dict[str, Any]]) -> None:
    found[-1]["measured_ns"] = [19 * 10**9]


def _no_cpu(found: list[dict[str, Any]]) -> None:
    found[-1]["job_cpu_us"] = None


def check(folder: Path, found: list[dict[str, Any]]) -> Any:
    path = folder / "f.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    return check_file(cast(Job, SimpleNamespace(samples=path, job_id="17")), 5.0, 20)


def test_sound_file_has_no_problem(tmp_path: Path) -> None:
    figures = check(tmp_path, lines())
    assert figures.problems == ()
    assert (figures.records, figures.expected, figures.cpu_error_ticks) == (6, 6, 0)
    assert figures.energy_error < 1e-6


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_lose, "4 records for 5 moments"),
        (_late, "off their moment: [2]"),
        (_gap, "gaps: [1]"),
        (_reset, "resets: [1]"),
        (_failed, "failed reads: [1]"),
        (_unknown, "a channel without energy"),
        (_slowed, "slowed down"),
        (_orphaned, "ended as orphaned"),
        (_twice, "lines are ['header', 'record', 'record', 'header'"),
        (_unmeasured, "1.000 s not measured"),
        (_no_cpu, "no CPU time"),
    ],
)
def test_nothing_missing_goes_unseen(tmp_path: Path, spoil: Callable[[list[dict[str, Any]]], None], says: str) -> None:
    found = lines()
    spoil(found)
    problems = check(tmp_path, found).problems
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"jobs": 5}, "5 of 6 jobs have a share"),
        ({"residual_uj": 399}, "1 uJ with nobody"),
        ({"given_uj": 1001, "residual_uj": -1}, "1 uJ more given than was read"),
        ({"ledger_uj": 1001}, "1 uJ more in the ledger than was read"),
        ({"true_uj": 1100}, "read 1000 uJ of 1100"),
    ],
)
def test_nothing_unbalanced_goes_unseen(changes: dict[str, int], says: str) -> None:
    sound = {"jobs": 6, "true_uj": 1000, "node_uj": 1000, "given_uj": 600, "residual_uj": 400, "ledger_uj": 601}
    assert list(Closure("cpu", **sound, edge=0.02).problems(6, 0.01)) == []
    assert any(says in problem for problem in Closure("cpu", **(sound | changes), edge=0.02).problems(6, 0.01))
