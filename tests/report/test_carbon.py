"""Grams and savings as a user sees them: fetched at sync, in tables, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from accounted import answer, row
from fake_spool import PACKAGE, SECOND, START_NS, FakeRun, FakeSpool
from planned_runs import segment
from program import Result, call_program
from sandbox import Sandbox

from hpcfrugal.core.pue import month_start_ns
from hpcfrugal.ledger.store import open_ledger

KWH = 6600 / 3.6e6
"""What a fake run draws, in kWh."""


Call = Callable[..., Result]


class Site:
    """Settings with a provider in a file, and runs at times before now."""

    def __init__(self, spool: FakeSpool, folder: Path) -> None:
        self.spool, self.folder = spool, folder
        self.settings_file = folder / "config/hpcfrugal/config.toml"
        self.settings_file.parent.mkdir(parents=True)
        self.file = folder / "actual.json"
        # A whole hour, so that one day or hour is not cut in two.
        self.start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)

    def settings(self, text: str = "", zone: str | None = None) -> None:
        own = f'[forecasts.own]\nkind = "file"\nzone = "XX"\npath = "{self.file}"\n'
        self.settings_file.write_text(f"[carbon]\n{f'zone = {zone!r}' if zone else ''}\n{text}\n{own}")

    def actual(self, hours: Sequence[float | None], step_s: float = 3600) -> None:
        """What was in the file's zone from ``start`` on."""
        content = {"zone": "XX", "kind": "actual", "start": self.start.isoformat(), "step_s": step_s}
        self.file.write_text(json.dumps({**content, "g_per_kwh": list(hours)}))

    def at(self, hours: float) -> datetime:
        return self.start + timedelta(hours=hours)

    def ran(
        self, job_id: str, hours: float, planned: float | None = None, slurm: dict[str, Any] | None = None,
        header: dict[str, Any] | None = None, **changes: Any,
    ) -> FakeRun:  # fmt: skip
        """A minute's run of 110 W, ``hours`` after ``start``; ``planned`` is when it would have started otherwise."""
        if planned is not None:
            changes["plan"] = self.plan(planned)
        run = self.spool.run(job_id, **changes)
        shift = round(self.at(hours).timestamp()) * SECOND - START_NS
        head = run.header(job_id, **(header or {}))
        lines = [head, *run.records([100.0, 10.0][: len(head["channels"])], 60)]
        run.samples([{**line, "wall_ns": line["wall_ns"] + shift} for line in lines], job_id)
        seconds = shift / SECOND
        run.end(job_id=job_id, start_s=seconds, end_s=seconds + 60)
        # Slurm was told to start it then, unless ``slurm`` says otherwise.
        content = {"submit_at": self.start.isoformat(), "eligible_at": self.at(hours).isoformat(), **(slurm or {})}
        run.slurm(job_id=job_id, start_s=seconds, end_s=seconds + 60, **content)
        return run

    def plan(self, planned: float) -> dict[str, Any]:
        start, at = self.start.isoformat(), self.at(planned).isoformat()
        forecast = {
            "zone": "XX", "signal": "average", "kind": "forecast", "issued_at": start, "provider": "file",
            "start": start, "step_s": 3600, "g_per_kwh": [300.0, 200.0, 100.0, 100.0, 100.0, 100.0],
        }  # fmt: skip
        return {
            "schema": 1, "policy": "low-carbon", "action": "wait", "zone": "XX", "signal": "average", "provider": "own",
            "issued_at": start, "counterfactual": {"start_at": at, "wait_s": 0}, "expected": {"saving": 0.5},
            "forecast": forecast,
        }  # fmt: skip


@pytest.fixture
def site(spool: FakeSpool, tmp_path: Path) -> Site:
    return Site(spool, tmp_path)


@pytest.fixture
def call(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run the program on the test's spool and ledger, without Slurm."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HPCFRUGAL_SPOOL", str(spool.root))
    monkeypatch.setenv("HPCFRUGAL_LEDGER", str(spool.ledger))
    monkeypatch.setenv("PATH", "")

    return partial(call_program, capsys)


def document(result: Result) -> Any:
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_modelled_grams_have_the_range_of_their_energy(site: Site, call: Call) -> None:
    site.settings("pue = 1.5")
    site.actual([500.0, 100.0])
    run = site.ran("17", 0.5, carbon={"zone": "XX", "pue": 1.25})
    path = run.run_dir.samples("17", 0, "n1")
    header, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for name in ("energy_uj", "measured_ns", "errors", "max_w"):
            line[name] = line[name][:1]
    run.samples([{**header, "channels": header["channels"][:1]}, *lines], "17")
    found = document(call("report", "--json"))
    for one in (*found["jobs"], found["totals"]):
        low_g, high_g = one["co2e_low_g"], one["co2e_high_g"]
        assert low_g < one["co2e_g"] < high_g
        assert low_g / one["co2e_g"] == pytest.approx(one["energy_low_j"] / one["energy_j"]["total"])
        assert high_g / one["co2e_g"] == pytest.approx(one["energy_high_j"] / one["energy_j"]["total"])


def test_grams_with_actuals_from_the_sync_on(site: Site, call: Call) -> None:
    site.settings("pue = 1.5")
    site.actual([500.0, 100.0, 100.0])
    site.ran("17", 0.5, carbon={"zone": "XX", "pue": 1.25})
    site.ran("18", 1.5, carbon={"zone": "XX", "pue": 1.25})
    found = document(call("report", "--json"))
    first, second = found["jobs"]
    assert first["co2e_g"] == pytest.approx(KWH * 1.25 * 500)
    assert (first["co2e_low_g"], first["co2e_high_g"]) == (None, None)
    assert (second["intensity_g_per_kwh"], second["intensity_source"]) == (100.0, "actual")
    assert (second["zone"], second["pue"]) == ("XX", 1.25)
    assert first["footprint"] == {
        "label": "operational, location-based, components boundary, PUE 1.25",
        "scope": "operational",
        "method": "location-based",
        "boundary": "components",
        "signal": "average",
        "complete": True,
        "settled": False,
        "measured_g": pytest.approx(KWH * 1.25 * 500),
        "modelled_g": None,
        "intensity_coverage": 1.0,
        "intensity_shares": {"actual": 1.0},
        "providers": ["own"],
        "zones": ["XX"],
        "jobs_without_zone": 0,
        "jobs_without_grams": 0,
        "jobs_with_zone_of_settings": 0,
        "jobs_with_pue_of_settings": 0,
    }
    assert found["totals"]["co2e_g"] == pytest.approx(KWH * 1.25 * 600)
    assert found["totals"]["intensity_g_per_kwh"] == pytest.approx(300)
    lines = list(csv.DictReader(io.StringIO(call("report", "--csv").out)))
    assert [line["co2e_g"] for line in lines] == [str(job["co2e_g"]) for job in found["jobs"]]
    table = call("report").out
    assert "CO2e [g]" in table
    assert "CO2e: operational, location-based, components boundary, PUE 1.25; intensity: actual 100 % (own)." in table
    detail = call("report", "17").out
    assert "1.15 g CO2e in zone XX at 500 g/kWh" in detail


def test_a_job_over_the_end_of_a_month_names_the_pue_of_each_month(site: Site, call: Call) -> None:
    site.settings("pue = {2026-10 = 1.5, 2026-11 = 1.25}", zone="FR")
    november = (month_start_ns("2026-11") - START_NS) // SECOND
    segment(site.spool.run("17"), 0, november - 30)
    found = document(call("report", "--since", "all", "--json"))
    (both,) = found["jobs"]
    assert both["pue"] is None
    assert both["co2e_g"] / both["intensity_g_per_kwh"] == pytest.approx(KWH * (1.5 + 1.25) / 2, rel=1e-5)
    assert both["footprint"]["label"] == found["totals"]["footprint"]["label"]
    assert both["footprint"]["label"].endswith("PUE of each month")
    assert both["footprint"]["jobs_with_pue_of_settings"] == 1


def test_groups_have_grams_too(site: Site, call: Call) -> None:
    site.settings()
    site.actual([500.0, 100.0])
    site.ran("17", 0.5, carbon={"zone": "XX", "pue": None})
    site.ran("18", 1.5, carbon={"zone": "XX", "pue": 2})
    total = pytest.approx(KWH * (500 + 2 * 100), abs=5e-6)  # micrograms, rounded for each component of a job
    for by in ("user", "project", "component", "day", "tag:phase"):
        found = document(call("report", "--by", by, "--json"))
        assert sum(group["co2e_g"] or 0 for group in found["groups"]) == total
    assert found["groups"][0]["footprint"]["label"].endswith("PUE not included in all")
    assert found["groups"][0]["pue"] is None
    lines = list(csv.DictReader(io.StringIO(call("report", "--by", "user", "--csv").out)))
    assert float(lines[0]["co2e_g"]) == total
    assert "CO2e [g]" in call("report", "--by", "user").out


def test_revised_actuals_change_the_report_after_a_sync(site: Site, call: Call) -> None:
    site.settings()
    site.actual([100.0])
    site.ran("17", 0.5, carbon={"zone": "XX"})
    assert document(call("report", "17", "--json"))["jobs"][0]["intensity_g_per_kwh"] == 100
    site.actual([130.0])
    assert document(call("report", "17", "--json", "--no-sync"))["jobs"][0]["intensity_g_per_kwh"] == 100
    assert call("ledger", "sync", "--offline").code == 0
    assert document(call("report", "17", "--json", "--no-sync"))["jobs"][0]["intensity_g_per_kwh"] == 100
    assert call("ledger", "sync").code == 0
    assert document(call("report", "17", "--json", "--no-sync"))["jobs"][0]["intensity_g_per_kwh"] == 130
    before = call("ledger", "export").out
    assert call("ledger", "rebuild").code == 0
    assert call("ledger", "export").out == before


def test_a_provider_that_is_down_costs_one_line_and_no_report(site: Site, call: Call) -> None:
    site.settings()
    site.ran("17", 0.5, carbon={"zone": "XX"})
    result = call("report", "17", "--json")
    assert document(result)["jobs"][0]["co2e_g"] is None
    (line,) = result.err.splitlines()
    assert line.startswith("warning: actual average carbon intensity of XX: own: ")
    assert "cannot be read" in line
    assert line.endswith("the next sync tries again")
    assert "1 job without CO2e" in call("report").out


def test_a_report_repeats_a_warning_about_intensities_after_a_day(
    site: Site, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.settings()
    site.ran("17", 0.5, carbon={"zone": "XX"})
    assert call("report").err.startswith("warning: actual average carbon intensity of XX: own: ")
    assert call("report").err == ""
    assert call("report", "17").err == ""
    assert call("ledger", "sync").err.startswith("warning: actual average carbon intensity of XX: own: ")
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 86_390)
    assert call("report").err == ""
    monkeypatch.setattr(time, "time", lambda: now_s + 86_410)
    assert call("report").err.startswith("warning: actual average carbon intensity of XX: own: ")


def test_without_a_zone_there_is_a_hint_and_no_request(site: Site, call: Call) -> None:
    site.settings()
    site.ran("17", 0.5)
    result = call("report")
    assert (result.code, result.err) == (0, "")
    assert "CO2e is not known: no grid zone is set." in result.out
    assert "CO2e [" not in result.out
    assert not (site.spool.root / "intensity").exists()
    (job,) = document(call("report", "--json"))["jobs"]
    assert (job["co2e_g"], job["zone"], job["intensity_source"]) == (None, None, None)


def test_an_older_run_counts_in_the_zone_of_the_settings_with_a_note(site: Site, call: Call) -> None:
    site.settings("pue = 1.5", zone="XX")
    site.actual([100.0])
    site.ran("17", 0.5)
    (job,) = document(call("report", "--json"))["jobs"]
    assert (job["zone"], job["pue"]) == ("XX", 1.5)
    assert "~" not in call("report").out
    assert job["footprint"]["jobs_with_zone_of_settings"] == 1
    assert "1 job without a recorded grid zone: the zone of the present settings is used (XX)." in call("report").out


def test_what_is_not_by_actual_figures_is_marked(site: Site, call: Call) -> None:
    site.settings()
    site.ran("17", 0.5, planned=0.5)
    site.ran("18", 0.5, carbon={"zone": "FR"})
    call("ledger", "sync", "--offline")
    first, second = document(call("report", "--json", "--no-sync"))["jobs"]
    assert (first["intensity_source"], first["intensity_g_per_kwh"]) == ("forecast", 300)
    assert (second["intensity_source"], second["footprint"]["settled"]) == ("yearly-mean", False)
    table = call("report", "--no-sync").out
    assert "~300" in table
    assert "intensity: forecast 50.0 %, yearly-mean 50.0 %." in table
    assert "~ estimated: no actual intensity yet." in table


def test_estimates_of_the_provider_are_marked(site: Site, call: Call) -> None:
    site.settings()
    site.actual([100.0])
    site.ran("17", 0.5, carbon={"zone": "XX"})
    call("ledger", "sync")
    (path,) = (site.spool.root / "intensity").glob("*/*.json")
    content = json.loads(path.read_text())
    content["intervals"] = [[*row[:-2], True, "TIME_SLICER_AVERAGE"] for row in content["intervals"]]
    path.write_text(json.dumps(content))
    (job,) = document(call("report", "--json"))["jobs"]
    assert (job["intensity_source"], job["footprint"]["intensity_shares"]) == ("estimated", {"estimated": 1.0})
    table = call("report", "--no-sync").out
    assert "~100" in table
    assert "intensity: estimated 100 %" in table
    assert "~ estimated: the provider has no measured intensity." in table


def test_part_of_a_job_without_intensity_is_noted(site: Site, call: Call) -> None:
    site.settings()
    site.actual([100.0] * 30, step_s=1)
    site.ran("17", 0, carbon={"zone": "XX"})
    (job,) = document(call("report", "--json"))["jobs"]
    assert job["footprint"]["intensity_coverage"] == 0.5
    assert job["footprint"]["complete"] is False
    assert job["co2e_g"] == pytest.approx(KWH * 50, abs=1e-6)
    table = call("report").out
    assert "≥ 91.7" in table
    assert "No carbon intensity is known for 50.0 % of the energy." in table


def test_slots_of_seconds_charge_a_job_at_its_own_seconds(site: Site, call: Call) -> None:
    site.settings()
    levels = [1000.0] * 3600
    levels[1800:1860] = [float(second) for second in range(60)]
    site.actual(levels, step_s=1)
    site.ran("17", 0.5, carbon={"zone": "XX"})
    (job,) = document(call("report", "--json"))["jobs"]
    assert job["intensity_g_per_kwh"] == pytest.approx(29.5)


def test_savings_with_a_loss_and_a_job_that_is_not_known_yet(site: Site, call: Call) -> None:
    site.settings()
    site.actual([400.0, 100.0, 250.0])
    site.ran("17", 1.5, planned=0.5)
    site.ran("18", 2.5, planned=1.5)
    site.ran("19", 3.5, planned=0.5)
    site.ran("20", 0.5)
    found = document(call("report", "--savings", "--json"))
    assert found["counterfactual"].startswith("started when submitted, plus the wait in the queue at that time")
    assert found["scope"].startswith("operational, location-based, components boundary")
    counts = {key: value for key, value in found.items() if key.startswith("jobs_")}
    assert counts == {
        "jobs_known": 2, "jobs_pending": 1, "jobs_without_actuals": 0, "jobs_not_delayed": 0, "jobs_asap": 1,
        "jobs_without_forecast": 0, "jobs_unfinished": 0, "jobs_not_run": 0,
    }  # fmt: skip
    total = found["savings"]["average"]
    assert total["saved_g"] == pytest.approx(KWH * (300 - 150))
    assert total["lost_g"] == pytest.approx(KWH * 150)
    assert (total["jobs"], total["jobs_with_loss"], total["settled"]) == (2, 1, False)
    assert total["forecast"]["saved_g"] == pytest.approx(KWH * (100 + 100))
    assert total["forecast"]["mape"] == pytest.approx((100 / 400 + 100 / 100 + 100 / 100 + 150 / 250) / 4)
    first, second, third = found["jobs"]
    assert first["savings"]["saving"] == pytest.approx(0.75)
    assert first["savings"]["expected_saving"] == 0.5
    assert first["savings"]["forecast_saved_g"] == pytest.approx(KWH * 100)
    assert second["savings"]["loss"] is True
    assert third["savings"] is None
    assert (third["status"], third["job_id"]) == ("pending", "19")
    lines = list(csv.DictReader(io.StringIO(call("report", "--savings", "--csv").out)))
    assert [(line["job_id"], line["status"], bool(line["saved_g"])) for line in lines] == [
        ("17", "known", True), ("18", "known", True), ("19", "pending", False)
    ]  # fmt: skip
    table = call("report", "--savings").out
    assert "(loss)" in table
    assert "not known yet" in table
    assert "1 job lost 275 mg (included in the sum)." in table
    assert "Not in the sums: 1 job, policy asap: started as soon as possible." in table
    assert "Saved: against the same job, started when submitted" in table


def test_savings_of_energy_that_lacks_a_part_are_marked(site: Site, call: Call) -> None:
    site.settings()
    site.actual([400.0, 400.0, 100.0])
    site.ran("17", 2.0, planned=0.0)
    found = document(call("report", "--savings", "--json"))
    total = found["savings"]["average"]
    assert (total["complete"], total["energy_quality"]) == (True, "measured")
    site.ran("18", 2.0, planned=0.0, header={"channels": [PACKAGE], "gpus_promised": 1})
    found = document(call("report", "--savings", "--json"))
    total = found["savings"]["average"]
    assert (total["jobs"], total["complete"], total["energy_quality"]) == (2, False, "mixed")
    assert [one["savings"]["complete"] for one in found["jobs"]] == [True, False]
    text = call("report", "--savings").out
    (whole, part), sums = [line for line in text.splitlines() if " train " in line], "2 jobs"
    assert "≥" not in whole
    assert part.count("≥") == 2
    assert next(line for line in text.splitlines() if line.startswith(sums)).count("≥") == 2
    assert "≥: a part of the energy is unknown, and so is what it saved or lost (1 job)." in text
    assert "Modelled: a part of the energy at least (1 job)." in text


def test_savings_of_jobs_that_were_not_delayed_are_shown_apart(site: Site, call: Call) -> None:
    site.settings()
    site.actual([400.0, 100.0, 250.0])
    site.ran("17", 1.5, planned=0.5, slurm={"eligible_at": site.start.isoformat()})
    found = document(call("report", "--savings", "--json"))
    assert (found["savings"], found["jobs_known"], found["jobs_not_delayed"]) == (None, 0, 1)
    (job,) = found["jobs"]
    assert (job["status"], job["savings"], job["counterfactual_start_at"]) == ("not-delayed", None, None)
    table = call("report", "--savings").out
    assert table.count("not delayed") == 2
    assert "Not in the sums: 1 job, not delayed by their plans: no saving." in table


def test_savings_on_a_clock_whose_slots_are_seconds(site: Site, call: Call) -> None:
    site.settings()
    levels = [900.0] * 3600
    levels[1800:1860] = [500.0] * 60
    levels[1900:1960] = [100.0] * 60
    site.actual(levels, step_s=1)
    site.ran("17", 0.5 + 100 / 3600, planned=0.5)
    (job,) = document(call("report", "--savings", "--json"))["jobs"]
    assert job["savings"]["actual_g"] == pytest.approx(KWH * 100)
    assert job["savings"]["counterfactual_g"] == pytest.approx(KWH * 500)


def test_no_savings_yet_is_null(site: Site, call: Call) -> None:
    site.settings()
    site.ran("17", 1.5, planned=0.5)
    found = document(call("report", "--savings", "--json"))
    assert found["savings"] is None
    assert found["jobs_pending"] == 1
    site.settings('[forecasts.other]\nkind = "fil"')
    shown = call("report", "--savings")  # a mistake in another table does not change that
    assert shown.code == 0
    assert "not known yet" in shown.out
    assert f"own: write the actual intensities to {site.file}, then run `hpcfrugal ledger sync`" in shown.err
    assert "No jobs" in call("report", "--savings", "--since", "2001-01", "--until", "2001-02").out


def test_what_cannot_stand_beside_savings_is_named_at_once(call: Call) -> None:
    result = call("report", "--savings", "--by", "user", "--nodes")
    assert result.code == 2
    assert result.err.count("cannot be combined with --savings") == 2


def test_a_report_with_settled_intensities_makes_no_request(site: Site, call: Call) -> None:
    site.settings()
    site.actual([100.0])
    site.ran("17", 0.5, carbon={"zone": "XX"})
    call("ledger", "sync")
    (path,) = (site.spool.root / "intensity").glob("*/*.json")
    content = json.loads(path.read_text())
    content["intervals"] = [[*row[:-2], True, None] for row in content["intervals"]]
    path.write_text(json.dumps(content))
    site.file.unlink()
    result = call("report", "17", "--json")
    assert result.err == ""
    assert document(result)["jobs"][0]["footprint"]["settled"] is True


@pytest.mark.slow
def test_a_job_of_this_machine_from_its_submission_to_its_grams(box: Sandbox) -> None:
    box.env |= {"HPCFRUGAL_ZONE": "XX", "HPCFRUGAL_PUE": "1.3"}
    settings, file = box.home / ".config/hpcfrugal/config.toml", box.home / "own.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[forecasts.own]\nkind = "file"\nzone = "XX"\npath = "{file}"\n')
    start = datetime.now(UTC) - timedelta(minutes=5)
    content = {"kind": "actual", "start": start.isoformat(), "step_s": 1, "g_per_kwh": [123.0] * 900}
    file.write_text(json.dumps(content))
    # It computes for some ticks: of less, its energy is not known.
    job_id, run_dir = box.submit("sleep 1.2; i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done")
    assert json.loads((run_dir / "run.json").read_text())["carbon"] == {"zone": "XX", "pue": 1.3}
    box.wait_over(job_id)
    (job,) = json.loads(box.ok("report", job_id, "--json"))["jobs"]
    assert (job["zone"], job["pue"], job["intensity_source"]) == ("XX", 1.3, "actual")
    assert job["co2e_g"] == pytest.approx(job["energy_j"]["total"] / 3.6e6 * 1.3 * 123, abs=2e-6)


def test_a_job_of_0_s_has_no_co2e_and_leaves_the_sum_complete(site: Site, call: Call) -> None:
    site.settings(zone="XX")
    site.actual([100.0] * 5)
    start_s = round((site.at(0.5).timestamp() * SECOND - START_NS) / SECOND)
    answer(site.spool, row("900", start_s, start_s), row("901", start_s, start_s + 600), day=start_s // 86_400)
    first, second = (document(call("report", job_id, "--json"))["jobs"][0] for job_id in ("900", "901"))
    assert (first["energy_j"]["total"], first["co2e_g"], first["intensity_g_per_kwh"]) == (0, 0, None)
    assert second["co2e_g"] == pytest.approx(second["energy_j"]["total"] / 3.6e6 * 100, abs=1e-6)
    totals = document(call("report", "--json"))["totals"]
    assert (totals["co2e_g"], totals["footprint"]["complete"]) == (second["co2e_g"], True)
    detail = call("report", "900").out
    assert "without CO2e" not in detail
    assert "intensity: ." not in detail
    assert "estimated" not in detail
    site.settings()
    assert document(call("report", "900", "--json"))["jobs"][0]["co2e_g"] is None


@pytest.mark.parametrize(("power_w", "known"), [(1e-6, False), (1e-3, True)])
def test_of_very_little_energy_no_intensity_is_computed_from_rounded_grams(
    site: Site, call: Call, power_w: float, known: bool
) -> None:
    site.settings(zone="XX")
    site.actual([100.0])
    run = site.ran("17", 0.5)
    shift = round(site.at(0.5).timestamp()) * SECOND - START_NS
    lines = [run.header(), *run.records([power_w, power_w], 60)]
    run.samples([{**line, "wall_ns": line["wall_ns"] + shift} for line in lines])
    (job,) = document(call("report", "--json"))["jobs"]
    assert (job["intensity_source"], job["zone"], job["complete"]) == ("actual", "XX", True)
    with open_ledger(site.spool.ledger) as connection:
        (of_view,) = connection.execute("SELECT intensity_g_per_kwh FROM jobs_energy").fetchone()
    assert of_view == job["intensity_g_per_kwh"] == (pytest.approx(100, abs=1) if known else None)
    assert ("g/kWh" in call("report", "17").out) == known


def test_a_run_of_no_known_energy_has_no_grams(site: Site, call: Call) -> None:
    site.settings(zone="XX")
    site.actual([100.0])
    run = site.ran("17", 0.5)
    shift = round(site.at(0.5).timestamp()) * SECOND - START_NS
    lines = [run.header(), *run.records([0.0, 0.0], 60)]
    run.samples([{**line, "wall_ns": line["wall_ns"] + shift} for line in lines])
    (job,) = document(call("report", "--json"))["jobs"]
    assert (job["co2e_g"], job["intensity_g_per_kwh"]) == (None, None)
    detail = call("report", "17").out
    assert "g CO2e in zone" not in detail
    assert "at 0 g/kWh" not in detail
    assert "intensity:  " not in detail
    assert "1 job without CO2e: energy or carbon intensity unknown." in detail


def test_of_jobs_in_several_zones_those_in_the_zone_of_the_settings_are_noted(site: Site, call: Call) -> None:
    site.settings(zone="XX")
    site.actual([100.0])
    site.ran("17", 0.5)
    site.ran("18", 0.5, carbon={"zone": "YY"})
    assert "1 job without a recorded grid zone: the zone of the present settings is used (XX)." in call("report").out
