"""A driver's library that is not installed is named at once, however long the sensor's process takes to find out."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hpcfrugal.sidecar import missing_sensors, sensor_selection, sources
from hpcfrugal.sidecar.sensor_process import SensorProcess
from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sensors.base import Opened
from hpcfrugal.sidecar.shared_library import is_found
from hpcfrugal.sidecar.sources import SensorContext, primary_sensors
from hpcfrugal.sidecar.worker import boottime_ns

NAME = "libnvidia-ml.so.1"


def test_where_a_library_is_found(tmp_path: Path) -> None:
    cache = tmp_path / "ld.so.cache"
    cache.write_bytes(b"ld.so-1.7.0\0libc.so.6\0/lib/libc.so.6\0libnvidia-ml.so.1x\0xlibnvidia-ml.so.1\0")
    assert not is_found(NAME, {}, str(cache))
    assert is_found("libc.so.6", {}, str(cache))
    assert not is_found(NAME, {"LD_LIBRARY_PATH": f"/nowhere:{tmp_path}"}, str(cache))
    (tmp_path / NAME).touch()
    for path in (f"/nowhere:{tmp_path}", f"/nowhere;{tmp_path}", f":{tmp_path}:"):
        assert is_found(NAME, {"LD_LIBRARY_PATH": path}, str(cache))
    assert is_found(NAME, {}, str(tmp_path / "none")), "not known"


@pytest.mark.parametrize(
    ("found", "environ", "reasons"),
    [
        (False, {"CUDA_VISIBLE_DEVICES": "0"}, ["no libnvidia-ml.so.1"]),
        (False, {}, []),
        (True, {}, ["no response within 0 s"]),
    ],
)
def test_what_a_slow_node_says_of_nvml(
    found: bool, environ: dict[str, str], reasons: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "is_found", lambda name, environ: found)
    for module in (sensor_selection, missing_sensors):
        monkeypatch.setattr(module, "HEADER_WAIT_S", 0)
    opens = threading.Event()

    def open_late(self: SensorProcess) -> Opened:
        opens.wait(30)
        return Opened([], [], [])

    monkeypatch.setattr(SensorProcess, "open", open_late)
    context = SensorContext("/nowhere", "/nowhere", environ, boottime_ns, in_slurm=False)
    sensors = [sensor for sensor in primary_sensors(context) if isinstance(sensor, SensorProcess)]
    selection = SensorSelection(sensors, (), boottime_ns, lambda: False)
    absent = [(one.component, one.source, one.reason) for one in selection.absent]
    opens.set()
    assert absent == [("gpu", "nvml-energy", reason) for reason in reasons]
