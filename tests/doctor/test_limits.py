"""Limits of the doctor, by value: free space, waits for sensors, length of what is shown."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcfrugal.core.errors import Problem
from hpcfrugal.doctor import probe, sensors, settings_findings, storage
from hpcfrugal.settings.config import read_config


@pytest.mark.parametrize(("free_mib", "level"), [(100, "ok"), (99, "gap")])
def test_a_file_system_with_less_than_100_mib_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: int, level: str
) -> None:
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: SimpleNamespace(free=free_mib * 2**20))
    assert storage._place("spool", tmp_path, private=False).level == level


def test_all_sensors_have_15_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, timeout: float, **__: object) -> None:
        raise subprocess.TimeoutExpired("probe", timeout)

    monkeypatch.setattr(sensors.subprocess, "run", run)
    (finding,) = sensors.sensor_findings()
    assert (finding.level, finding.found) == ("fault", "a sensor did not respond within 15 s")


def test_a_late_sensor_has_10_s_to_open_and_2_s_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, read_s = 0.0, list[float]()

    def sleep(span_s: float) -> None:
        nonlocal now_s
        now_s += span_s

    selection = SimpleNamespace(
        is_waiting=True, has_late_opened=lambda: False, sample=read_s.append, entries=[], absent=[], gpus=[]
    )
    monkeypatch.setattr(probe, "SensorSelection", lambda *_: selection)
    monkeypatch.setattr(probe, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=sleep))
    found: dict[str, Any] = probe.probe(str(tmp_path), str(tmp_path), {})
    assert found == {"channels": [], "absent": [], "gpus": []}
    assert (now_s, read_s) == (pytest.approx(10.0, abs=0.06), [2.0])


def test_300_characters_of_a_mistake_are_shown(tmp_path: Path) -> None:
    config, _ = read_config({"HOME": str(tmp_path)})
    (mistake, *_) = (one for one in settings_findings(config, [Problem("x", "y" * 1000)]) if one.subject == "settings")
    assert len(mistake.found) == 300


def test_paths_that_cannot_be_followed_are_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Path.exists raises an error for a name that is too long, as it does below a directory without permission.
    long = tmp_path / ("a" * 300)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(long))
    config, problems = read_config({"HOME": str(tmp_path), "HPCFRUGAL_SPOOL": str(long), "XDG_CONFIG_HOME": str(long)})
    found = [*settings_findings(config, problems), *storage.storage_findings(config)]
    faults = [one for one in found if one.level == "fault"]
    assert [one.subject for one in faults] == ["settings", "spool"]
    assert faults[1].found.endswith(": File name too long")


def test_published_ledgers_that_a_user_does_not_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a folder above is the operators' alone."""
    long = tmp_path / ("a" * 300)
    (tmp_path / "config.toml").write_text(f'[site]\npublished = "{long}"\n')
    monkeypatch.setattr("hpcfrugal.settings.config.SITE_DIR", tmp_path)
    monkeypatch.setattr(storage.os, "geteuid", lambda: 41001)
    findings = storage.storage_findings(read_config({"HOME": str(tmp_path)})[0])
    (finding,) = (one for one in findings if one.subject == "site.published")
    assert (finding.level, finding.found) == ("gap", f"{long} cannot be reached")


def test_the_places_of_a_site_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (tmp_path / "config.toml").write_text(
        f'[site]\nspool = "{site}"\nledger = "{site}/ledger/ledger.db"\npublished = "{site}/published"\n'
    )
    monkeypatch.setattr("hpcfrugal.settings.config.SITE_DIR", tmp_path)

    def found(uid: int) -> dict[str, tuple[str, str]]:
        monkeypatch.setattr(storage.os, "geteuid", lambda: uid)
        config, problems = read_config({"HOME": str(tmp_path)})
        assert problems == []
        findings = storage.storage_findings(config)
        return {one.subject: (one.level, one.found) for one in findings if one.subject.startswith("site.")}

    missing = {name: ("gap", f"{site}{folder} does not exist") for name, folder in (
        ("site.spool", ""), ("site.ledger", "/ledger"), ("site.published", "/published")
    )}  # fmt: skip
    assert found(0) == missing
    assert found(41001) == {"site.published": missing["site.published"]}
    for folder in ("ledger", "published"):
        (site / folder).mkdir(parents=True)
    assert {level for level, _ in found(0).values()} == {"ok"}
    assert len(found(0)) == 3
    assert found(41001) == {}
    replaced = "every user can remove and replace what is in it"
    (site / "users").mkdir()
    (site / "users").chmod(0o3773)  # each user makes a folder here, and none can remove another's
    assert {level for level, _ in found(0).values()} == {"ok"}
    (site / "users").chmod(0o777)
    (site / "ledger").chmod(0o777)
    assert found(0)["site.spool"] == ("gap", f"{site}/users: {replaced}")
    assert found(0)["site.ledger"] == ("gap", f"{site}/ledger: {replaced}")
    assert found(0)["site.published"][0] == "ok"


def test_a_table_is_shown_as_its_keys_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text('[site.managers]\nphysics = ["erwin", "lise"]\noptics = ["max"]\n')
    monkeypatch.setattr("hpcfrugal.settings.config.SITE_DIR", tmp_path)
    (finding,) = (
        one for one in settings_findings(*read_config({"HOME": str(tmp_path)})) if one.subject == "site.managers"
    )
    assert finding.found.startswith("physics: erwin, lise; optics: max (")
