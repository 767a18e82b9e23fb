"""Jobs in a low-carbon queue as users and operators handle them, with Slurm's commands standing in."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_spool import FakeSpool
from planned import Planned, begin_of
from sandbox import Sandbox

from hpcfrugal.cli import queue as queue_module
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.user import user_name
from hpcfrugal.ledger.sync import sync
from hpcfrugal.queues.job_comment import JobComment, parse_job_comment

CLEAN_AT_5 = [300.0] * 5 + [30.0] * 2 + [300.0] * 41
NASTY = "a'; rm -rf ~ #"
_SQUEUE = """
told={told}
wanted="${{@: -1}}"
between=${{wanted##*:}}
printf %s "${{told//SEP/$between}}"
"""


class Queue:
    """A site with a queue ``green`` of 2 nodes and the jobs that squeue shows."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.planned = Planned(box, folder)
        self.box = box
        self.slurm = self.planned.slurm
        settings = box.home / ".config/hpcfrugal/config.toml"
        settings.write_text(
            settings.read_text() + '[queues.green]\nmax_delay = "12h"\ncapacity = 2\npartition = "eco"\nqos = "low"\n'
        )
        self.start = self.planned.forecast(CLEAN_AT_5)
        self.then = ""

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
            "reason": "BeginTime", "priority": "4294901747", "het": "N/A", "array_id": str(job_id), "array": "N/A",
            "partition": "eco", "qos": "low", "name": "train",
            "comment": f"mine hpcfrugal:queue=green;latest={latest}",
        } | more  # fmt: skip
        return "SEP".join(cells.values()) + "SEP"

    def snapshot(self, *rows: str) -> None:
        """With what stands between the values as squeue is told it, in the same form for every value."""
        self.then = _SQUEUE.format(told=shlex.quote("".join(f"{row}\n" for row in rows)))
        self.slurm.answer("squeue", then=self.then)

    def snapshot_then(self, before: str, later: str) -> None:
        """What squeue tells of all, and what of one job that is asked for."""
        told = [_SQUEUE.format(told=shlex.quote(f"{row}\n" if row else "")) for row in (before, later)]
        self.slurm.answer("squeue", then=f'case "$*" in\n*--jobs=*) {told[1]};;\n*) {told[0]};;\nesac')

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


def comment_in(script: str) -> JobComment:
    comment = re.search(r'#SBATCH "?--comment=([^"\n]*)', script)
    assert comment is not None
    comment = parse_job_comment(comment[1])
    assert comment is not None
    return comment


def test_a_job_is_admitted_with_a_start_and_a_comment(queue: Queue) -> None:
    told, script = submit(queue, "--queue", "green")
    plan = told["plan"]
    assert (plan["queue"], plan["action"], told["warnings"]) == ("green", "wait", [])
    assert queue.hour(plan["begin_at"]) == pytest.approx(5, abs=0.1)
    assert plan["expected"]["saving"] == pytest.approx(0.9, abs=0.02)
    for line in ("--partition=eco", "--qos=low", "--begin="):
        assert f"#SBATCH {line}" in script
    comment = comment_in(script)
    assert (comment.queue, comment.released) == ("green", False)
    assert queue.hour(comment.latest) == pytest.approx(12, abs=0.1)
    assert comment.latest <= datetime.fromisoformat(plan["latest_start_at"])


def test_the_settings_of_the_job_file_come_first(queue: Queue) -> None:
    told, script = submit(
        queue, schedule={"queue": "green", "max_delay": "20h"}, resources={"time": "1:00:00", "partition": "eco"}
    )
    assert "#SBATCH --partition=eco" in script
    assert queue.hour(comment_in(script).latest) == pytest.approx(20, abs=0.1)
    assert queue.hour(told["plan"]["latest_start_at"]) == pytest.approx(20, abs=0.1)
    told, script = submit(queue, schedule={"queue": "green", "max_delay": "0s"})
    assert told["plan"]["action"] == "start-now"
    assert "--begin" not in script
    assert queue.hour(comment_in(script).latest) == pytest.approx(0, abs=0.1)


def test_a_saving_below_the_jobs_own_least(queue: Queue) -> None:
    told, script = submit(queue, schedule={"queue": "green", "min_saving": "95 %"})
    assert (told["plan"]["action"], told["plan"]["expected"]["saving"]) == ("start-now", 0)
    assert comment_in(script).min_saving == 0.95
    told, script = submit(queue, schedule={"queue": "green", "min_saving": "80 %"})
    assert told["plan"]["action"] == "wait"
    assert comment_in(script).min_saving == 0.8
    # The queue's own needs no words.
    assert comment_in(submit(queue, "--queue", "green")[1]).min_saving is None


def test_settings_that_a_queue_cannot_follow_are_refused(queue: Queue) -> None:
    schedule = {
        "queue": "green", "interruptible": True, "budget_g": 5, "max_delay": "9h", "zone": "FR", "signal": "marginal"
    }  # fmt: skip
    resources = {"time": "1:00:00", "partition": "debug", "qos": NASTY}
    job = queue.planned.job(schedule, resources=resources)
    for words in (["submit"], ["submit", "--now"], ["plan"]):
        result = queue.box.run(*words, job)
        assert result.code == 2
        lines = [line.partition("job.yaml:1: ")[2].partition(":")[0] for line in result.err.splitlines()]
        assert [line for line in lines if line] == [
            "schedule.interruptible", "schedule.budget_g", "schedule.zone", "schedule.signal", "resources.partition",
            "resources.qos",
        ]  # fmt: skip
        assert f"queue 'green' is of qos 'low', not \"{NASTY}\"" in result.err
        assert "uses the forecast of zone XX" in result.err
    assert not list(queue.box.spool.glob("20*/*"))
    submit(queue, schedule={"queue": "green", "zone": "xx", "signal": "average"})


def test_a_scripts_own_lines(queue: Queue) -> None:
    lines = "#!/bin/bash\n#SBATCH --time=1:00:00 --comment='my words'\n"
    script = queue.box.write("train.sh", f"{lines}true\n")
    told = json.loads(queue.box.ok("submit", "--queue", "green", "--json", script))
    comments = re.findall(r'#SBATCH "?--comment=([^"\n]*)', (Path(told["run_dir"]) / "script.sbatch").read_text())
    assert comments[-1].startswith("my words hpcfrugal:queue=green;")
    # The script's own start is the earliest one, for the queue's later rounds too.
    script.write_text(f"{lines}#SBATCH --begin=now+6hours\ntrue\n")
    before = datetime.now(UTC)
    told = json.loads(queue.box.ok("submit", "--queue", "green", "--json", script))
    rendered = (Path(told["run_dir"]) / "script.sbatch").read_text()
    earliest = comment_in(rendered).earliest
    assert earliest is not None
    assert timedelta(hours=6) - timedelta(seconds=2) <= earliest - before <= timedelta(hours=6, minutes=1)
    assert set(re.findall(r"^#SBATCH --begin=(.*)$", rendered, re.MULTILINE)) == {"now+6hours"}


def test_not_before_its_earliest_even_after_the_longest_delay(queue: Queue) -> None:
    earliest = queue.start + timedelta(hours=30)
    told, script = submit(queue, schedule={"queue": "green", "earliest": earliest.isoformat()})
    assert told["plan"]["action"] == "start-now"
    assert begin_of(script) == earliest
    assert comment_in(script).earliest == earliest


@pytest.mark.parametrize("values", [[100.0, 100.0, *[0.0] * 40], [0.0] * 40])
def test_hours_without_any_carbon(queue: Queue, values: list[float]) -> None:
    queue.planned.forecast(values)
    told, _ = submit(queue, schedule={"queue": "green", "earliest": (queue.start + timedelta(hours=3)).isoformat()})
    assert (told["plan"]["expected"]["now_g"], told["plan"]["expected"]["saving"]) == (0, 0)
    queue.planned.waits(3 * 3600)
    told, _ = submit(queue, "--queue", "green")
    assert told["plan"]["expected"]["then_g"] == 0


def test_a_deadline_is_met_whatever_the_wait(queue: Queue) -> None:
    """Cleaner and cleaner until the deadline; jobs like it waited an hour, one in ten two hours."""
    queue.planned.forecast([400.0 - 20 * hour for hour in range(12)] + [400.0] * 36)
    past = queue.start - timedelta(hours=9)
    rows = []
    for number in range(30):
        start = past + timedelta(hours=2 if number % 5 == 0 else 1)
        rows.append(f"batch|1|{past:%Y-%m-%dT%H:%M:%S}|{past:%Y-%m-%dT%H:%M:%S}|{start:%Y-%m-%dT%H:%M:%S}")
    queue.slurm.sacct(*rows)
    deadline = queue.start + timedelta(hours=10)
    _, script = submit(queue, schedule={"queue": "green", "deadline": deadline.isoformat()})
    comment = comment_in(script)
    assert (comment.by, comment.wait) == (deadline - timedelta(hours=2), timedelta(hours=1))
    assert comment.latest == deadline - timedelta(hours=3)
    begin = begin_of(script)
    assert begin is not None
    assert timedelta(minutes=-10) < begin - comment.latest <= timedelta()
    # A longest delay is no such promise: what others waited in the worst case is not taken off.
    comment = comment_in(submit(queue, "--queue", "green")[1])
    assert queue.hour(comment.latest) == pytest.approx(11, abs=0.1)
    assert comment.by is None


def test_all_tasks_of_an_array_meet_the_deadline(queue: Queue) -> None:
    deadline = queue.start + timedelta(hours=10)
    told, _ = submit(
        queue, schedule={"queue": "green", "deadline": deadline.isoformat()},
        resources={"time": "1:00:00", "array": "1-8%2"},
    )  # fmt: skip
    assert queue.hour(told["plan"]["latest_start_at"]) == pytest.approx(6)
    # Two of them at once are all that the queue has room for, for four hours.
    queue.snapshot(queue.row(1, begin_h=5))
    told, _ = submit(queue, "--queue", "green", resources={"time": "1:00:00", "array": "1-8%2"})
    assert not 1.01 < queue.hour(told["plan"]["start_at"]) < 5.99


def test_jobs_submitted_together_keep_to_the_capacity(queue: Queue) -> None:
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


def test_a_heterogeneous_job_takes_the_nodes_of_all_its_components(queue: Queue) -> None:
    lines = ["#SBATCH --time=30 --ntasks=1", "#SBATCH hetjob", "#SBATCH --ntasks=2"]
    queue.box.write("het.sh", "\n".join(["#!/bin/bash", *lines, "true", ""]))
    for number in (1, 2):
        queue.box.write(f"{number}.yaml", f"name: j{number}\nscript: het.sh\nschedule: {{queue: green}}\n")
    queue.snapshot()
    result = queue.box.run("submit", "--json", "1.yaml", "2.yaml")
    assert result.code == 0, result
    hours = sorted(queue.hour(json.loads(line)["plan"]["start_at"]) for line in result.out.splitlines())
    # The queue has two nodes, and each of the jobs takes both.
    assert hours[1] - hours[0] >= 0.5


def test_jobs_in_the_queue_use_capacity(queue: Queue) -> None:
    queue.snapshot(queue.row(1, begin_h=5), queue.row(2, begin_h=5))
    told, _ = submit(queue, "--queue", "green")
    assert queue.hour(told["plan"]["start_at"]) == pytest.approx(6, abs=0.1)


def test_the_comment_has_the_run_time_of_similar_jobs(queue: Queue, tmp_path: Path) -> None:
    _, script = submit(queue, "--queue", "green")
    assert comment_in(script).run is None
    spool = FakeSpool(tmp_path / "earlier")
    queue.box.env |= {"HPCFRUGAL_LEDGER": str(spool.ledger)}
    for number in range(6):
        spool.whole_run(str(number + 1), user=user_name(), spec={"name": "job"})
    sync(spool.root, spool.ledger)
    _, script = submit(queue, "--queue", "green")
    assert comment_in(script).run == timedelta(minutes=1)


def test_now_is_now(queue: Queue) -> None:
    told, script = submit(queue, "--queue", "green", "--now")
    assert told["plan"]["action"] == "start-now"
    assert "--begin" not in script
    comment = comment_in(script)
    assert comment.released


def test_a_queue_that_does_not_exist(queue: Queue) -> None:
    result = queue.box.run("submit", "--queue", "gren", queue.planned.job({}))
    assert result.code == 2
    assert "error: queue: there is no queue 'gren' in the settings" in result.err
    assert "did you mean green?" in result.err
    assert not list(queue.box.spool.glob("20*/*"))


def test_without_a_forecast_it_starts_now_and_is_still_in_the_queue(queue: Queue) -> None:
    queue.planned.file.unlink()
    told, script = submit(queue, "--queue", "green")
    assert told["plan"]["action"] == "start-now"
    assert comment_in(script).queue == "green"


def test_the_list(queue: Queue) -> None:
    queue.snapshot(
        queue.row(17, begin_h=9, name=NASTY), queue.row(18, state="RUNNING"),
        queue.row(19, reason="JobHeldUser", priority="0"), queue.row(20, user="somebody"),
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
    assert "green: 1 of 2 nodes in use, jobs waiting: 2" in out
    assert NASTY in out
    assert "\x1b" not in out
    assert queue.updates() == []


def test_a_round_moves_what_is_to_move_and_nothing_else(queue: Queue) -> None:
    queue.snapshot(queue.row(17, begin_h=9), queue.row(18, begin_h=5), queue.row(19, begin_h=9, reason="Dependency"))
    assert len(json.loads(queue.box.ok("queue", "plan", "--json"))["queues"][0]["jobs"]) == 2
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


def test_a_dirtier_start_is_called_so(queue: Queue) -> None:
    queue.planned.forecast([30.0] * 2 + [300.0] * 40)
    end = f"{queue.start + timedelta(hours=2.5):%Y-%m-%dT%H:%M:%S}"
    queue.snapshot(
        queue.row(1, state="RUNNING", end=end), queue.row(2, state="RUNNING", end=end),
        queue.row(17, begin_h=9, latest_h=3),
    )  # fmt: skip
    out = queue.box.ok("queue", "run", "--once")
    assert re.search(r"green: job 17 starts .*, [89][0-9]{2} % more carbon than now\)", out)


def test_a_job_that_was_released_meanwhile_is_not_delayed(queue: Queue) -> None:
    """squeue tells the round of one row, and the last look before the write of another."""
    before = queue.row(17, begin_h=2)
    released = before.replace(";latest=", ";released=1;latest=")
    for later, why in (
        (released, "its start or comment has changed since the round began"),
        (queue.row(17, begin_h=1), "its start or comment has changed since the round began"),
        (queue.row(17, begin_h=2, reason="JobHeldUser", priority="0"), "it no longer waits, or it is held"),
        ("", "it no longer waits, or it is held"),
    ):
        queue.snapshot_then(before, later)
        out = queue.box.ok("queue", "run", "--once")
        assert f"job 17 not moved: {why}" in out
        assert queue.updates() == []
    queue.snapshot_then(before, before)
    queue.box.ok("queue", "run", "--once")
    assert [update[0] for update in queue.updates()] == ["JobId=17"]


def test_a_job_that_is_over_does_not_end_the_round(queue: Queue) -> None:
    queue.snapshot(queue.row(17, begin_h=2), queue.row(18, begin_h=9))
    said = "slurm_load_jobs error: Invalid job id specified"
    queue.slurm.answer("squeue", then=f'case "$*" in *--jobs=17*) echo "{said}" >&2; exit 1;; esac\n' + queue.then)
    out = queue.box.ok("queue", "run", "--once")
    assert re.search(r"job 17 not moved: squeue failed: .*Invalid job id specified", out)
    assert [update[0] for update in queue.updates()] == ["JobId=18"]


def test_jobs_in_another_partition_or_qos_are_not_moved(queue: Queue) -> None:
    queue.snapshot(
        queue.row(17, begin_h=9, partition="debug"), queue.row(18, begin_h=9, qos="high"), queue.row(19, begin_h=9)
    )
    result = queue.box.run("queue", "run", "--once")
    assert "green: ignored, since they are not in the partition or QOS of the queue: 17, 18" in result.err
    assert [update[0] for update in queue.updates()] == ["JobId=19"]


def test_slurm_refuses(queue: Queue) -> None:
    queue.snapshot(queue.row(17, begin_h=9))
    queue.slurm.answer("scontrol", err="scontrol: Job is no longer pending execution for job 17\n", code=1)
    out = queue.box.ok("queue", "run", "--once", "--json")
    assert "no longer pending" in json.loads(out)["refused"]


def test_the_waiting_tasks_of_a_running_array(queue: Queue) -> None:
    queue.snapshot(queue.row(17, begin_h=9, array="3-4"))
    said = "17_1-2: Job is no longer pending execution\n17_3-4: No error\n"
    queue.slurm.answer("scontrol", err=said, code=1)
    assert json.loads(queue.box.ok("queue", "run", "--once", "--json"))["refused"] is None
    assert "starts as soon as" in queue.box.ok("queue", "release", "17")


def test_a_job_of_years_does_not_affect_the_plan_of_others(queue: Queue) -> None:
    queue.snapshot(queue.row(17, begin_h=9), queue.row(18, begin_h=10, limit="9000-00:00:00", array="1-1000%1"))
    result = queue.box.run("queue", "run", "--once")
    assert (result.code, result.err) == (0, "")
    assert "JobId=17" in [update[0] for update in queue.updates()]


def test_slots_of_odd_seconds(queue: Queue) -> None:
    values = [value for value in CLEAN_AT_5 for _ in range(2)]
    queue.planned.forecast(values, 1799.333, queue.start - timedelta(seconds=0.123457))
    queue.snapshot(queue.row(17, begin_h=9))
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
    queue.snapshot(queue.row(17, begin_h=9), queue.row(18, begin_h=20, latest_h=11))
    result = queue.box.run("queue", "run", "--once")
    assert result.code == 0
    assert "green: no forecast: " in result.err
    # The one whose start was never safe gets a safe one even so.
    assert [update[0] for update in queue.updates()] == ["JobId=18"]


def test_release(queue: Queue) -> None:
    queue.snapshot(queue.row(17, begin_h=9))
    assert "job 17 starts as soon as there are free nodes" in queue.box.ok("queue", "release", "17")
    (update,) = queue.updates()
    assert update[:2] == ["JobId=17", "StartTime=now"]
    comment = parse_job_comment(update[2].removeprefix("Comment="))
    assert comment is not None
    assert comment.released
    assert update[2].startswith("Comment=mine ")
    # Its own earliest start does not hold it back any more.
    latest = int((queue.start + timedelta(hours=11)).timestamp())
    comment = f"hpcfrugal:queue=green;latest={latest};earliest={latest};save=0.5"
    queue.snapshot(queue.row(17, begin_h=9, comment=comment))
    queue.box.ok("queue", "release", "17")
    assert queue.updates()[-1][2] == f"Comment=hpcfrugal:queue=green;latest={latest};save=0.5;released=1"
    result = queue.box.run("queue", "release", "99", NASTY)
    assert result.code == 2
    assert f"not waiting in a low-carbon queue: 99, {NASTY}" in result.err


def test_slurm_does_not_answer(queue: Queue) -> None:
    queue.slurm.answer("squeue", err="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    for words in (["list"], ["plan"], ["run", "--once"], ["release", "17"]):
        result = queue.box.run("queue", *words)
        assert result.code == 3, result
        assert "squeue failed" in result.err
        assert "Traceback" not in result.err


def test_the_queue_is_read_at_the_same_time_as_all_else(queue: Queue, tmp_path: Path) -> None:
    """sbatch --test-only answers once squeue was asked, and after that there is no more of it to wait for."""
    asked = tmp_path / "asked"
    queue.slurm.answer("squeue", then=f"touch {asked}")
    wait = f"for _ in {{1..20}}; do [ -e {asked} ] && break; sleep 0.1; done; [ -e {asked} ] || touch {asked}.not"
    queue.slurm.answer("sbatch", then=f'case "$*" in *--test-only*) {wait};; *) echo 17;; esac')
    submit(queue, "--queue", "green")
    assert asked.exists()
    assert not Path(f"{asked}.not").exists()
    before = len(queue.slurm.calls("squeue"))
    submit(queue, "--queue", "green", "--now")
    assert len(queue.slurm.calls("squeue")) == before


@pytest.mark.slow
@pytest.mark.parametrize("then", ["exit 1", "sleep 30"])
def test_a_submission_does_not_wait_for_a_slow_squeue(queue: Queue, then: str) -> None:
    queue.slurm.answer("squeue", then=then)
    began = time.monotonic()
    told, script = submit(queue, "--queue", "green")
    assert time.monotonic() - began < 10
    assert told["plan"]["notes"][-1].startswith("other jobs in the queue unknown: squeue ")
    assert queue.hour(told["plan"]["begin_at"]) == pytest.approx(5, abs=0.1)
    assert comment_in(script).queue == "green"


def test_no_queues_here(box: Sandbox) -> None:
    result = box.run("queue", "list")
    assert result.code == 3
    assert "no low-carbon queues are configured" in result.err


@pytest.mark.slow
def test_the_service_goes_on_and_ends_by_a_signal(queue: Queue) -> None:
    queue.snapshot(queue.row(17, begin_h=9))
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
        assert "another `queue run` of yours is running" in second.err
        (lock,) = queue.box.home.rglob("queue.lock")
        assert lock.stat().st_mode & 0o777 == 0o600
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=10) == 0
    finally:
        service.kill()
        service.communicate()


def test_a_unit_for_systemd(queue: Queue) -> None:
    out = queue.box.ok("queue", "run", "--unit")
    assert "ExecStart=/" in out
    assert "queue run --every 5m" in out


@pytest.mark.parametrize(("every_s", "after_failure_s"), [(300, 30.0), (10, 10.0)])
def test_after_a_failure_the_next_round_is_in_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, every_s: int, after_failure_s: float
) -> None:
    waits_s: list[float] = []
    failures = iter([SetupError("no answer"), None])

    def one_round(*_: object) -> None:
        if (failure := next(failures)) is not None:
            raise failure

    def wait(span_s: float) -> bool:
        waits_s.append(span_s)
        return len(waits_s) == 2

    monkeypatch.setattr(queue_module, "load_config", lambda: None)
    monkeypatch.setattr(queue_module, "_queues", lambda *_: [])
    monkeypatch.setattr(queue_module, "_alone", lambda *, once: nullcontext())
    monkeypatch.setattr(queue_module, "_one_round", one_round)
    monkeypatch.setattr(queue_module, "stop_noted", lambda *_: nullcontext(SimpleNamespace(wait=wait)))
    run = queue_module.queue_run.callback
    assert run is not None
    run((), once=False, every=timedelta(seconds=every_s), unit=False, as_json=False)
    assert waits_s == [after_failure_s, float(every_s)]
