"""What `submit` makes of a job's `schedule`: the start that it gives to Slurm, what it keeps, and what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_grid import Grid, Reply
from fake_spool import FakeSpool
from planned import Planned, begin_of
from sandbox import Sandbox

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.user import user_name
from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.sbatch_flags import sbatch_flags, sbatch_time
from hpcfrugal.ledger.sync import sync

CLEAN_AT_8 = [300.0] * 8 + [30.0] * 4 + [300.0] * 36


@pytest.fixture
def planned(box: Sandbox, tmp_path: Path) -> Planned:
    return Planned(box, tmp_path)


@pytest.fixture
def grid() -> Iterator[Grid]:
    server = Grid()
    yield server
    server.stop()


def near(content: str | None, wanted: datetime, seconds: float = 30) -> bool:
    return content is not None and abs(datetime.fromisoformat(content) - wanted) <= timedelta(seconds=seconds)


# Slurm's option -----------------------------------------------------------------------------------------------------


def test_earliest_is_the_begin_of_sbatch() -> None:
    spec = job_from_mapping({"command": "true", "schedule": {"earliest": "2027-01-01T10:00:00+05:00"}})
    (option,) = [option for option in sbatch_flags(spec) if option.startswith("--begin=")]
    begin = datetime.fromisoformat(option.partition("=")[2]).astimezone()
    assert begin == datetime.fromisoformat("2027-01-01T10:00:00+05:00")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ("2026-10-24T22:30:00+00:00", "2026-10-25T00:30:00"),
        ("2026-10-25T00:30:00+00:00", "uts1792888200"),
        ("2026-10-25T01:30:00+00:00", "uts1792891800"),
        ("2026-10-25T02:30:00.9+00:00", "2026-10-25T03:30:00"),
        ("2026-03-29T01:30:00+00:00", "2026-03-29T03:30:00"),
    ],
)
def test_each_begin_is_a_single_instant(at: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Paris")
        time.tzset()
        assert sbatch_time(datetime.fromisoformat(at)) == text
    time.tzset()


# A job that may wait ------------------------------------------------------------------------------------------------


def test_a_job_waits_for_clean_power(planned: Planned) -> None:
    start = planned.forecast(CLEAN_AT_8)
    result, plan, script = planned.submit({"max_delay": "12h"})
    clean = start + timedelta(hours=8)
    begin = begin_of(script)
    assert begin is not None
    assert clean - timedelta(seconds=2) <= begin <= clean
    assert (plan["schema"], plan["policy"], plan["action"], plan["queue"]) == (1, "low-carbon", "wait", None)
    assert near(plan["begin_at"], clean)
    assert near(plan["start_at"], clean)
    assert plan["segments"] == [
        {"start_at": plan["start_at"], "end_at": (clean + timedelta(hours=1)).isoformat().replace("+00:00", "Z")}
    ]
    assert (plan["duration_s"], plan["duration_source"], plan["limit_s"]) == (3600, "time limit", 3600)
    assert near(plan["latest_start_at"], datetime.now(UTC) + timedelta(hours=12))
    assert plan["counterfactual"]["wait_s"] <= 1
    assert near(plan["counterfactual"]["start_at"], datetime.now(UTC))
    expected = plan["expected"]
    assert expected["now_forecast_g_per_kwh"] == 300
    assert expected["then_forecast_g_per_kwh"] == 30
    assert 0.5 < expected["band"][0] < expected["saving"] < expected["band"][1]
    assert expected["power_source"] == "modelled: 1 CPU at full load"
    assert expected["then_g"] == pytest.approx(expected["then_g_per_kwh"] * expected["power_w"] / 1000)
    kept = CarbonSeries.from_json(plan["forecast"])
    assert (kept.zone, kept.at(clean), kept.end) == ("XX", 30.0, start + timedelta(hours=14))
    assert (kept.start, kept.step) == (start, timedelta(hours=1)), "whole slots, though it was submitted within one"
    assert (plan["zone"], plan["signal"], plan["provider"], plan["stale"]) == ("XX", "average", "site", False)
    assert plan["issued_at"] == start.isoformat().replace("+00:00", "Z")
    assert json.loads(result.out)["plan"] == plan
    assert result.err == ""


def test_the_decision_is_one_line(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    out = planned.box.ok("submit", planned.job({"max_delay": "12h"}))
    (line,) = [line for line in out.splitlines() if line.startswith("Starts ")]
    assert line.startswith("Starts about ")
    assert " less carbon expected (band " in line
    assert "; forecast site issued " in line


def test_a_dry_run_shows_script_and_plan_and_writes_no_run(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    result = planned.box.run("submit", "--dry-run", planned.job({"max_delay": "12h"}))
    assert begin_of(result.out) is not None
    assert "Starts about" in result.err
    assert "Starts about" not in result.out
    assert list(planned.box.spool.glob("20*/*")) == []


def test_the_deadline_bounds_the_end_of_the_time_limit(planned: Planned) -> None:
    planned.forecast([300.0] * 8 + [30.0] * 40)
    deadline = datetime.now(UTC) + timedelta(hours=9)
    _, plan, script = planned.submit({"deadline": deadline.isoformat()}, resources={"time": "2:00:00"})
    # At hour 8 it would be clean, but then it could run until hour 10.
    assert near(plan["latest_start_at"], deadline - timedelta(hours=2), 0.001)
    begin = begin_of(script)
    assert begin is None or begin <= deadline - timedelta(hours=2)
    assert datetime.fromisoformat(plan["segments"][0]["end_at"]) <= deadline


def test_a_job_waits_only_for_a_sufficient_saving(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    result, plan, script = planned.submit({"max_delay": "12h", "min_saving": "95 %"})
    assert (begin_of(script), plan["action"], plan["expected"]["saving"]) == (None, "start-now", 0)
    assert "less than the required 95 %" in plan["reason"]
    assert 0.5 < plan["best"]["saving"] < 0.95
    assert result.err == ""
    planned.forecast([300.0] * 4 + [297.0] * 44)
    _, plan, _ = planned.submit({"max_delay": "12h"})
    assert plan["action"] == "start-now"
    assert plan["reason"].endswith("less than the required 4 %")


def test_now_overrides_the_plan(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    result = planned.box.run("submit", "--now", "--json", planned.job({"max_delay": "12h"}))
    content = json.loads(result.out)["plan"]
    assert (content["action"], content["forecast"]) == ("start-now", None)
    assert content["reason"] == "an immediate start was asked for"
    assert not any("--test-only" in call for call in planned.slurm.calls("sbatch"))


def test_the_first_start_within_the_grams(planned: Planned) -> None:
    # One core at 6.435 W for an hour: 0.006435 kWh, so 0.96525 g is 150 g/kWh, halfway down the slope from 300 to 0.
    start = planned.forecast([300.0] * 4 + [0.0] * 4 + [100.0] * 40)
    _, plan, script = planned.submit({"budget_g": 0.96525})
    assert plan["policy"] == "budget"
    assert near(plan["start_at"], start + timedelta(hours=3.5))
    assert begin_of(script) is not None
    result = planned.box.run("submit", planned.job({"budget_g": 0.0001, "max_delay": "2h"}))
    assert "no start stays within the budget of 0.0001 g; the lowest is about" in result.out


def test_a_budget_that_is_kept_at_once_waits_for_nothing(planned: Planned) -> None:
    planned.forecast([300.0] * 4 + [10.0] * 44)
    _, plan, script = planned.submit({"budget_g": 100, "max_delay": "12h"})
    assert (plan["action"], begin_of(script)) == ("start-now", None)


# The wait in the queue ----------------------------------------------------------------------------------------------


def sacct_waits(wait_s: int, count: int, partition: str = "batch") -> str:
    at = datetime.now(UTC) - timedelta(hours=3)
    form = "%Y-%m-%dT%H:%M:%S"
    row = f"{partition}|1|{at:{form}}|{at:{form}}|{at + timedelta(seconds=wait_s):{form}}\n"
    return row * count + f"{partition}|1|{at:{form}}|{at:{form}}|Unknown\nnonsense\n"


def test_a_job_begins_early_by_the_wait_that_is_usual(planned: Planned) -> None:
    start = planned.forecast(CLEAN_AT_8)
    planned.slurm.answer("sacct", sacct_waits(1800, 30))
    _, plan, script = planned.submit({"max_delay": "12h"})
    begin, clean = begin_of(script), start + timedelta(hours=8)
    assert begin is not None
    assert near(begin.isoformat(), clean - timedelta(minutes=30), 2)
    assert near(plan["start_at"], clean)
    assert plan["wait"] == {
        "expected_s": 1800,
        "most_s": 1800,
        "source": "accounting, 30 jobs of the same partition and size",
        "basis": "past jobs",
    }
    assert "Slurm expects a wait of" in " ".join(plan["notes"])


def test_options_in_the_environment_do_not_reach_slurm(planned: Planned) -> None:
    planned.slurm.answer("sbatch", then='[ -z "$SBATCH_QOS$SLURM_CLUSTERS$SLURM_JOB_ID" ] && echo 17')
    outer = {"SBATCH_QOS": "a'; rm -rf ~ #", "SLURM_CLUSTERS": "other", "SLURM_JOB_ID": "900"}
    result = planned.box.run("submit", planned.job({}), env=outer)
    assert result.code == 0, result
    assert "warning: not passed to Slurm: SBATCH_QOS, SLURM_CLUSTERS; write such options into" in result.err
    assert "rm -rf" not in result.err


def test_waits_are_asked_for_once_an_hour(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    for _ in range(3):
        planned.submit({"max_delay": "12h"})
    assert len(planned.slurm.calls("sacct")) == 1


def test_no_start_is_so_late_that_a_long_wait_misses_the_deadline(planned: Planned) -> None:
    planned.forecast([300.0] * 9 + [30.0] * 39)
    planned.slurm.answer("sacct", sacct_waits(60, 15) + sacct_waits(7200, 15))
    deadline = datetime.now(UTC) + timedelta(hours=12)
    _, plan, script = planned.submit({"deadline": deadline.isoformat()})
    begin = begin_of(script)
    assert begin is not None
    assert begin <= deadline - timedelta(hours=1) - timedelta(seconds=plan["wait"]["most_s"])


def test_a_full_cluster_counts_as_the_soonest_start(planned: Planned) -> None:
    planned.forecast([300.0] * 24 + [10.0] * 24)
    planned.waits(6 * 3600)
    _, plan, _ = planned.submit({"max_delay": "12h"})
    assert plan["counterfactual"]["wait_s"] == pytest.approx(6 * 3600, abs=2)
    assert near(plan["counterfactual"]["start_at"], datetime.now(UTC) + timedelta(hours=6))


@pytest.mark.serial
def test_a_slurm_that_does_not_answer_costs_no_more_than_its_time(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    planned.slurm.answer("sacct", then="sleep 60")
    planned.slurm.answer("sbatch", then='case "$*" in *--test-only*) sleep 60;; *) echo 17;; esac')
    begun = time.monotonic()
    _, plan, _ = planned.submit({"max_delay": "12h"})
    assert time.monotonic() - begun < 5
    assert plan["action"] == "wait"
    assert [note.partition(":")[0] for note in plan["notes"]] == [
        "expected start unknown",
        "usual wait unknown",
    ]


@pytest.mark.slow
@pytest.mark.serial
def test_a_slurm_that_does_not_answer_is_waited_for_once_by_several_jobs(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    planned.slurm.answer("sbatch", then='case "$*" in *--test-only*) sleep 60;; *) echo 17;; esac')
    job = planned.job({"max_delay": "12h"})
    begun = time.monotonic()
    content = [json.loads(line) for line in planned.box.ok("submit", "--json", *[job] * 8).splitlines()]
    assert time.monotonic() - begun < 2 * 2.5 + 2
    assert sum("--test-only" in call for call in planned.slurm.calls("sbatch")) == 1
    notes = [one["plan"]["notes"] for one in content]
    assert "sbatch did not answer within 2.5 s" in notes[0][0]
    assert all("sbatch took too long before; not run again" in some[0] for some in notes[1:])
    assert {one["plan"]["action"] for one in content} == {"wait"}


def test_a_job_without_a_limit_has_its_partitions(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    row = "PartitionName={} Default={} DefaultTime={} MaxTime=2-00:00:00 State=UP\n"
    planned.slurm.answer("scontrol", row.format("a", "NO", "00:10:00") + row.format("batch", "YES", "NONE"))
    deadline = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    _, plan, _ = planned.submit({"deadline": deadline}, resources={})
    assert (plan["limit_s"], plan["duration_source"]) == (2 * 86400, "time limit of the partition")


def test_without_any_limit_a_deadline_lets_it_wait_for_nothing(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    deadline = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    _, plan, script = planned.submit({"deadline": deadline}, resources={})
    assert (plan["action"], begin_of(script), plan["limit_s"]) == ("start-now", None, None)
    assert any("the time limit is unknown" in note for note in plan["notes"])
    _, plan, _ = planned.submit({"max_delay": "12h"}, resources={})
    assert (plan["action"], plan["duration_s"]) == ("wait", 3600)
    assert plan["duration_source"].startswith("assumed")


def test_earlier_runs_say_how_long_it_takes_and_what_it_draws(planned: Planned, tmp_path: Path) -> None:
    planned.forecast(CLEAN_AT_8)
    spool = FakeSpool(tmp_path / "earlier")
    planned.box.env |= {"HPCFRUGAL_LEDGER": str(spool.ledger)}
    for number in range(6):
        spool.whole_run(str(number + 1), user=user_name(), spec={"name": "job"})
        if number in {3, 5}:
            sync(spool.root, spool.ledger)
            deadline = datetime.now(UTC) + timedelta(hours=12)
            _, plan, _ = planned.submit({"deadline": deadline.isoformat()})
            assert near(plan["latest_start_at"], deadline - timedelta(hours=1), 1), "the limit bounds it all the same"
            expected = plan["expected"]
            few = number == 3
            assert (plan["duration_s"], plan["limit_s"]) == (3600 if few else 60, 3600)
            assert plan["duration_source"] == ("time limit" if few else "history, 6 runs")
            assert expected["power_source"] == ("modelled: 1 CPU at full load" if few else "history, 6 jobs, measured")
            assert expected["power_w"] == pytest.approx(6.435 if few else 110)
            kwh = expected["power_w"] / 1000 * plan["duration_s"] / 3600
            assert expected["now_g"] == pytest.approx(kwh * expected["now_g_per_kwh"])


def test_the_pue_is_in_the_grams_and_in_the_budget(planned: Planned) -> None:
    planned.forecast([*[400.0] * 6, *[100.0] * 40])
    grams = []
    for pue in (None, "1.5"):
        planned.box.env |= {"HPCFRUGAL_PUE": pue} if pue else {}
        _, plan, _ = planned.submit({"max_delay": "12h"})
        expected = plan["expected"]
        drawn_w = expected["power_w"] * float(pue or 1)
        assert expected["pue"] == (float(pue) if pue else None)
        assert expected["then_g"] == pytest.approx(drawn_w / 1000 * expected["then_g_per_kwh"])
        grams.append(expected["then_g"])
    assert grams[1] == pytest.approx(1.5 * grams[0])
    # What kept within the budget at once, without what cools the machines, has to wait with it.
    kwh = expected["power_w"] / 1000
    schedule = {"budget_g": 450 * kwh, "policy": "budget", "max_delay": "12h"}
    assert planned.submit(schedule)[1]["action"] == "wait"
    del planned.box.env["HPCFRUGAL_PUE"]
    assert planned.submit(schedule)[1]["action"] == "start-now"


def test_an_unreadable_ledger_is_noted_and_not_needed(planned: Planned, tmp_path: Path) -> None:
    planned.forecast(CLEAN_AT_8)
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 100)
    planned.box.env |= {"HPCFRUGAL_LEDGER": str(path)}
    _, plan, _ = planned.submit({"max_delay": "12h"})
    assert plan["action"] == "wait"
    assert any(note.startswith("earlier runs unknown: ") for note in plan["notes"])


# Interruptible jobs -------------------------------------------------------------------------------------------------


def test_a_job_in_segments(planned: Planned) -> None:
    start = planned.forecast([300.0, 300.0, 10.0, 300.0, 10.0, 300.0, 10.0, *[300.0] * 41])
    schedule = {"max_delay": "20h", "interruptible": {"min_segment": "10m", "restart_cost": "1m"}}
    _, plan, script = planned.submit(schedule, resources={"time": "2:30:00"})
    assert plan["action"] == "segments"
    starts = [datetime.fromisoformat(segment["start_at"]) for segment in plan["segments"]]
    assert len(starts) == 3
    assert [round((at - start) / timedelta(hours=1), 2) // 1 for at in starts] == [2, 4, 6]
    assert "#SBATCH --requeue" in script
    assert "#SBATCH --open-mode=append" in script
    begin = begin_of(script)
    assert begin is not None
    assert starts[0] - timedelta(seconds=2) <= begin <= starts[0]
    assert plan["expected"]["saving"] > 0.5
    out = planned.box.ok("submit", planned.job(schedule, resources={"time": "2:30:00"}))
    assert "Runs in 3 segments from about " in out


def test_segments_leave_time_for_the_whole_limit(planned: Planned) -> None:
    planned.forecast([300.0, 300.0, 10.0, 300.0, 10.0, 300.0, 10.0, *[300.0] * 41])
    deadline = datetime.now(UTC) + timedelta(hours=5)
    schedule = {"deadline": deadline.isoformat(), "interruptible": {"min_segment": "10m"}}
    _, plan, _ = planned.submit(schedule, resources={"time": "1:30:00"})
    assert plan["action"] == "segments"
    assert max(datetime.fromisoformat(segment["end_at"]) for segment in plan["segments"]) <= deadline


# No forecast --------------------------------------------------------------------------------------------------------


def test_without_a_forecast_it_starts_now_with_a_reason(planned: Planned) -> None:
    result = planned.box.run("submit", planned.job({"max_delay": "12h"}))
    assert result.code == 0
    assert "Starts as soon as possible: no forecast: site" in result.out
    (run,) = planned.box.spool.glob("*/*/run.json")
    plan = json.loads(run.read_text())["plan"]
    assert (plan["action"], plan["forecast"], plan["expected"]) == ("start-now", None, None)


def test_a_note_that_holds_for_several_jobs_is_printed_once(planned: Planned) -> None:
    planned.forecast([None, None, None, *[300.0] * 5, *[30.0] * 20, *[300.0] * 20])
    job = planned.job({"max_delay": "12h"})
    result = planned.box.run("submit", job, job, job)
    assert result.code == 0
    assert result.out.count("a start now is estimated; forecast") == 3
    assert result.err.count("a start now is estimated from the values around") == 1


def test_a_job_that_wants_a_forecast_is_refused(planned: Planned) -> None:
    schedule = {"require_forecast": True, "max_delay": "1h"}
    result = planned.box.run("submit", planned.job(schedule))
    assert result.code == 3
    assert "schedule.require_forecast: site" in result.err
    assert list(planned.box.spool.glob("20*/*")) == []
    planned.forecast(CLEAN_AT_8)
    assert planned.box.run("submit", planned.job(schedule)).code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply",
    [
        Reply({}, delay_s=30),
        Reply({"data": []}, drip_s=0.5),
        Reply(b"<html>sorry</html>"),
        Reply({}),
        Reply({"data": [{"from": "2026-01-01T00:00Z", "to": "2026-01-01T00:30Z", "intensity": {"forecast": -5}}]}),
        Reply(b'{"data": [{"intensity": {"forecast": NaN}}]}'),
        Reply({}, status=503),
    ],
    ids=["slow", "dripping", "html", "empty", "negative", "nan", "down"],
)
@pytest.mark.serial
def test_a_failing_provider_causes_no_delay(planned: Planned, grid: Grid, reply: Reply) -> None:
    grid.answer = lambda request: reply
    settings = planned.box.home / ".config/hpcfrugal/config.toml"
    settings.write_text(f'[forecasts.site]\nkind = "carbonintensity-gb"\nurl = "{grid.url}"\n')
    planned.box.env["HPCFRUGAL_ZONE"] = "GB"
    begun = time.monotonic()
    result, plan, _ = planned.submit({"max_delay": "12h"})
    assert time.monotonic() - begun < 5
    assert plan["action"] == "start-now"
    assert plan["reason"].startswith("no forecast: site: ")
    assert "Traceback" not in result.err


def test_a_forecast_that_ends_soon_is_made_longer_by_a_stated_model(planned: Planned) -> None:
    planned.forecast([*[300.0] * 6, *[100.0] * 20])
    _, plan, _ = planned.submit({"max_delay": "4d"}, resources={"time": "2-00:00:00"})
    assert any("its last day is repeated" in note for note in plan["notes"])
    assert plan["forecast"]["assumed_by"] == "same-time-yesterday"
    planned.forecast([300.0, 100.0])
    _, plan, _ = planned.submit({"max_delay": "4d"}, resources={"time": "2-00:00:00"})
    assert plan["reason"].startswith("the forecast does not cover a run")


# What does not count ------------------------------------------------------------------------------------------------


def test_a_job_that_starts_at_once_needs_no_plan(planned: Planned) -> None:
    result, plan, script = planned.submit({"zone": "FR", "require_forecast": True})
    assert (plan, begin_of(script)) == (None, None)
    assert "ignored: schedule.require_forecast, schedule.zone; the job starts as soon as it can" in result.err
    assert not any("--test-only" in call for call in planned.slurm.calls("sbatch"))


def test_the_zone_is_kept_with_every_run(planned: Planned) -> None:
    for schedule, zone in (({}, "XX"), ({"zone": "FR"}, "FR")):
        result = planned.box.run("submit", "--json", planned.job(schedule))
        run = json.loads((Path(json.loads(result.out)["run_dir"]) / "run.json").read_text())
        assert (run["plan"], run["carbon"]) == (None, {"zone": zone, "pue": None})


def test_this_machine_refuses_a_job_that_wants_a_forecast(box: Sandbox) -> None:
    result = box.run("submit", box.job("true", schedule={"require_forecast": True, "max_delay": "1h"}))
    assert result.code == 3
    assert "no grid zone is set" in result.err
    assert list(box.spool.glob("20*/*")) == []


def test_a_deadline_that_has_passed_is_a_mistake(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    result = planned.box.run("submit", planned.job({"deadline": "2020-01-01T00:00Z"}))
    assert result.code == 2
    assert "schedule.deadline: 2020-01-01T00:00:00Z has passed" in result.err


def test_a_deadline_that_is_too_near_is_noted(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    deadline = datetime.now(UTC) + timedelta(minutes=30)
    result, plan, script = planned.submit({"deadline": deadline.isoformat()})
    assert (plan["action"], begin_of(script)) == ("start-now", None)
    # The latest safe start is in the past, and the plan shows it.
    limit = timedelta(seconds=plan["limit_s"])
    assert near(plan["latest_start_at"], deadline - limit, seconds=1)
    assert f"it had to start by {deadline - limit:%Y-%m-%dT%H:%M}" in plan["reason"]
    assert (
        "note: with its full time limit it ends "
        in planned.box.run("submit", planned.job({"deadline": deadline.isoformat()})).err
    )
    assert result.code == 0


def test_names_are_data(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    name = "a'; rm -rf ~ #"
    refused = planned.box.run("submit", planned.job({"max_delay": "12h", "zone": "$(touch pwned)"}, name=name))
    assert refused.code == 2
    assert "schedule.zone: '$(touch pwned)' is not a valid name of a zone" in refused.err
    result, plan, _ = planned.submit({"max_delay": "12h"}, name=name)
    assert plan["action"] == "wait"
    assert result.code == 0
    assert list(planned.box.work.glob("pwned")) == []


# Resources of this machine ------------------------------------------------------------------------------------------


def test_the_local_backend_names_resources_that_it_does_not_enforce(box: Sandbox) -> None:
    asked = {"mem": "1G", "cpus_per_task": 2, "gpus": 1, "time": "1:00", "nodes": 1, "partition": "batch"}
    path = box.job("true", resources=asked)
    result = box.run("submit", "--json", path)
    said = "this machine does not enforce resources.cpus_per_task, resources.mem, resources.gpus"
    assert (result.code, result.err) == (0, f"warning: {path}: {said}\n")
    assert json.loads(result.out)["warnings"] == [said]
    result = box.run("submit", "--json", box.job("true", resources={"time": "1:00"}))
    assert (result.err, json.loads(result.out)["warnings"]) == ("", [])


def test_slurm_enforces_resources(box: Sandbox) -> None:
    for name, text in (("sbatch", "echo 17"), ("scontrol", "echo 'ClusterName             = c1'")):
        path = box.home / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    path = box.job("true", resources={"mem": "1G"})
    env = {"PATH": f"{box.home}:{box.env['PATH']}"}
    result = box.run("submit", "--json", "--backend", "slurm_cli", path, env=env)
    assert (result.code, result.err, json.loads(result.out)["warnings"]) == (0, "", [])
