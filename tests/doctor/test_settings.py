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
"""


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    (tmp_path / "config.toml").write_text(SETTINGS)
    monkeypatch.setattr(hpcfrugal.settings.config, "SITE_DIR", tmp_path)
    # As if `file` were the kind of a plugin.
    monkeypatch.setattr(hpcfrugal.doctor.settings, "BUILT_IN", {})
    config, problems = read_config({"HOME": str(tmp_path / "home")})
    return {one.subject: (one.level, one.found) for one in settings_findings(config, problems)}


def test_the_value_of_a_plugins_own_key_is_not_shown(shown: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    place = tmp_path / "config.toml"
    assert shown["forecasts.own"] == ("ok", f"kind = file, path = ..., zone = FR ({place}:1)")


def test_tables_that_contradict_each_other_are_a_fault(shown: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    place = tmp_path / "config.toml"
    assert shown["nodes.n1"][0] == "ok"
    what = f"{place}:7: nodes.n[1-2]: names nodes that {place}:5: nodes.n1 names too: n1"
    assert shown["settings"] == ("fault", what)
