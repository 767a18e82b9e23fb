"""``hpcfrugal plan`` as a user runs it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from planned import Planned
from sandbox import Sandbox

CLEAN_AT_8 = [300.0] * 8 + [30.0] * 4 + [300.0] * 36


@pytest.fixture
def planned(box: Sandbox, tmp_path: Path) -> Planned:
    return Planned(box, tmp_path)


def test_the_chart_and_the_decision(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    out = planned.box.ok("plan", planned.job({"max_delay": "12h"}))
    assert out.startswith("XX: average carbon intensity in g/kWh, forecast by site\n")
    marked = next(line for line in out.splitlines() if "━" in line)
    bars = next(line for line in out.splitlines() if line.startswith("     0 └"))
    place = (marked.index("━") - 8) / (len(bars) - 8)
    assert place == pytest.approx(8 / 14, abs=0.02)
    for text in (
        "if started now  300 g/kWh, ",
        "as planned      ",
        " in 8 of 10 cases",
        "power           6.43 W (modelled: 1 CPU at full load)",
        "run time        01:00:00 (time limit)",
        "wait in queue   ",
        "latest start    ",
        "latest end      ",
        "begin time      ",
    ):
        assert text in out
    assert "\x1b" not in out, "colour is for terminals"
    assert list(planned.box.spool.glob("20*/*")) == []
    assert not any("--test-only" not in call for call in planned.slurm.calls("sbatch"))


def test_the_plan_of_an_array_on_this_machine_has_the_power_of_all_tasks_that_run_at_once(planned: Planned) -> None:
    planned.forecast([300.0] * 48)
    job = planned.job({"max_delay": "12h"}, resources={"time": "10", "array": "0-9%4"})
    found = json.loads(planned.box.ok("plan", "--backend", "local", "--json", job))
    # Ten tasks, four at once: three in a row.
    assert found["expected"]["power_w"] == pytest.approx(6.5 * 0.99 * 10 / 3)
    assert found["expected"]["power_source"] == "modelled: 1 CPU at full load, for each of 3.33 tasks at a time"


@pytest.mark.parametrize(("begin", "hours"), [("now+6hours", 6), ("now+360minutes", 6), ("now+1hour", 1)])
def test_a_script_keeps_its_own_begin_and_deadline(planned: Planned, begin: str, hours: int) -> None:
    planned.forecast([300.0] * 3 + [30.0] * 2 + [200.0] * 43)
    lines = f"#!/bin/bash\n#SBATCH --begin={begin}\n#SBATCH --deadline=now+10hours -t 1:00:00\n"
    (planned.box.work / "s.sh").write_text(lines)
    (planned.box.work / "s.yaml").write_text("script: s.sh\nschedule: {max_delay: 12h}\n")
    now = datetime.now(UTC)
    content = json.loads(planned.box.ok("plan", "--json", "s.yaml"))
    begin_at = datetime.fromisoformat(content["begin_at"]) if content["begin_at"] is not None else None
    latest = datetime.fromisoformat(content["latest_start_at"])
    assert abs(latest - now - timedelta(hours=9)) < timedelta(minutes=5)
    assert begin_at is None or now + timedelta(hours=hours, minutes=-1) < begin_at <= latest
    assert "earliest start  " in planned.box.ok("plan", "s.yaml")
    script = planned.box.ok("submit", "--dry-run", "s.yaml")
    head = script.partition("# Written by")[0].splitlines()
    begins = [line for line in head if line.startswith("#SBATCH --begin=")]
    # Waiting on within its own bounds is written behind the script's line; otherwise that line stands alone.
    assert begins[0] == f"#SBATCH --begin={begin}"
    assert len(begins) == (1 if hours == 6 else 2)


def test_a_plain_terminal_gets_plain_characters(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    env = {"LANG": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = planned.box.run("plan", planned.job({"max_delay": "12h"}), env=env)
    assert result.code == 0
    assert result.out.isascii()
    assert "?" not in result.out
    assert "====" in result.out
    assert "g CO2e" in result.out


def test_json_is_the_plan_with_what_else_could_be_done(planned: Planned) -> None:
    start = planned.forecast([300.0, 300.0, 200.0, 250.0, 100.0, *[300.0] * 43])
    content = json.loads(planned.box.ok("plan", "--json", planned.job({"max_delay": "12h"})))
    assert (content["schema"], content["action"]) == (1, "wait")
    choices = content["choices"]
    levels = [choice["g_per_kwh"] for choice in choices]
    assert levels == sorted(levels, reverse=True)
    assert choices[0]["delay_s"] == 0
    assert choices[-1]["g_per_kwh"] == 100
    assert abs(datetime.fromisoformat(choices[-1]["start_at"]) - start - timedelta(hours=4)) < timedelta(seconds=1)
    assert choices[-1]["grams"] == pytest.approx(0.6435)
    assert {choice["price"] for choice in choices} == {None}
    assert content["choice"] is None, "nothing was weighed"


def test_prices_are_weighed_too(planned: Planned) -> None:
    start = planned.forecast([300.0, 300.0, 200.0, 250.0, 100.0, *[300.0] * 43])
    rows = [f"{(start + timedelta(hours=hour)).isoformat()},{0.1 if hour == 6 else 0.3},EUR" for hour in range(48)]
    prices = planned.box.write("prices.csv", "\n".join(["start,price_per_kwh,currency", *rows, ""]))
    content = json.loads(planned.box.ok("plan", "--json", "--prices", prices, planned.job({"max_delay": "12h"})))
    cheapest = min(content["choices"], key=lambda choice: choice["price_per_kwh"])
    assert (cheapest["price_per_kwh"], cheapest["currency"]) == (pytest.approx(0.1), "EUR")
    assert cheapest["price"] == pytest.approx(0.0006435)
    cleanest = min(content["choices"], key=lambda choice: choice["g_per_kwh"])
    assert cleanest["g_per_kwh"] == 100


@pytest.mark.parametrize(("weight", "hours"), [("0", 4), ("20", 4), ("40", 2), ("60", 0)])
def test_what_an_hour_of_delay_is_worth_names_a_start(planned: Planned, weight: str, hours: int) -> None:
    """At once 300 g/kWh, 210 in two hours and 150 in four: 45 g/kWh an hour, then 30."""
    start = planned.forecast([300.0, 300.0, 210.0, 300.0, 150.0, *[300.0] * 43])
    job = planned.job({"max_delay": "12h"})
    content = json.loads(planned.box.ok("plan", "--json", "--delay-weight", weight, job))
    choice = content["choice"]
    assert abs(datetime.fromisoformat(choice["start_at"]) - start - timedelta(hours=hours)) < timedelta(minutes=2)
    assert (choice["delay_weight"], choice["price_weight"]) == (float(weight), None)
    assert {key: value for key, value in choice.items() if not key.endswith("_weight")} in content["choices"]
    (row,) = [
        line for line in planned.box.ok("plan", "--delay-weight", weight, job).splitlines() if "by weight" in line
    ]
    assert ("later than now" in row) == (hours > 0)
    assert f"{choice['g_per_kwh']:.0f} g/kWh" in row


def test_money_can_weigh_more_than_carbon(planned: Planned) -> None:
    start = planned.forecast([300.0, 300.0, 100.0, *[300.0] * 45])
    rows = [f"{(start + timedelta(hours=hour)).isoformat()},{0.1 if hour == 6 else 0.3}" for hour in range(48)]
    prices = planned.box.write("prices.csv", "\n".join(["start,price_per_kwh", *rows, ""]))
    for weight, hour in (("2000", 6), ("500", 2)):
        argv = ["plan", "--json", "--prices", prices, "--price-weight", weight, planned.job({"max_delay": "12h"})]
        choice = json.loads(planned.box.ok(*argv))["choice"]
        assert abs(datetime.fromisoformat(choice["start_at"]) - start - timedelta(hours=hour)) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--delay-weight", "nan"), "nan is not a valid weight"),
        (("--delay-weight", "-1"), "-1 is not a valid weight; it must be a number of 0 or more"),
        (("--delay-weight", "inf"), "inf is not a valid weight"),
        (("--delay-weight", "5 g"), "'5 g'"),
        (("--price-weight", "5"), "--price-weight needs --prices"),
    ],
)
def test_invalid_weights(planned: Planned, argv: tuple[str, ...], said: str) -> None:
    result = planned.box.run("plan", *argv, planned.job({"max_delay": "12h"}))
    assert result.code == 2
    assert said in result.err


def test_without_a_forecast_there_is_nothing_to_weigh(planned: Planned) -> None:
    assert json.loads(planned.box.ok("plan", "--json", "--delay-weight", "5", planned.job({})))["choice"] is None
    assert "by weight" not in planned.box.ok("plan", "--delay-weight", "5", planned.job({}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("start,price_per_kwh\n", "needs at least two prices"),
        ("a,b\n1,2\n", "needs a start with its UTC offset and a price_per_kwh"),
        ("start,price_per_kwh\n2026-01-01T00:00,1\n", "needs a start with its UTC offset and a price_per_kwh"),
        ("start,price_per_kwh\n\n0001-01-01T00:00+05:00,1\n", "prices.csv:3: needs a start with its UTC offset"),
        ("start,price_per_kwh\n2026-01-01T00:00Z,1\n2026-01-01T01:00Z,nan\n", "invalid prices in ''"),
        (
            "start,price_per_kwh\n2026-01-01T00:00Z,1\n2026-01-01T01:00Z,1\n2026-01-01T03:00Z,1\n",
            "needs prices at equal intervals",
        ),
    ],
)
def test_wrong_prices_are_refused(planned: Planned, text: str, said: str) -> None:
    prices = planned.box.write("prices.csv", text)
    result = planned.box.run("plan", "--prices", prices, planned.job({"max_delay": "12h"}))
    assert result.code == 2
    assert said in result.err
    result = planned.box.run("plan", "--prices", planned.box.work / "none.csv", planned.job({"max_delay": "12h"}))
    assert result.code == 2
    assert "cannot be read: No such file" in result.err


def test_without_a_forecast_the_plan_is_to_start_now(planned: Planned) -> None:
    out = planned.box.ok("plan", planned.job({"max_delay": "12h"}))
    assert out.startswith("Starts as soon as possible: no forecast: site")
    content = json.loads(planned.box.ok("plan", "--json", planned.job({"max_delay": "12h"})))
    assert (content["forecast"], content["choices"]) == (None, [])
    result = planned.box.run("plan", planned.job({"max_delay": "12h", "require_forecast": True}))
    assert result.code == 3


def test_a_job_without_delay_has_a_reason(planned: Planned) -> None:
    out = planned.box.ok("plan", planned.job({}))
    assert out.startswith("Starts as soon as possible: its policy is asap\n")
    assert "\nnote: no forecast: site" in out
    planned.forecast(CLEAN_AT_8)
    assert "Starts as soon as possible: its policy is asap" in planned.box.ok("plan", planned.job({}))


def test_segments_are_listed(planned: Planned) -> None:
    planned.forecast([300.0, 300.0, 10.0, 300.0, 10.0, 300.0, 10.0, *[300.0] * 41])
    schedule = {"max_delay": "20h", "interruptible": {"min_segment": "10m"}}
    out = planned.box.ok("plan", planned.job(schedule, resources={"time": "2:30:00"}))
    assert "Runs in 3 segments from about " in out
    assert sum(line.startswith("  segment ") for line in out.splitlines()) == 3


def test_plans_of_this_machine_are_made_without_slurm(planned: Planned) -> None:
    planned.forecast(CLEAN_AT_8)
    out = planned.box.ok("plan", "--backend", "local", planned.job({"max_delay": "12h"}))
    assert "\nStarts about " in out
    assert "  begin time  " in out
    content = json.loads(planned.box.ok("plan", "--json", "--backend", "local", planned.job({"max_delay": "12h"})))
    assert (content["action"], content["notes"], content["wait"]["source"]) == ("wait", [], "this machine has no queue")
    assert planned.slurm.calls() == []
    out = planned.box.ok("plan", "--backend", "local", planned.job({}))
    assert "\nStarts as soon as possible: its policy is asap" in out, "here as anywhere"


def test_an_unknown_queue(planned: Planned) -> None:
    with (planned.box.home / ".config/hpcfrugal/config.toml").open("a") as settings:
        settings.write('[queues.green]\nmax_delay = "24h"\ncapacity = 4\n')
    for argv in (("plan", "--backend", "local"), ("submit", "--backend", "local")):
        result = planned.box.run(*argv, planned.job({"queue": "gren"}))
        assert result.code == 2
        said = "schedule.queue: there is no queue 'gren' in the settings (did you mean green?)"
        assert said in result.err
        assert list(planned.box.spool.glob("*/*/run.json")) == []
    for backend in ("local", "slurm_cli"):
        result = planned.box.run("submit", "--backend", backend, "--queue", "gren", planned.job({}))
        assert (result.code, "error: queue: there is no queue 'gren'" in result.err) == (2, True)


def test_without_any_queue_a_file_for_another_machine_still_runs_here(planned: Planned) -> None:
    result = planned.box.run("submit", "--backend", "local", planned.job({"queue": "green"}))
    assert result.code == 0
    assert "ignored: schedule.queue" in result.err


def test_all_mistakes_of_a_file_are_listed(planned: Planned) -> None:
    result = planned.box.run("plan", planned.box.write("job.yaml", "command: true\nschedule: {polcy: asap}\n"))
    assert result.code == 2
    assert "polcy" in result.err
    result = planned.box.run("plan", planned.job({"deadline": (datetime.now(UTC) - timedelta(1)).isoformat()}))
    assert result.code == 2
