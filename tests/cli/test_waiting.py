"""What `submit --wait` looks at while it waits, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hpcfrugal.cli import waiting
from hpcfrugal.job.backend import Backend, BackendStates, RunStates, SubmittedRun
from hpcfrugal.settings.config import Config
from hpcfrugal.spool import RunDir, write_json_atomic
from hpcfrugal.spool.current_power import Draw
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.submission import Prepared, SubmittedJob

RUN_ID = "20261121T100000Z-00000000"


def test_sample_files_are_looked_at_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, looks = 100.0, 0

    def read_draw(run_dir: RunDir) -> Draw:
        nonlocal looks
        looks += 1
        return Draw(power_w={"cpu": 10.0 * looks})

    monkeypatch.setattr(waiting, "read_draw", read_draw)
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now_s))
    progress = waiting._Progress()
    run_dir = RunDir(str(tmp_path / RUN_ID))
    shown = []
    for _ in range(9):
        shown.append(progress._power_w(run_dir))
        now_s += 0.25
    assert shown == [10.0] * 4 + [20.0] * 4 + [30.0]
    assert progress._power_w(RunDir(str(tmp_path / RUN_ID.replace("0", "1")))) == 40.0


@pytest.mark.parametrize(
    ("text", "codes"),
    [('{"exit_code": 3}', {"17": 3}), ('{"exit_co', {}), ('{"exit_code": null}', {}), ("[]", {}), ("", {})],
)
def test_an_incomplete_end_record_is_ignored(tmp_path: Path, text: str, codes: dict[str, Any]) -> None:
    run_dir = RunDir(str(tmp_path / RUN_ID))
    run_dir.path.mkdir()
    run_dir.end_json("17", 0).write_text(text)
    job = cast(Prepared, SimpleNamespace(run_dir=run_dir))
    assert waiting._end_codes(job) == codes
    write_json_atomic(run_dir.end_json("17", 1), {"exit_code": 0})
    assert waiting._end_codes(job) == {"17": 0}


@pytest.mark.parametrize(
    ("late_s", "sampled", "asked"), [(0.0, True, 1), (0.12, True, 4), (60.0, True, 62), (60.0, False, 0)]
)
def test_the_report_waits_for_the_sidecars_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch, late_s: float, sampled: bool, asked: int
) -> None:
    now_s, looks = 0.0, 0

    def sleep(span_s: float) -> None:
        nonlocal now_s
        now_s += span_s

    def done(run_dir: RunDir) -> bool:
        nonlocal looks
        looks += 1
        return now_s >= late_s

    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=sleep))
    monkeypatch.setattr(waiting, "sidecars_done", done)
    spec = SimpleNamespace(energy=SimpleNamespace(enabled=sampled))
    waiting._wait_for_sidecars([cast(Prepared, SimpleNamespace(run_dir=RunDir("/x"), spec=spec))])
    assert looks == pytest.approx(asked, abs=1 if asked > 10 else 0)
    assert now_s <= waiting._SIDECAR_S + 0.1


@pytest.mark.parametrize(
    ("states", "recorded", "code"),
    [
        ([("17", 0, "FAILED", 2), ("18", 0, "FAILED", 5), ("19", 0, "COMPLETED", 0)], {}, 5),
        ([("17", 0, "REQUEUED", 143), ("17", 1, "FAILED", 5)], {}, 5),
        ([("17", 0, "REQUEUED", None), ("17", 1, "COMPLETED", 0)], {}, 0),
        ([("17", 0, "CANCELLED", None)], {"17": 143}, 143),
        ([("17", 0, "NODE_FAIL", None)], {}, 1),
        ([("17", 0, "OUT_OF_MEMORY", 0)], {}, 1),
        # sacct of Slurm 22.05 shows exit codes from 128 on without their highest bit.
        ([("17", 0, "FAILED", 15)], {"17": 143}, 143),
        ([("17", 0, "FAILED", 0)], {"17": 128}, 128),
        ([("17", 0, "FAILED", 15)], {"17": 15}, 15),
        ([("17", 0, "FAILED", 5)], {"17": 143}, 5),
        ([], {"17": 3}, 3),
        ([], {"17": 0}, 0),
        ([], {}, 1),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch, states: list[tuple[str, int, str, int | None]], recorded: dict[str, int], code: int
) -> None:
    monkeypatch.setattr(waiting, "_end_codes", lambda job: recorded)
    found = [
        JobState(job_id, state, restart=restart, exit_code=exit_code) for job_id, restart, state, exit_code in states
    ]
    assert waiting._exit_code(found, cast(Prepared, None)) == code


class Clock:
    """Time that passes only in ``sleep``, and a job that is over, or gone from the queue, from some second on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run_dir: RunDir, *, over_s: float, gone_s: float) -> None:
        self.now_s, self.asked_s, self.sleeps_s = 0.0, list[float](), set[float]()
        self._run_id, self._over_s, self._gone_s = run_dir.run_id, over_s, gone_s
        monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: self.now_s, sleep=self.sleep))
        monkeypatch.setattr(waiting, "_report", lambda *_, **__: None)
        monkeypatch.setattr(waiting, "sidecars_done", lambda _: True)

    def sleep(self, span_s: float) -> None:
        self.sleeps_s.add(span_s)
        self.now_s += span_s

    def states(self, _runs: Sequence[SubmittedRun]) -> BackendStates:
        self.asked_s.append(self.now_s)
        state = JobState("17", "COMPLETED" if self.now_s >= self._over_s else "RUNNING", exit_code=0)
        found = RunStates([state], over=self.now_s >= self._over_s, queued=self.now_s < self._gone_s)
        return BackendStates({self._run_id: found})


def waited(clock: Clock, run_dir: RunDir) -> int:
    spec = SimpleNamespace(energy=SimpleNamespace(enabled=True), name="j")
    job = cast(Prepared, SimpleNamespace(run_dir=run_dir, spec=spec))
    submitted = cast(SubmittedJob, SimpleNamespace(job_id="17"))
    return waiting.wait_for([(job, submitted)], cast(Backend, clock), cast(Config, None), as_json=False)


def test_slurm_is_asked_less_and_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = RunDir(str(tmp_path / RUN_ID))
    run_dir.path.mkdir()
    clock = Clock(monkeypatch, run_dir, over_s=200.0, gone_s=200.0)
    assert waited(clock, run_dir) == 0
    pauses_s = [after - before for before, after in pairwise(clock.asked_s)]
    assert pauses_s[:4] == [1.0, 1.5, 1.75, 2.25]
    assert pauses_s[-2:] == [15.0, 15.0]
    assert clock.sleeps_s == {0.25}


def test_an_end_that_accounting_does_not_show_counts_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = RunDir(str(tmp_path / RUN_ID))
    run_dir.path.mkdir()
    write_json_atomic(run_dir.end_json("17", 0), {"exit_code": 0})
    clock = Clock(monkeypatch, run_dir, over_s=1000.0, gone_s=10.0)
    assert waited(clock, run_dir) == 0
    assert 70.0 < clock.now_s < 90.0
