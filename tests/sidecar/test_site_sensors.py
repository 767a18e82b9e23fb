"""Sensors of a site: found at the building of the zipapp, sampled on the node, and unable to hurt anything else."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
from fake_plugins import SENSOR, install
from fake_rapl import FakeRapl
from sidecar_process import SidecarProcess

from hpcfrugal.spool import zipapp


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "extra/site-packages"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    return folder


def test_sensor_is_built_in_and_sampled(site: Path, tmp_path: Path, run_dir: Path, rapl: FakeRapl) -> None:
    """A module of its own, and one deep in a package whose top would not import on a node."""
    install(site, "one", {"pdu": "site_pdu:make"}, {"site_pdu.py": SENSOR})
    deep = {"big/__init__.py": "import numpy_that_is_not_there\n", "big/node/__init__.py": "", "big/other.py": "1/0\n"}
    install(site, "two", {"deep": "big.node.watt:make"}, {**deep, "big/node/watt.py": SENSOR})
    pyz = zipapp.sidecar_zipapp(tmp_path / "sidecar.pyz")
    with zipfile.ZipFile(pyz) as archive:
        names = set(archive.namelist())
        assert {"site_pdu.py", "big/__init__.py", "big/node/__init__.py", "big/node/watt.py"} <= names
        assert "big/other.py" not in names
        assert archive.read("big/__init__.py") == b""
    assert zipapp.sidecar_zipapp(tmp_path / "again.pyz").read_bytes() == pyz.read_bytes()
    with SidecarProcess(pyz, run_dir, rapl.sysfs) as it:
        it.wait_for_records(3)
        code, _, stderr = it.stop()
        lines = it.lines()
    assert (code, stderr) == (0, "")
    added = lines[0]["channels"][7:]
    # the second measures what the first does: it is shown and not added
    assert [(channel["source"], channel["domain"], channel["counted"]) for channel in added] == [
        ("wattmeter", "pdu", True),
        ("wattmeter", "pdu", False),
    ]
    measured_s = lines[-1]["measured_ns"][7] / 1e9
    assert lines[-1]["energy_uj"][7] == pytest.approx(350e6 * measured_s, rel=1e-6)


@pytest.mark.slow
def test_failing_sensors_cost_only_themselves(site: Path, tmp_path: Path, run_dir: Path, rapl: FakeRapl) -> None:
    entries = {name: f"site_pdu:{name}" for name in ("broken", "hang", "lie", "missing")}
    install(
        site, "one", {**entries, "gone": "site_gone:make"}, {"site_pdu.py": SENSOR, "site_gone.py": "import nowhere\n"}
    )
    with SidecarProcess(zipapp.sidecar_zipapp(tmp_path / "s.pyz"), run_dir, rapl.sysfs) as it:
        it.wait_for_records(2)
        code, seconds, stderr = it.stop()
        lines = it.lines()
    assert code == 0
    assert seconds < 1
    assert len(lines[0]["channels"]) == 7
    reasons = {entry["source"]: entry["reason"] for entry in lines[0]["absent"]}
    assert reasons["site-broken"] == "RuntimeError: no meter here"
    assert reasons["site-hang"] == "no response within 1 s"
    assert reasons["site-lie"] == "ValueError: site-lie returned an invalid channel"
    assert reasons["site-missing"].startswith("AttributeError: ")
    assert reasons["site-gone"].startswith("ModuleNotFoundError: ")
    assert stderr.count("\n") == 4
    assert lines[-1]["errors"] == [0] * 7


@pytest.mark.parametrize(
    ("value", "files", "reason"),
    [
        ("site_bad:make", {"site_bad.py": "def (:\n"}, "invalid syntax"),
        ("site_bad:make", {"site_bad.py": "\0"}, "null"),
        ("nowhere.at.all:make", {}, "no module nowhere"),
        ("site_big.x:make", {"site_big/__init__.py": "", "site_big/x.py": "#" * (2**20 + 1)}, "too large to travel"),
        (
            "site_many.x:make",
            {f"site_many/{name}.py": "" for name in ("x", *(f"m{number}" for number in range(64)))},
            "too large to travel",
        ),
        ("json:loads", {}, "the name json is taken"),
        ("hpcfrugal_sidecar.loop:x", {}, "the name hpcfrugal_sidecar is taken"),
    ],
)
def test_sensor_that_cannot_travel_is_left_out(
    site: Path, tmp_path: Path, value: str, files: dict[str, str], reason: str
) -> None:
    plain = zipapp.sidecar_zipapp(tmp_path / "plain.pyz").read_bytes()
    install(site, "one", {"bad": value}, files)
    with pytest.warns(UserWarning, match=f"sensor bad .* is left out: .*{reason}"):
        built = zipapp.sidecar_zipapp(tmp_path / "s.pyz")
    assert built.read_bytes() == plain


@pytest.mark.slow
def test_shared_copy_follows_installation_and_edits(site: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    plain = zipapp.shared_sidecar(spool)
    install(site, "one", {"pdu": "site_pdu:make"}, {"site_pdu.py": SENSOR})
    first = zipapp.shared_sidecar(spool)
    (site / "site_pdu.py").write_text(SENSOR.replace("5000", "6000"))
    second = zipapp.shared_sidecar(spool)
    assert len({plain, first, second}) == 3
    assert b"max_w=6000" in second.read_bytes()
