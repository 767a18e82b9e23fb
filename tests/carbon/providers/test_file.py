"""Intensities of a file: forms, several issues, slots of seconds, and what is refused."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hpcfrugal.carbon import CarbonSeries
from hpcfrugal.carbon.providers.base import IntensityRequest
from hpcfrugal.carbon.providers.file import File, FileSettings
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client

NOW = datetime(2026, 11, 21, 8, 47, tzinfo=UTC)


def read(
    path: Path, kind: SeriesKind = "forecast", *, zone: str = "lab", signal: Signal = "average", now: datetime = NOW
) -> CarbonSeries:
    provider = File(FileSettings(name="mine", kind="file", path=path), None)
    ask = IntensityRequest(zone, signal, now, now + timedelta(hours=1), now)
    client = Client(time.monotonic() + 5)
    return (provider.forecast(ask, client) if kind == "forecast" else provider.actuals(ask, client)).series


def put(folder: Path, content: Any, name: str = "f") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def issue(at: str, values: list[Any], **more: Any) -> dict[str, Any]:
    told = {"zone": "lab", "signal": "average", "kind": "forecast", "issued_at": at}
    return told | {"start": "2026-11-21T08:40:00Z", "step_s": 5, "g_per_kwh": values} | more


def test_the_newest_issue_by_now_with_slots_of_seconds(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        [
            issue("2026-11-21T08:30:00Z", [1, 1, 1]),
            issue("2026-11-21T08:45:00Z", [2, None, 2.5]),
            issue("2026-11-21T09:00:00Z", [3, 3, 3]),
            issue("2026-11-21T08:46:00Z", [9, 9, 9], zone="other"),
        ],
    )
    series = read(path)
    assert series.values == (2.0, None, 2.5)
    assert series.end - series.start == timedelta(seconds=15)
    assert series.issued_at == datetime(2026, 11, 21, 8, 45, tzinfo=UTC)
    assert read(path, now=NOW + timedelta(hours=1)).values == (3.0, 3.0, 3.0)
    with pytest.raises(ForecastError, match="no forecast issued by now; the first is from 2026-11-21T08:30:00Z"):
        read(path, now=NOW - timedelta(hours=1))


def test_what_a_series_writes_is_read(tmp_path: Path) -> None:
    start = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    hour = timedelta(hours=1)
    intervals = [(start, start + hour, 1.5), (start + 2 * hour, start + 5 * hour, 0.0)]
    for series in (
        CarbonSeries.from_values(start, hour, [1, None, 3.25], zone="lab", signal="marginal", kind="actual"),
        CarbonSeries.from_intervals(intervals, zone="lab", signal="marginal", kind="actual"),
    ):
        back = read(put(tmp_path, series.to_json()), "actual", signal="marginal")
        assert (back.edges_us, back.values) == (series.edges_us, series.values)
        back = read(put(tmp_path, {"series": [series.to_json()]}), "actual", signal="marginal")
        assert back.values == series.values


def test_csv(tmp_path: Path) -> None:
    text = "time,intensity\n2026-11-21T08:30Z,11\n2026-11-21T09:00Z,15\n2026-11-21T09:30Z,\n2026-11-21T10:00Z,12\n"
    for kind in ("forecast", "actual"):
        series = read(put(tmp_path, text.encode()), kind)
        assert series.values == (11.0, 15.0, None, 12.0)
        assert series.kind == kind


@pytest.mark.parametrize("age_s", [-600, 7200])
def test_a_forecast_without_a_time_of_issue_is_as_old_as_its_file(tmp_path: Path, age_s: int) -> None:
    path = put(tmp_path, b"time,intensity\n2026-11-21T08:30Z,11\n2026-11-21T09:00Z,15\n")
    os.utime(path, (NOW.timestamp() - age_s, NOW.timestamp() - age_s))
    provider = File(FileSettings(name="mine", kind="file", path=path), None)
    answer = provider.forecast(
        IntensityRequest("lab", "average", NOW, NOW + timedelta(hours=1), NOW), Client(time.monotonic() + 5)
    )
    assert answer.series.issued_at == NOW - timedelta(seconds=max(0, age_s)), "never later than now"
    assert answer.notes == ("no time of issue in the file; the time of its last change is used",)


def test_without_kind_only_what_was_past_when_written_is_an_actual(tmp_path: Path) -> None:
    rows = "2026-11-21T08:00Z,11\n2026-11-21T08:15Z,12\n2026-11-21T08:30Z,15\n2026-11-21T08:45Z,16\n"
    series = {"start": "2026-11-21T08:00Z", "step_s": 900, "g_per_kwh": [11, 12, 15, 16]}
    changed_at = datetime(2026, 11, 21, 8, 31, tzinfo=UTC).timestamp()
    for content in (f"time,intensity\n{rows}".encode(), series):
        path = put(tmp_path, content)
        os.utime(path, (changed_at, changed_at))
        later = NOW + timedelta(days=300)
        assert read(path, "forecast", now=later).values == (11, 12, 15, 16)
        assert read(path, "actual", now=later).values == (11, 12)
        os.utime(path, (changed_at - 3600, changed_at - 3600))
        with pytest.raises(ForecastError, match="values without kind are forecasts from 2026-11-21 07:31Z on"):
            read(path, "actual", now=later)
    rows = "".join(f"{row},actual\n" for row in rows.splitlines())
    path = put(tmp_path, f"time,intensity,kind\n{rows}".encode())
    os.utime(path, (changed_at, changed_at))
    assert read(path, "actual").values == (11, 12, 15, 16), "the file says so"


def test_csv_with_all_columns(tmp_path: Path) -> None:
    rows = [
        " start ,end,g_per_kwh,zone,signal,kind,issued_at",
        "1795250400,1795250460,1,lab,average,forecast,2026-11-21T08:00:00Z",
        "1795250520,1795250580,2,lab,average,forecast,2026-11-21T08:00:00Z",
        "1795250400,1795250460,7,lab,average,forecast,2026-11-21T08:30:00Z",
        "1795250400,1795250460,8,lab,marginal,forecast,2026-11-21T08:30:00Z",
        "1795250400,1795250460,9,lab,average,actual,",
    ]
    path = put(tmp_path, b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    assert read(path).values == (7.0,)
    assert read(path, signal="marginal").values == (8.0,)
    assert read(path, "actual").values == (9.0,)
    assert read(path, now=datetime(2026, 11, 21, 8, 10, tzinfo=UTC)).values == (1.0, None, 2.0)
    with pytest.raises(ForecastError, match="no average forecast for zone 'FR'; the file has 'lab'"):
        read(path, zone="FR")
    with pytest.raises(ForecastError, match="no actual average intensities for zone 'FR'; the file has 'lab'"):
        read(path, "actual", zone="FR")
    path = put(tmp_path, "\n".join(rows[:-1]).encode())
    what = (
        "no actual average intensities for zone 'lab'; of that zone the file has average forecasts, marginal forecasts"
    )
    with pytest.raises(ForecastError, match=what):
        read(path, "actual")


def test_values_of_another_zone_are_not_used_whatever_the_spelling_of_its_column(tmp_path: Path) -> None:
    path = put(tmp_path, b"Datetime,Zone,g_per_kwh\n2026-11-21T08:00Z,DE,5\n2026-11-21T09:00Z,DE,6\n")
    assert read(path, zone="DE").values == (5.0, 6.0)
    with pytest.raises(ForecastError, match="no average forecast for zone 'FR'; the file has 'DE'"):
        read(path, zone="FR")


def test_later_actuals_go_before(tmp_path: Path) -> None:
    told = [
        issue("2026-11-21T08:42:00Z", [5, 6], kind="actual"),
        issue("2026-11-21T08:41:00Z", [1, 2, 3], kind="actual"),
    ]
    assert read(put(tmp_path, told), "actual").values == (5.0, 6.0, 3.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,b\n1,2\n", "needs the columns start and g_per_kwh"),
        (b"start,g_per_kwh\n2026-11-21T08:30,1\n", "line 2: time '2026-11-21T08:30' has no UTC offset"),
        (b"start,g_per_kwh\n\n2026-11-21T08:30,1\n", "line 3: time '2026-11-21T08:30' has no UTC offset"),
        (b"\n \r\n\nstart,g_per_kwh\n\n2026-11-21T08:30,1\n", "line 6: time '2026-11-21T08:30' has no UTC offset"),
        (b"start,g_per_kwh\n2026-11-21T08:30Z,nan\n", "impossible intensity of nan g/kWh"),
        (b"start,g_per_kwh\n2026-11-21T08:30Z,much\n", "invalid intensity 'much'"),
        (b"start,g_per_kwh\n2026-11-21T08:30Z,-4\n", "impossible intensity of -4 g/kWh"),
        (b"start,g_per_kwh,kind\n2026-11-21T08:30Z,4,guess\n", "unknown kind 'guess'; known: actual, forecast"),
        (b"start,g_per_kwh\n2026-11-21T09:30Z,4\n2026-11-21T08:30Z,4\n", "out of order"),
        (b"start,end,g_per_kwh\n2026-11-21T09:30Z,2026-11-21T09:30Z,4\n", "21T09:30:00Z ends at 2026"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b'{"zone": ', "invalid or incomplete JSON"),
        (b"[" * 50_000, "invalid or incomplete JSON"),
        (b"[1]", "a series is not a JSON object"),
        (b"{}", "needs step_s"),
        (b'{"step_s": 0, "start": "2026-11-21T08:30Z", "g_per_kwh": [1]}', "needs step_s"),
        (b'{"step_s": 5, "start": "2026-11-21T08:30Z", "g_per_kwh": 1}', "needs g_per_kwh"),
        (b'{"step_s": 5, "start": "2026-11-21T08:30Z", "g_per_kwh": [NaN]}', "impossible intensity of nan g/kWh"),
        (b'{"intervals": [["2026-11-21T08:30Z", 5]]}', "intervals need the form"),
        (b'{"zone": 5, "step_s": 5, "start": "2026-11-21T08:30Z", "g_per_kwh": [1]}', "zone must be a text"),
        (b'{"step_s": 1e7, "start": "9999-12-01T00:00Z", "g_per_kwh": [1, 2]}', "years"),
    ],
)
def test_refusals_name_the_file(tmp_path: Path, content: bytes, said: str) -> None:
    path = put(tmp_path, content, "a'; rm -rf ~ #.csv")
    with pytest.raises(ForecastError) as caught:
        read(path)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("none", "pipe", "."):
        with pytest.raises(ForecastError, match=r"cannot be read|not a regular file"):
            read(tmp_path / name)
