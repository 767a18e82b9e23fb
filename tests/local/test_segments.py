"""Interruptible jobs of this machine: stopped at the end of a window, started again in the next one."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from planned import Planned
from sandbox import Sandbox, wait_until
from segment_job import PROGRAM

from hpcfrugal.api.messages import LoggedMessages
from hpcfrugal.api.sync import Update
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.local.backend import Local
from hpcfrugal.local.identity import cluster_name
from hpcfrugal.local.pid_file import write_pid
from hpcfrugal.local.states import job_states
from hpcfrugal.local.task import LocalTask
from hpcfrugal.settings.config import load_config
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.documents import EndDocument, LocalDocument, SubmittedDocument, own_run, write_document
from hpcfrugal.spool.layout import new_run_id

pytestmark = [pytest.mark.slow, pytest.mark.serial]


@pytest.fixture
def planned(box: Sandbox, tmp_path: Path) -> Planned:
    made = Planned(box, tmp_path)
    box.env["HPCFRUGAL_BACKEND"] = "local"
    box.write("program.py", PROGRAM)
    return made


def submit(planned: Planned, clean: list[float]) -> tuple[RunDir, dict[str, Any]]:
    """A job of 17 s that may run for 20 s, on a forecast in slots of 8 s from now on."""
    planned.forecast(clean + [500.0] * 60, step_s=8, start=datetime.now(UTC).replace(microsecond=0))
    job = planned.box.job(
        f"{sys.executable} program.py 170", output="o", resources={"time": "0:20"},
        schedule={"max_delay": "70s", "interruptible": {"min_segment": "2s", "grace": "5s"}},
    )  # fmt: skip
    out = json.loads(planned.box.ok("submit", "--json", job))
    return RunDir(out["run_dir"]), out["plan"]


def test_a_job_runs_in_segments(planned: Planned) -> None:
    run_dir, plan = submit(planned, [10.0, 10.0, 500.0, 10.0, 10.0])
    run_id = run_dir.run_id
    assert (plan["action"], len(plan["segments"])) == ("segments", 2)
    first = LocalTask(run_dir)
    wait_until(lambda: first.now().restart == 1, 60)
    (state,) = job_states(run_dir)
    assert (state.state, state.restart) == ("PENDING", 1)
    assert state.reason is not None
    assert state.reason.startswith("starts at ")
    wait_until(lambda: job_states(run_dir)[0].final, 60)
    (state,) = job_states(run_dir)
    assert (state.state, state.exit_code, state.restart) == ("COMPLETED", 0, 1)
    running = first.now().recorded()
    assert running is not None
    assert (running.state, running.eligible_at is not None) == ("RUNNING", True)
    assert (planned.box.work / "o").read_text() == "saved\nfinished\n"
    recorded = first.recorded()
    assert recorded is not None
    assert (recorded.state, recorded.final, first.end().exit_code) == ("REQUEUED", True, 0)
    planned.box.ok("ledger", "sync")
    rows = json.loads(planned.box.ok("report", "--json", run_id))["jobs"]
    assert [(row["restart"], row["state"], row["exit_code"]) for row in rows] == [
        (0, "REQUEUED", 0), (1, "COMPLETED", 0),
    ]  # fmt: skip
    assert all(row["sidecar_sessions"] for row in rows)
    assert 16 < sum(row["elapsed_s"] for row in rows) < 30


def test_a_job_is_cancelled_between_its_segments(planned: Planned) -> None:
    run_dir, _ = submit(planned, [10.0, 10.0, 500.0, 500.0, 500.0, 10.0, 10.0])
    wait_until(lambda: LocalTask(run_dir).now().restart == 1, 60)
    Local(planned.box.spool).cancel([run_dir.run_id])
    (state,) = job_states(run_dir)
    assert (state.state, state.restart, state.start_at) == ("CANCELLED", 1, None)
    wait_until(lambda: not (run_dir.path / "local.pid").exists() or _starter_is_gone(run_dir))
    assert (planned.box.work / "o").read_text() == "saved\n"


def test_a_job_is_cancelled_before_its_next_segment_is_recorded(tmp_path: Path) -> None:
    run_dir = RunDir.of(tmp_path, new_run_id(datetime.now(UTC), "0123abcd"))
    run_dir.path.mkdir(parents=True)
    task = LocalTask(run_dir)
    task.pid_path.write_text("1 0\n")
    write_document(run_dir.end_json(task.job_id, 0), EndDocument(task.job_id, 0, exit_code=0))
    run_dir.next_start(task.job_id).write_text("4000000000")
    assert job_states(run_dir)[0].state == "COMPLETED"
    Local(tmp_path).cancel([run_dir.run_id])
    assert job_states(run_dir)[0].state == "CANCELLED"


def test_a_second_segment_that_was_killed_is_over_in_the_ledger(tmp_path: Path) -> None:
    """It was waiting when its state was recorded; the process that started it is gone, and it left no end record."""
    run_id = new_run_id(datetime.now(UTC), "0123abcd")
    run_dir = RunDir.of(tmp_path / "spool", run_id)
    run_dir.path.mkdir(parents=True)
    write_document(run_dir.run_json, own_run(run_id, datetime.now(UTC), "local", {"name": "long"}))
    write_document(run_dir.local_json, LocalDocument())
    write_document(run_dir.submitted_json, SubmittedDocument(run_id, cluster_name()))
    first, second = LocalTask(run_dir), LocalTask(run_dir, restart=1)
    write_document(run_dir.end_json(run_id, 0), EndDocument(run_id, 0, exit_code=0))
    first.keep_state("REQUEUED", ended=True)
    second.keep_state("PENDING", eligible=datetime.now(UTC))
    write_pid(second.pid_path, os.getpid())

    def states() -> list[str | None]:
        update = Update(load_config(), tmp_path / "spool", tmp_path / "ledger.db", LoggedMessages(), offline=True)
        update.run()
        with open_ledger(tmp_path / "ledger.db") as connection:
            return [job.state for job in find_jobs(connection, JobFilter())]

    assert states() == ["REQUEUED", "PENDING"]
    second.pid_path.write_text("999999999 1 boot\n")
    assert states() == ["REQUEUED", "NODE_FAIL"]


def _starter_is_gone(run_dir: RunDir) -> bool:
    return not Path(f"/proc/{run_dir.local_pid.read_text().split()[0]}").exists()
