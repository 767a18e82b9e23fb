"""CSV files of intensities as sites and exports write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hpcfrugal.carbon.providers.csv_table import read_csv
from hpcfrugal.core.errors import ForecastError

PARIS = ZoneInfo("Europe/Paris")
EIGHT = datetime(2026, 11, 21, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("head", "factor"),
    [
        ("start,g_per_kwh", 1),
        ("Time,Intensity", 1),
        ("timestamp,carbon_intensity", 1),
        ("Datetime (UTC),Carbon intensity gCO₂eq/kWh (Life cycle)", 1),
        ("HourUTC,CO2Emission", 1),
        ("start_date,value", 1),
        (" from , kgCO2/MWh ", 1),
        ("date,tCO2 per MWh", 1000),
        ("datetime,lbs_co2_per_mwh", 0.45359237),
    ],
)
def test_names_and_units_of_columns(head: str, factor: float) -> None:
    (row,) = read_csv(f"{head}\n2026-11-21T08:00:00+00:00,0.5\n")
    assert (row.start, row.end, row.g_per_kwh) == (EIGHT, None, 0.5 * factor)


def test_blank_lines_before_the_header() -> None:
    """The first column of the second table has no name."""
    for text in ("\n  \n\r\nstart;value\n2026-11-21T08:00Z;0,5\n", "\n\tstart\tvalue\n0\t2026-11-21T08:00Z\t0.5\n"):
        (row,) = read_csv(text)
        assert (row.start, row.g_per_kwh) == (EIGHT, 0.5)


@pytest.mark.parametrize(
    "head", ["zone,signal,kind,issued_at", "Zone, Signal ,KIND,Issued at", "Zone id,SIGNAL,Kind,issued-at"]
)
def test_columns_of_zone_signal_kind_and_issue_in_any_spelling(head: str) -> None:
    (row,) = read_csv(f"Datetime,g_per_kwh,{head}\n2026-11-21T08:00Z,5,DE, marginal,actual,2026-11-21T07:00Z\n")
    assert row.labels == {
        "zone": "DE", "signal": "marginal", "kind": "actual", "issued_at": "2026-11-21T07:00Z",
    }  # fmt: skip
    (row,) = read_csv("Datetime,g_per_kwh,Zone name\n2026-11-21T08:00Z,5,Germany\n")
    assert row.labels == {}


def test_semicolons_decimal_commas_and_tabs() -> None:
    rows = list(read_csv("start;end;g_per_kwh\n1795248000;1795249800;56,3\n1795249800;1795251600;\n"))
    assert [(row.start, row.g_per_kwh) for row in rows] == [(EIGHT, 56.3), (EIGHT + timedelta(minutes=30), None)]
    assert rows[0].end == EIGHT + timedelta(minutes=30)
    (row,) = read_csv("start\tg_per_kwh\n2026-11-21T08:00Z\t5\n")
    assert (row.start, row.g_per_kwh) == (EIGHT, 5)


def test_local_times_of_a_whole_night_when_the_clock_is_set_back() -> None:
    local = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    text = "time,intensity\n" + "".join(f"2026-10-25 {at},{number}\n" for number, at in enumerate(local))
    begin = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    assert [row.start for row in read_csv(text, zone=PARIS)] == [begin + n * timedelta(minutes=30) for n in range(6)]
    ends = "start,end,intensity\n2026-10-25 02:30,2026-10-25 02:00,1\n"
    (row,) = read_csv(ends, zone=PARIS)
    assert row.end is not None
    assert row.end - row.start == timedelta(minutes=30)


def test_a_local_time_that_the_clock_skips() -> None:
    with pytest.raises(ForecastError, match="line 3: time '2026-03-29 02:30' does not exist in Europe/Paris"):
        list(read_csv("time,intensity\n2026-03-29 01:30,1\n2026-03-29 02:30,2\n", zone=PARIS))


def test_a_column_of_utc_has_no_local_times() -> None:
    (row,) = read_csv("Datetime (UTC),value\n2026-11-21 08:00,1\n", zone=PARIS)
    assert row.start == EIGHT
    (row,) = read_csv("Datetime,value\n2026-11-21 09:00,1\n", zone=PARIS)
    assert row.start == EIGHT


def test_several_columns_that_could_be_the_intensity() -> None:
    text = "time,direct gCO2/kWh,life cycle gCO2/kWh\n2026-11-21T08:00Z,1,2\n"
    said = "several columns may be the intensity; set column to one of 'direct gCO2/kWh', 'life cycle gCO2/kWh'"
    with pytest.raises(ForecastError, match=re.escape(said)):
        list(read_csv(text))
    (row,) = read_csv(text, column="life cycle gCO2/kWh")
    assert row.g_per_kwh == 2
    with pytest.raises(ForecastError, match="there is no column 'lca'; the file has 'time', 'direct"):
        list(read_csv(text, column="lca"))


def test_the_example_of_the_docs() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/carbon.md").read_text()
    (example,) = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    found = [(row.start, row.g_per_kwh) for row in read_csv(example, column="Life cycle [g/kWh]", zone=PARIS)]
    midnight = datetime(2026, 11, 27, 23, tzinfo=UTC)
    assert found == [(midnight, 56.3), (midnight + timedelta(hours=1), 54.8)]


@pytest.mark.parametrize("text", ["a;b\n", "\n\n\0\n", "time,intensity\n;", "time;intensity\nx;2;3;4;5\n", "x" * 9999])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ForecastError) as caught:
        list(read_csv(text))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600
