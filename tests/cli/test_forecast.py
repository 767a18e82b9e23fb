"""``hpcfrugal forecast`` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fake_grid import Grid, Reply, half_hours, this_half_hour
from sandbox import Sandbox


@pytest.fixture
def grid(box: Sandbox) -> Iterator[Grid]:
    """A server that the settings lead to."""
    server = Grid(lambda request: Reply(half_hours(this_half_hour(), [100, None, 300, 50] * 24)))
    box.env["HPCFRUGAL_ZONE"] = "GB"
    folder = box.home / ".config/hpcfrugal"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'[forecasts.gb]\nkind = "carbonintensity-gb"\nurl = "{server.url}"\n')
    yield server
    server.stop()


def test_a_chart(box: Sandbox, grid: Grid) -> None:
    out = box.ok("forecast")
    head, *rows = out.splitlines()
    assert head.startswith("GB: average intensity in g/kWh, gb, issued ")
    assert any(row.startswith("   300 │") for row in rows)
    assert "now 100, lowest 50 at " in out
    assert "? unknown" in out
    assert "\x1b" not in out, "colour is for terminals"


def test_json_is_read_back_as_a_file(box: Sandbox, grid: Grid) -> None:
    content = json.loads(box.ok("forecast", "--json", "--hours", "6"))
    assert (content["zone"], content["signal"], content["kind"], content["provider"]) == (
        "GB",
        "average",
        "forecast",
        "gb",
    )
    assert content["unit"] == "g/kWh"
    assert content["stale"] is False
    assert content["step_s"] == 1800
    assert 12 <= len(content["g_per_kwh"]) <= 13
    assert content["g_per_kwh"][:4] == [100.0, None, 300.0, 50.0]
    assert content["issued_at"] == content["fetched_at"]
    assert 0 <= content["age_s"] < 60
    assert content["notes"] == []

    path = box.write("f.json", json.dumps(content))
    (box.home / ".config/hpcfrugal/config.toml").write_text(f'[forecasts.mine]\nkind = "file"\npath = "{path}"\n')
    again = json.loads(box.ok("forecast", "--json", "--hours", "6"))
    assert again["provider"] == "mine"
    assert again["g_per_kwh"] == content["g_per_kwh"]
    assert len(grid.requests) == 1


@pytest.mark.parametrize("name", ["out.csv", "out.json"])
def test_files_are_read_back(box: Sandbox, grid: Grid, name: str) -> None:
    assert box.ok("forecast", "--output", name, "--hours", "3") == ""
    path = box.work / name
    assert [file.name for file in box.work.iterdir()] == [name]
    (box.home / ".config/hpcfrugal/config.toml").write_text(f'[forecasts.mine]\nkind = "file"\npath = "{path}"\n')
    content = json.loads(box.ok("forecast", "--json", "--hours", "3"))
    assert content["g_per_kwh"][:4] == [100.0, None, 300.0, 50.0]


def test_csv(box: Sandbox, grid: Grid) -> None:
    rows = list(csv.DictReader(io.StringIO(box.ok("forecast", "--csv", "--hours", "1"))))
    assert [row["g_per_kwh"] for row in rows[:2]] == ["100.0", ""]
    assert rows[0]["zone"] == "GB"
    assert datetime.fromisoformat(rows[0]["end"]) - datetime.fromisoformat(rows[0]["start"]) == timedelta(minutes=30)


def test_another_provider_and_signal(box: Sandbox, grid: Grid) -> None:
    result = box.run("forecast", "--signal", "marginal")
    assert (result.code, result.err.splitlines()[0]) == (
        3,
        "error: no provider offers a marginal-intensity forecast for zone 'GB'",
    )
    result = box.run("forecast", "--provider", "watttime", "--signal", "marginal")
    assert result.code == 3
    assert "watttime: no credentials found" in result.err
    assert "WATTTIME_USER and WATTTIME_PASSWORD" in result.err
    assert grid.requests == []


def test_asked_again(box: Sandbox, grid: Grid) -> None:
    box.ok("forecast")
    box.ok("forecast")
    assert len(grid.requests) == 1
    box.ok("forecast", "--refresh")
    assert len(grid.requests) == 2


@pytest.mark.slow
def test_a_server_that_drips_ends_in_five_seconds_with_one_line(box: Sandbox, grid: Grid) -> None:
    grid.answer = lambda request: Reply(b"[" + b" " * 100_000 + b"]", drip_s=0.05)
    begun = time.monotonic()
    result = box.run("forecast")
    assert time.monotonic() - begun < 5
    assert (result.code, result.out) == (3, "")
    assert re.fullmatch(r"error: gb: did not answer (in time|within \S+ s)\n", result.err)


def test_an_old_answer_is_marked(box: Sandbox, grid: Grid) -> None:
    box.ok("forecast")
    (path,) = (box.home / ".cache/hpcfrugal/carbon").glob("*.json")
    content = json.loads(path.read_text())
    for name in ("fetched_at", "expires_at"):
        then = datetime.fromisoformat(content[name]) - timedelta(hours=3)
        content[name] = then.isoformat()
    path.write_text(json.dumps(content))
    grid.answer = lambda request: Reply({}, 502)
    note = "note: gb: server error (HTTP 502); its answer from 3.0 h ago is used"
    assert note in box.ok("forecast").splitlines()
    result = box.run("forecast", "--csv")
    assert note in result.err
    assert result.out.startswith("start,end,")
    assert json.loads(box.ok("forecast", "--json"))["stale"] is True


def test_the_list_of_providers(box: Sandbox, grid: Grid) -> None:
    box.env["ELECTRICITYMAPS_TOKEN"] = "s3cret"
    out = box.ok("forecast", "--list")
    assert "✓ gb: Carbon Intensity API (NESO), Great Britain; forecast and actual; average" in out
    assert "    credentials: from ELECTRICITYMAPS_TOKEN" in out
    content = json.loads(box.ok("forecast", "--list", "--json"))["providers"]
    assert {one["name"]: one["state"] for one in content}["electricitymaps"] == "ok"
    assert "s3cret" not in out + json.dumps(content)
    assert grid.requests == []


@pytest.mark.parametrize(
    "argv",
    [
        ("--json", "--csv"),
        ("--list", "--csv"),
        ("--list", "--output", "x.csv"),
        ("--hours", "0"),
        ("--hours", "nan"),
        ("--signal", "x"),
        ("--zone", "a'; rm -rf ~ #"),
        ("--output", "/"),
    ],
)
def test_usage(box: Sandbox, argv: tuple[str, ...]) -> None:
    assert box.run("forecast", *argv).code == 2


def test_wrong_settings(box: Sandbox, grid: Grid) -> None:
    (box.home / ".config/hpcfrugal/config.toml").write_text(
        '[forecasts.x]\nkind = "fil"\n[forecasts.file]\npat = "x"\n'
    )
    for argv in ((), ("--list",)):
        result = box.run("forecast", *argv)
        assert result.code == 2
        assert len(result.err.splitlines()) == 3


def test_an_unknown_provider(box: Sandbox, grid: Grid) -> None:
    result = box.run("forecast", "--zone", "GB", "--provider", "enegy-charts")
    assert result.code == 2
    assert "--provider: unknown provider 'enegy-charts' (did you mean energy-charts?)" in result.err
    result = box.run("forecast", "--zone", "GB", env={"HPCFRUGAL_PROVIDER": "gbb"})
    assert result.code == 2
    assert result.err.startswith("error: HPCFRUGAL_PROVIDER: unknown provider 'gbb' (did you mean gb?)")


def test_no_zone(box: Sandbox) -> None:
    result = box.run("forecast")
    assert result.code == 3
    assert result.err.splitlines()[0] == "error: no grid zone is set"


def test_a_terminal_without_block_characters(box: Sandbox, grid: Grid) -> None:
    box.env |= {"PYTHONIOENCODING": "ascii"}
    out = box.ok("forecast")
    assert out.isascii()
    assert "###" in out


def test_times_are_utc(box: Sandbox, grid: Grid) -> None:
    box.env["TZ"] = "Asia/Tokyo"
    before = datetime.now(UTC)
    content = json.loads(box.ok("forecast", "--json"))
    start = datetime.fromisoformat(content["start"])
    assert start.utcoffset() == timedelta(0)
    assert before - timedelta(hours=1) < start <= datetime.now(UTC)
