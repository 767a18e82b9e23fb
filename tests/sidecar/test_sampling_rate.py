"""The self-limits: CPU time and bytes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from hpcfrugal.sidecar import log
from hpcfrugal.sidecar.identity import Identity
from hpcfrugal.sidecar.job_wait import JobWait
from hpcfrugal.sidecar.loop import Loop, SamplingConfig
from hpcfrugal.sidecar.sampling_rate import CpuBudget, FileBudget, slower_ns
from hpcfrugal.sidecar.sensors.base import POWER_UW, Channel, Opened
from hpcfrugal.sidecar.usage import Usage
from hpcfrugal.sidecar.writer import Writer

GRACE_NS = 30 * 10**9

S = 10**9


@pytest.fixture(autouse=True)
def _fresh_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_logged", set())


def test_budget_has_a_grace_and_looks_at_the_new_pace_alone() -> None:
    budget = CpuBudget(1.0, 0, 0)
    assert not budget.is_spent(GRACE_NS - 1, 10 * S)
    assert not budget.is_spent(GRACE_NS, GRACE_NS // 100)
    assert budget.is_spent(GRACE_NS, GRACE_NS // 100 + 1)
    budget.changed(GRACE_NS, 10 * S)
    assert not budget.is_spent(2 * GRACE_NS - 1, 20 * S)
    assert not budget.is_spent(2 * GRACE_NS, 10 * S + GRACE_NS // 100)
    assert budget.is_spent(2 * GRACE_NS, 11 * S)


@pytest.mark.parametrize(
    ("interval_s", "wrap_s", "power", "expected_s"),
    [
        (1, None, False, 2),
        (8, None, False, 10),
        (4, None, True, 5),
        (1, 4.5, False, 1.5),
        (2, 3, False, 2),
        (60, None, True, 60),
    ],
)
def test_slower(interval_s: float, wrap_s: float | None, power: bool, expected_s: float) -> None:
    wrap_ns = None if wrap_s is None else int(wrap_s * S)
    assert slower_ns(int(interval_s * S), wrap_ns, power) == int(expected_s * S)


class Steady:
    """A counter of 100 W, or a meter that shows 100 W."""

    name = "steady"
    component = "cpu"
    may_block = False

    def __init__(self, sim: Sim, kind: str) -> None:
        self.sim = sim
        self.kind = kind

    def open(self) -> Opened:
        return Opened([Channel("cpu", "a", self.name, max_w=1000, detail="d", quantity=self.kind)], [], [])

    def read(self) -> list[int | None]:
        self.sim.cpu_ns += self.sim.cost_ns
        return [100_000_000 if self.kind == POWER_UW else 100 * self.sim.now_ns // 1000]

    def close(self) -> None:
        pass


class Sim:
    """Clocks, and a JobWait that moves them; ``cost_ns`` of CPU time go into each sample."""

    def __init__(self, end_s: float, cost_ns: int = 0) -> None:
        self.now_ns = 1000 * S
        self.end_ns = self.now_ns + int(end_s * S)
        self.cpu_ns = 0
        self.cost_ns = cost_ns

    def record_requested(self) -> bool:
        return False

    def wait_until(self, at_ns: int) -> str | None:
        self.now_ns = min(max(at_ns, self.now_ns), self.end_ns)
        return "stopped" if self.now_ns >= self.end_ns else None


class NoUsage:
    cpu_time_source = None

    def restart(self) -> None:
        pass

    def sample_memory(self) -> None:
        pass

    def header(self) -> dict[str, object]:
        return {"sources": {}, "reasons": {}}

    def read(self) -> dict[str, object]:
        return {"job_cpu_us": None, "node_busy_us": None, "memory_b": None, "memory_peak_b": None}


def run(folder: Path, sim: Sim, kind: str = "energy_uj", **plan: Any) -> list[dict[str, Any]]:
    path = folder / "f.jsonl"
    Loop(
        SamplingConfig(S, 10 * S, False, "/proc", **plan),
        Identity(run_id="r", job_id="17", cluster="lab", node="n1", in_slurm=True),
        [Steady(sim, kind)],
        cast(Usage, NoUsage()),
        Writer(str(path)),
        cast(JobWait, sim),
        lambda: sim.now_ns,
        (),
        lambda: sim.cpu_ns,
    ).run()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("kind", "slowest"), [("energy_uj", 10), ("power_uw", 5)])
def test_a_slower_rate_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, slowest: int) -> None:
    """0.3 s of CPU time a sample cannot be had for 1 %, so it ends at the slowest pace; no joule is lost."""
    lines = run(tmp_path, Sim(600, 3 * S // 10), kind)
    notes = [line["note"] for line in lines if "note" in line]
    assert [note["interval_s"] for note in notes] == [2, 4, 8, 10] if slowest == 10 else [2, 4, 5]
    assert [note["slowed"] for note in notes] == [note["interval_s"] for note in notes]
    assert capfd.readouterr().err.count("sampling costs more than 1 % of a core") == len(notes)
    assert lines[-1]["energy_uj"] == [60_000_000_000]
    assert lines[-1]["measured_ns"] == [600 * S]


def test_keeps_its_pace_within_the_budget(tmp_path: Path) -> None:
    lines = run(tmp_path, Sim(600, S // 101))
    assert not [line for line in lines if "note" in line]
    assert len(lines) == 1 + 60 + 1
    (tmp_path / "other").mkdir()
    lines = run(tmp_path / "other", Sim(600, S // 101), cpu_percent=0.5)
    assert [line["note"]["slowed"] for line in lines if "note" in line] == [2]


@pytest.mark.slow
def test_a_year_fits(tmp_path: Path) -> None:
    """The same at a small scale: five days in 128 KiB. The file stays below it, and records reach to the end."""
    limit_b = 128 * 1024
    sim = Sim(5 * 86400)
    lines = run(tmp_path, sim, file_limit_b=limit_b)
    assert (tmp_path / "f.jsonl").stat().st_size < limit_b
    assert lines[-1]["kind"] == "end"
    assert lines[-1]["energy_uj"] == [5 * 86400 * 100_000_000]
    stamps = [line["boottime_ns"] for line in lines[1:]]
    steps_s = [(after - before) / S for before, after in pairwise(stamps)]
    assert steps_s[0] == 10
    assert max(steps_s) < 86400
    assert len(lines) > 200


def test_default_limit_holds_a_year() -> None:
    """By arithmetic, at 600 bytes a record."""
    size_b, step_s, elapsed_s = 2000, 10, 0
    budget = FileBudget(64 * 1024 * 1024, size_b)
    while elapsed_s < 366 * 86400:
        assert budget.has_space(size_b, 600)
        size_b += 600
        elapsed_s += step_s
        if budget.quarter_used(size_b):
            step_s *= 2
    assert step_s <= 4 * 3600


def test_full_file_takes_the_end_only(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"kind":"x"}\n' * 1000)
    lines = run(tmp_path, Sim(100), file_limit_b=1000)
    assert [line["kind"] for line in lines[1000:]] == ["header", "record", "end"]
