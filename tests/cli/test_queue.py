"""Jobs in a low-carbon queue as users and operators handle them, with Slurm's commands standing in."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_spool import FakeSpool
from planned import Planned
from sandbox import Sandbox

from hpcfrugal.ledger.sync import sync
from hpcfrugal.queues.ticket import Ticket, read_ticket
from hpcfrugal.user import user_name

CLEAN_AT_5 = [300.0] * 5 + [30.0] * 2 + [300.0] * 41
NASTY = "a'; rm -rf ~ #"
_SQUEUE = """
told={told}
wanted="${{@: -1}}"
between=${{wanted##*:}}
printf %s "${{told//SEP/$between}}"
"""


class Queue:
    """A site with a queue ``green`` of 2 nodes and a board of jobs that squeue shows."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.planned = Planned(box, folder)
        self.box = box
        self.slurm = self.planned.slurm
        settings = box.home / ".config/hpcfrugal/config.toml"
        settings.write_text(
            settings.read_text() + '[queues.green]\nmax_delay = "12h"\ncapacity = 2\npartition = "eco"\nqos = "low"\n'
        )
        self.start = self.planned.forecast(CLEAN_AT_5)

    def hour(self, moment: str | datetime | None) -> float:
        assert moment is not None
        at = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
        return (at.astimezone(UTC) - self.start) / timedelta(hours=1)

    def row(self, job_id: int, *, begin_h: float = 0, latest_h: float = 11, state: str = "PENDING", **more: str) -> str:
        def told(hours: float) -> str:
            return f"{self.start + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}"

        latest = int((self.start + timedelta(hours=latest_h)).timestamp())
        cells = {
            "job_id": str(job_id), "user": os.environ.get("USER", "root"), "state": state, "nodes": "1", "cpus": "4",
            "limit": "1:00:00", "submit": told(0), "eligible": told(begin_h), "end": told(begin_h + 1),
            "reason": "BeginTime", "array": "N/A", "name": "train",
            "comment": f"mine hpcfrugal:queue=green;latest={latest}",
        } | more  # fmt: skip
        return "SEP".join(cells.values()) + "SEP"

    def board(self, *rows: str) -> None:
        """With what stands between the values as squeue is told it, in the same form for every value."""
        told = "".join(f"{row}\n" for row in rows)
        self.slurm.answer("squeue", then=_SQUEUE.format(told=shlex.quote(told)))

    def updates(self) -> list[list[str]]:
        return [call[1:-2] for call in self.slurm.calls("scontrol") if call[:1] == ["update"]]


@pytest.fixture
def queue(box: Sandbox, tmp_path: Path) -> Queue:
    return Queue(box, tmp_path)


def submit(queue: Queue, *words: str, schedule: dict[str, Any] | None = None, **job: Any) -> tuple[dict[str, Any], str]:
    result = queue.box.run("submit", "--json", *words, queue.planned.job(schedule or {}, **job))
    assert result.code == 0, result.err
    told: dict[str, Any] = json.loads(result.out)
    return told, (Path(told["run_dir"]) / "script.sbatch").read_text()


def ticket_in(script: str) -> Ticket:
    comment = re.search(r'#SBATCH "?--comment=([^"\n]*)', script)
    assert comment is not None
    ticket = read_ticket(comment[1])
    assert ticket is not None
    return ticket


def test_a_job_enters_with_a_start_and_a_ticket(queue: Queue) -> None:
    told, script = submit(queue, "--queue", "green")
    plan = told["plan"]
    assert (plan["queue"], plan["action"], told["warnings"]) == ("green", "wait", [])
    assert queue.hour(plan["begin_at"]) == pytest.approx(5, abs=0.1)
    assert plan["expected"]["saving"] == pytest.approx(0.9, abs=0.02)
    for line in ("--partition=eco", "--qos=low", "--begin="):
        assert f"#SBATCH {line}" in script
    ticket = ticket_in(script)
    assert (ticket.queue, ticket.released) == ("green", False)
    assert queue.hour(ticket.latest) == pytest.approx(12, abs=0.1)
    assert ticket.latest <= datetime.fromisoformat(plan["latest_start_at"])


def test_the_file_says_it_as_well_and_its_own_words_go_before(queue: Queue) -> None:
    _, script = submit(queue, schedule={"queue": "green", "max_delay": "2h"}, resources={"time": "1:00:00", "qos": "x"})
    assert "#SBATCH --qos=x" in script
    ticket = ticket_in(script)
    assert queue.hour(ticket.latest) == pytest.approx(2, abs=0.1)


def test_those_submitted_together_leave_each_other_room(queue: Queue) -> None:
    jobs = [queue.box.write(f"{n}.yaml", "command: 'true'\nresources: {time: '1:00:00'}\n") for n in range(6)]
    told = [json.loads(line) for line in queue.box.ok("submit", "--queue", "green", "--json", *jobs).splitlines()]
    starts = sorted(queue.hour(one["plan"]["start_at"]) for one in told)
    assert [round(start) for start in starts[-4:]] == [5, 5, 6, 6] or [round(start) for start in starts[:4]] == [
        5,
        5,
        6,
        6,
    ]
    for begin in starts:
        assert sum(start <= begin < start + 1 for start in starts) <= 2


def test_who_is_there_already_takes_room(queue: Queue) -> None:
    queue.board(queue.row(1, begin_h=5), queue.row(2, begin_h=5))
    told, _ = submit(queue, "--queue", "green")
    assert queue.hour(told["plan"]["start_at"]) == pytest.approx(6, abs=0.1)


def test_the_ticket_says_how_long_such_jobs_ran(queue: Queue, tmp_path: Path) -> None:
    _, script = submit(queue, "--queue", "green")
    assert ticket_in(script).run is None
    spool = FakeSpool(tmp_path / "earlier")
    queue.box.env |= {"HPCFRUGAL_LEDGER": str(spool.ledger)}
    for number in range(6):
        spool.whole_run(str(number + 1), user=user_name(), spec={"name": "job"})
    sync(spool.root, spool.ledger)
    _, script = submit(queue, "--queue", "green")
    assert ticket_in(script).run == timedelta(minutes=1)


def test_now_is_now(queue: Queue) -> None:
    told, script = submit(queue, "--queue", "green", "--now")
    assert told["plan"]["action"] == "start-now"
    assert "--begin" not in script
    ticket = ticket_in(script)
    assert ticket.released


def test_a_queue_that_is_not_there(queue: Queue) -> None:
    result = queue.box.run("submit", "--queue", "gren", queue.planned.job({}))
    assert result.code == 2
    assert "schedule.queue: there is no queue 'gren' in the settings" in result.err
    assert "did you mean green?" in result.err
    assert not list(queue.box.spool.glob("*/*"))


def test_without_a_forecast_it_starts_now_and_is_still_in_the_queue(queue: Queue) -> None:
    queue.planned.file.unlink()
    told, script = submit(queue, "--queue", "green")
    assert told["plan"]["action"] == "start-now"
    assert ticket_in(script).queue == "green"


def test_the_list(queue: Queue) -> None:
    queue.board(
        queue.row(17, begin_h=9, name=NASTY), queue.row(18, state="RUNNING"), queue.row(19, reason="JobHeldUser"),
        queue.row(20, user="somebody"),
    )  # fmt: skip
    told = json.loads(queue.box.ok("queue", "list", "--all", "--json"))["queues"]
    assert [one["queue"] for one in told] == ["green"]
    green = told[0]
    assert (green["capacity"], green["running"], green["held"]) == (2, ["18"], ["19"])
    jobs = {job["job_id"]: job for job in green["jobs"]}
    assert set(jobs) == {"17", "20"}
    assert (jobs["17"]["name"], jobs["17"]["moves"]) == (NASTY, True)
    assert queue.hour(jobs["17"]["start_at"]) == pytest.approx(9, abs=0.1)
    assert queue.hour(jobs["17"]["planned_start_at"]) == pytest.approx(5, abs=0.1)
    assert queue.hour(jobs["17"]["latest_start_at"]) == pytest.approx(11, abs=0.1)
    assert jobs["17"]["saving"] == pytest.approx(0.9, abs=0.02)
    out = queue.box.ok("queue", "list", "--all")
    assert "green: 1 of 2 nodes in use, 2 jobs wait" in out
    assert NASTY in out
    assert "\x1b" not in out
    assert queue.updates() == []


def test_a_round_moves_what_is_to_move_and_nothing_else(queue: Queue) -> None:
    queue.board(queue.row(17, begin_h=9), queue.row(18, begin_h=5), queue.row(19, begin_h=9, reason="Dependency"))
    assert len(json.loads(queue.box.ok("queue", "plan", "--dry-run", "--json"))["queues"][0]["jobs"]) == 2
    assert queue.updates() == []
    before = len(queue.slurm.calls("squeue"))
    out = queue.box.ok("queue", "run", "--once")
    assert len(queue.slurm.calls("squeue")) == before + 1
    (update,) = queue.updates()
    assert update[0] == "JobId=17"
    start = datetime.fromisoformat(update[1].removeprefix("StartTime=")).replace(tzinfo=UTC)
    assert queue.hour(start) == pytest.approx(5, abs=0.3)
    assert "green: job 17 starts" in out
    assert "less carbon than now" in out


def test_slurm_refuses(queue: Queue) -> None:
    queue.board(queue.row(17, begin_h=9))
    queue.slurm.answer("scontrol", err="scontrol: Job is no longer pending execution for job 17\n", code=1)
    out = queue.box.ok("queue", "run", "--once", "--json")
    assert "no longer pending" in json.loads(out)["refused"]


def test_what_waits_of_an_array_that_has_begun(queue: Queue) -> None:
    queue.board(queue.row(17, begin_h=9, array="3-4"))
    said = "17_1-2: Job is no longer pending execution\n17_3-4: No error\n"
    queue.slurm.answer("scontrol", err=said, code=1)
    assert json.loads(queue.box.ok("queue", "run", "--once", "--json"))["refused"] is None
    assert "starts as soon as" in queue.box.ok("queue", "release", "17")


def test_one_job_of_years_leaves_the_others_their_plan(queue: Queue) -> None:
    queue.board(queue.row(17, begin_h=9), queue.row(18, begin_h=10, limit="9000-00:00:00", array="1-1000%1"))
    result = queue.box.run("queue", "run", "--once")
    assert (result.code, result.err) == (0, "")
    assert "JobId=17" in [update[0] for update in queue.updates()]


def test_slots_of_odd_seconds(queue: Queue) -> None:
    values = [value for value in CLEAN_AT_5 for _ in range(2)]
    queue.planned.forecast(values, 1799.333, queue.start - timedelta(seconds=0.123457))
    queue.board(queue.row(17, begin_h=9))
    result = queue.box.run("queue", "run", "--once")
    assert (result.code, result.err) == (0, "")
    assert [update[0] for update in queue.updates()] == ["JobId=17"]
    told, _ = submit(queue, "--queue", "green")
    assert queue.hour(told["plan"]["start_at"]) == pytest.approx(5, abs=0.3)


@pytest.mark.parametrize("hours", [1, 72])
def test_a_forecast_that_begins_in_a_while_or_ends_before_the_job(queue: Queue, hours: int) -> None:
    queue.planned.forecast(CLEAN_AT_5, 3600, datetime.now(UTC) + timedelta(minutes=20, microseconds=7))
    told, _ = submit(queue, "--queue", "green", resources={"time": f"{hours}:00:00"})
    assert told["plan"]["queue"] == "green"
    assert told["plan"]["start_at"] <= told["plan"]["latest_start_at"]


def test_no_forecast_changes_nothing(queue: Queue) -> None:
    queue.planned.file.write_text("<html>")
    queue.board(queue.row(17, begin_h=9), queue.row(18, begin_h=20, latest_h=11))
    result = queue.box.run("queue", "run", "--once")
    assert result.code == 0
    assert "green: no forecast: " in result.err
    # The one whose start was never safe gets a safe one even so.
    assert [update[0] for update in queue.updates()] == ["JobId=18"]


def test_release(queue: Queue) -> None:
    queue.board(queue.row(17, begin_h=9))
    assert "job 17 starts as soon as there is room" in queue.box.ok("queue", "release", "17")
    (update,) = queue.updates()
    assert update[:2] == ["JobId=17", "StartTime=now"]
    ticket = read_ticket(update[2].removeprefix("Comment="))
    assert ticket is not None
    assert ticket.released
    assert update[2].startswith("Comment=mine ")
    result = queue.box.run("queue", "release", "99", NASTY)
    assert result.code == 2
    assert f"waiting in no low-carbon queue: 99, {NASTY}" in result.err


def test_slurm_is_away(queue: Queue) -> None:
    queue.slurm.answer("squeue", err="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    for words in (["list"], ["plan"], ["run", "--once"], ["release", "17"]):
        result = queue.box.run("queue", *words)
        assert result.code == 3, result
        assert "squeue failed" in result.err
        assert "Traceback" not in result.err


@pytest.mark.parametrize("then", ["exit 1", "sleep 30"])
def test_a_submission_does_not_wait_for_what_else_is_there(queue: Queue, then: str) -> None:
    queue.slurm.answer("squeue", then=then)
    began = time.monotonic()
    told, script = submit(queue, "--queue", "green")
    assert time.monotonic() - began < 10
    assert told["plan"]["notes"][-1].startswith("what else waits in the queue is not known: squeue ")
    assert queue.hour(told["plan"]["begin_at"]) == pytest.approx(5, abs=0.1)
    assert ticket_in(script).queue == "green"


def test_no_queues_here(box: Sandbox) -> None:
    result = box.run("queue", "list")
    assert result.code == 3
    assert "there are no low-carbon queues here" in result.err


def test_the_service_goes_on_and_ends_when_told(queue: Queue) -> None:
    queue.board(queue.row(17, begin_h=9))
    service = subprocess.Popen(
        [*queue.box.program, "queue", "run", "--every", "1s"], env=queue.box.env, stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 20
        while len(queue.updates()) < 2:
            assert time.monotonic() < until
            time.sleep(0.1)
        second = queue.box.run("queue", "run", "--once")
        assert second.code == 3
        assert "another `queue run` of yours is at work" in second.err
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=10) == 0
    finally:
        service.kill()
        service.communicate()


def test_a_unit_for_systemd(queue: Queue) -> None:
    out = queue.box.ok("queue", "run", "--unit")
    assert "ExecStart=/" in out
    assert "queue run --every 5m" in out
