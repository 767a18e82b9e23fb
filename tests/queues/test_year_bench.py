"""scripts/bench/replan on a small scale: what must hold of every year, and that its parts are what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"
if str(BENCH) not in sys.path:
    sys.path.insert(0, str(BENCH))

from year import cases, cluster, forecasts, grids, jobs  # noqa: E402  (only now can it be found)
from year.judge import most_at_once  # noqa: E402

pytestmark = pytest.mark.slow

HALF_HOUR_S = 1800
# A plan under capacity lies on a grid of 5 minutes: so much it may lose against starts at any instant.
NOISE = 0.002


@pytest.fixture(scope="module")
def year() -> cases.Year:
    return cases.Year.made("GB", 4, 14, seed=3)


@pytest.mark.parametrize("name", [*cases.UNBOUND, cases.THRESHOLD])
def test_no_job_is_late_and_no_plan_beats_the_one_with_perfect_knowledge(year: cases.Year, name: str) -> None:
    ideal = cases.tried(year, cases.IDEAL, False, HALF_HOUR_S)
    row = cases.tried(year, name, False, HALF_HOUR_S)
    assert row["missed"] == 0
    assert row["wait_most_h"] <= 24
    assert row["saving"] <= ideal["saving"] + 1e-9


def test_within_the_nodes_of_the_baseline(year: cases.Year) -> None:
    ideal = cases.tried(year, cases.IDEAL, True, HALF_HOUR_S)
    assert ideal["missed"] == 0
    assert ideal["most_nodes"] <= year.peak
    assert ideal["saving"] <= ideal["saving_at_most"] + 1e-9
    for name in ("re-planning", "plan once"):
        row = cases.tried(year, name, True, HALF_HOUR_S)
        assert row["missed"] == 0
        assert 0 < row["most_nodes"] <= year.peak
        assert row["saving"] <= ideal["saving_at_most"] + NOISE


def test_what_is_known_pays(year: cases.Year) -> None:
    rows = {name: cases.tried(year, name, False, HALF_HOUR_S)["saving"] for name in cases.UNBOUND}
    assert rows["re-planning"] > 0
    assert rows["re-planning on persistence"] < rows["re-planning"] <= rows["re-planning, exact runtimes"] + 0.02
    # Told everything, it comes near to whoever knew everything; what is left are min_saving and the grid of its steps.
    exact = cases.policies.Replanning(
        cases.SETTINGS.changed(min_saving=0.0, hysteresis=0.0),
        year.forecasts.perfect,
        cases.policies.by_oracle,
        error=None,
    )
    done = cluster.Cluster(year.forecasts.start, cases.MANY).run(year.jobs, exact, HALF_HOUR_S)
    ideal = year.judge.clairvoyant()
    assert year.judge.of(done).carbon == pytest.approx(ideal.carbon, rel=0.01)


class AtTheLast:
    """Every job at its latest start."""

    def submitted(self, cluster: cluster.Cluster, entry: cluster.Entry) -> int:
        return entry.latest_s

    def round(self, cluster: cluster.Cluster) -> None:
        return


def test_the_cluster_has_no_more_nodes_than_it_has() -> None:
    alike = [jobs.Job(number, 0, number, 2, 3600, 7200) for number in range(1, 6)]
    small = cluster.Cluster(grids.START, 5)
    done = small.run(alike, AtTheLast(), HALF_HOUR_S)
    assert small.most_used == 4
    # Two at once, the next two when these end, the last after those; in the order of submission.
    day, hour = cluster.MAX_DELAY_S, 3600
    assert [entry.start_s for entry in done] == [1 + day, 2 + day, 1 + day + hour, 2 + day + hour, 1 + day + 2 * hour]
    told = forecasts.Forecasts.made(grids.START, np.full(4 * 48, 100.0), seed=1)
    verdict = cases.Judge(told, alike).of(done)
    assert (verdict.missed, verdict.most_nodes) == (3, 4)
    assert verdict.carbon == pytest.approx(5 * 2 * 3600 * 100.0)


def test_most_at_once() -> None:
    start, run, nodes = np.array([0.0, 10.0, 5.0]), np.array([10.0, 5.0, 2.0]), np.array([3, 4, 2])
    assert most_at_once(start, run, nodes) == 5


def test_errors_of_forecasts_grow_ahead_and_shrink_as_the_time_comes() -> None:
    told = forecasts.Forecasts.made(grids.START, np.full(150 * 48, 200.0), seed=4)
    assert told.realised(0) == pytest.approx(0.03, rel=0.1)
    assert told.realised(48) == pytest.approx(0.115, rel=0.15)
    assert 0.18 <= told.realised(95) <= 0.22
    later, now = told.errors[200:, 40], told.errors[200:, 42]
    assert np.corrcoef(later, now)[0, 1] > 0.9
    # Of one issue, slots an hour apart are off alike; those a day apart hardly.
    slots = np.arange(200, 7000)
    assert np.corrcoef(told.errors[slots, 40], told.errors[slots + 2, 42])[0, 1] > 0.75
    assert abs(np.corrcoef(told.errors[slots, 40], told.errors[slots + 48, 88])[0, 1]) < 0.25
    assert told.issued(300).values[0] == pytest.approx(200 * (1 + told.errors[300, 0]), abs=0.06)
    assert told.issued(300).values[95] == pytest.approx(200 * (1 + told.errors[395, 95]), abs=0.06)
    assert set(told.perfect(300).values) == {200.0}


def test_persistence_is_yesterday() -> None:
    actual = np.arange(4 * 48, dtype=np.float64)
    told = forecasts.Forecasts.made(grids.START, actual, seed=1).persistence(100)
    assert told.values == tuple(actual[52:100]) * 2


@pytest.mark.parametrize("name", list(grids.GRIDS))
def test_made_years_are_like_the_real_ones(name: str) -> None:
    found = np.mean([grids.statistics(grids.made(grids.GRIDS[name], 365, seed)) for seed in range(4)], axis=0)
    mean, daily, within, _, day, _ = grids.TOLD[name]
    assert found[0] == pytest.approx(mean, rel=0.08)
    assert found[1] == pytest.approx(daily, rel=0.15)
    assert found[2] == pytest.approx(within, rel=0.15)
    assert found[4] == pytest.approx(day, abs=0.08)


def test_jobs_ask_for_more_than_they_take() -> None:
    made = jobs.made(40, 30, seed=2)
    assert made == jobs.made(40, 30, seed=2)
    assert 40 * 30 * 0.85 < len(made) < 40 * 30 * 1.15
    assert all(jobs.SHORTEST_S <= job.run_s <= job.limit_s <= 24 * 3600 for job in made)
    used = sum(job.run_s for job in made) / sum(job.limit_s for job in made)
    assert 0.3 < used < 0.6


def test_a_file_of_half_hours_is_a_year_too(tmp_path: Path) -> None:
    file = tmp_path / "grid.csv"
    lines = [f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00Z,{100 + hour % 24}" for hour in range(10 * 24)]
    file.write_text("\n".join(["time,g", *lines]), encoding="utf-8")
    start, values = grids.read(file)
    assert start.isoformat() == "2026-01-01T00:00:00+00:00"
    assert list(values[:4]) == [100, 100, 101, 101]


def test_the_command(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    command = [sys.executable, str(BENCH / "replan"), "--days", "2", "--jobs", "6", "--rows", "re-planning"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept.write_text(done.stdout, encoding="utf-8")
    found = json.loads(done.stdout)["years"]["GB"]
    assert [(row["row"], row["within_peak"]) for row in found["rows"]] == [
        ("clairvoyant", False), ("re-planning", False), ("clairvoyant", True), ("re-planning", True),
    ]  # fmt: skip
    shown = subprocess.run([*command[:2], "--show", str(kept)], capture_output=True, text=True, check=True)
    assert "| clairvoyant | " in shown.stdout
    assert "re-planning within the peak of that with any nodes: " in shown.stdout
