"""What the doctor shows of named tables."""

from __future__ import annotations

from pathlib import Path

import pytest

import hpcfrugal.doctor.settings
import hpcfrugal.settings.config
from hpcfrugal.doctor import settings_findings
from hpcfrugal.settings.config import read_config

SETTINGS = """\
[forecasts.own]
kind = "file"
path = "/srv/s3cret.csv"
zone = "FR"
[nodes.n1]
idle_power_w = {cpu = 60}
[nodes."n[1-2]"]
idle_power_w = {cpu = 70}
[methods.green-algoritms]
core_power_w = 6.3
"""


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    (tmp_path / "config.toml").write_text(SETTINGS)
    monkeypatch.setattr(hpcfrugal.settings.config, "SITE_DIR", tmp_path)
    # As if `file` were the kind of a plugin.
    monkeypatch.setattr(hpcfrugal.doctor.settings, "BUILT_IN", {})
    config, problems = read_config({"HOME": str(tmp_path / "home")})
    found = settings_findings(config, problems)
    return {one.found if one.subject == "settings" else one.subject: (one.level, one.found) for one in found}


def test_the_value_of_a_plugins_own_key_is_not_shown(shown: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    place = tmp_path / "config.toml"
    assert shown["forecasts.own"] == ("ok", f"kind = file, path = ..., zone = FR ({place}:1)")


def test_tables_that_contradict_each_other_are_a_fault(shown: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    place = tmp_path / "config.toml"
    assert shown["nodes.n1"][0] == "ok"
    what = f"{place}:7: nodes.n[1-2]: names nodes that {place}:5: nodes.n1 names too: n1"
    assert shown[what] == ("fault", what)


def test_a_mistake_in_a_method_is_a_fault(shown: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    what = f"{tmp_path / 'config.toml'}:9: methods.green-algoritms: is not a method"
    assert shown[what] == ("fault", what)


def test_tables_of_every_kind_are_checked() -> None:
    assert {*hpcfrugal.doctor.settings._READERS, "meters"} == set(hpcfrugal.settings.config.TABLES)


@pytest.mark.parametrize(
    ("zone", "own", "known"),
    [("FR", "", True), ("XX-NOPE", "", False), ("US-CAL-CISO", "", True), ("XX-NOPE", "XX-NOPE", True)],
)
def test_a_zone_of_which_nobody_has_a_figure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, own: str, known: bool
) -> None:
    table = f'[forecasts.own]\nkind = "file"\npath = "/srv/own.csv"\nzone = "{own}"\n' if own else ""
    (tmp_path / "config.toml").write_text(f'[carbon]\nzone = "{zone}"\n{table}')
    monkeypatch.setattr(hpcfrugal.settings.config, "SITE_DIR", tmp_path)
    config, problems = read_config({"HOME": str(tmp_path / "home")})
    found = [one for one in settings_findings(config, problems) if one.subject == "carbon.zone"]
    assert [one.level for one in found] == ["ok"] + ["gap"] * (not known)
    assert ("no provider has figures of XX-NOPE" in found[-1].found) == (not known)
