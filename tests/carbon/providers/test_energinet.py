"""Energinet against a server that answers as its documentation says, and as it should not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_grid import Reply
from provider_asker import NOW, Asker

from hpcfrugal.carbon.providers.energinet import Energinet
from hpcfrugal.core.errors import Unreachable

pytestmark = pytest.mark.usefixtures("home")

START = datetime(2026, 11, 21, 8, 45, tzinfo=UTC)
SLOT = timedelta(minutes=5)


def answer(values: list[Any], *, area: str = "DK1", start: datetime = START, dataset: str = "CO2EmisProg") -> Any:
    """An answer of the service; times have no offset."""
    records = [
        {"Minutes5UTC": f"{start + index * SLOT:%Y-%m-%dT%H:%M:%S}", "PriceArea": area, "CO2Emission": value}
        for index, value in enumerate(values)
    ]
    return {
        "total": len(records), "sort": "Minutes5UTC asc", "limit": 0, "dataset": dataset, "records": records,
    }  # fmt: skip


@pytest.mark.parametrize(("zone", "area"), [("DK1", "DK1"), ("DK-DK2", "DK2"), ("dk_1", "DK1")])
def test_the_forecast(asker: Asker, zone: str, area: str) -> None:
    asker.answers(answer([104.0, 103, None, 99.5], area=area))
    series = asker(Energinet, "forecast", zone).series
    assert asker.last.path == "/dataset/CO2EmisProg"
    assert json.loads(asker.last.query.pop("filter")) == {"PriceArea": [area]}
    assert asker.last.query == {
        "start": "2026-11-21T08:42", "end": "2026-11-24T08:47", "timezone": "utc",
        "columns": "Minutes5UTC,PriceArea,CO2Emission", "sort": "Minutes5UTC asc", "limit": "0",
    }  # fmt: skip
    assert (series.kind, series.signal, series.issued_at) == ("forecast", "average", NOW)
    assert (series.start, series.step, series.values) == (START, SLOT, (104.0, 103.0, None, 99.5))


def test_actuals_are_another_data_set(asker: Asker) -> None:
    start = START - timedelta(hours=2)
    asker.answers(answer([75, 44], start=start, dataset="CO2Emis"))
    series = asker(Energinet, "actual", "DK1", start=start, end=start + timedelta(hours=1)).series
    assert asker.last.path == "/dataset/CO2Emis"
    assert (asker.last.query["start"], asker.last.query["end"]) == ("2026-11-21T06:45", "2026-11-21T07:45")
    assert (series.kind, series.issued_at, series.values, series.end) == (
        "actual", None, (75.0, 44.0), start + 2 * SLOT,
    )  # fmt: skip


def test_zones() -> None:
    for zone in ("DK1", "DK2", "DK-DK1", "DK_2"):
        assert Energinet.serves(zone), zone
    for zone in ("DK", "DK3", "DK-BHM", "SE3", "NO1"):
        assert not Energinet.serves(zone), zone


def test_a_zone_of_another_country_is_not_a_danish_area(asker: Asker) -> None:
    asker.answers(answer([]))
    assert asker.refused(Energinet, "forecast", "SE3") == "no intensities"
    assert json.loads(asker.last.query["filter"]) == {"PriceArea": ["SE3"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (answer([1], area="DK2"), "answered for zone 'DK2' instead of 'DK1'"),
        (answer([]), "no intensities"),
        (answer([None, None]), "no intensities"),
        (answer([-1]), "impossible intensity of -1 g/kWh at 2026-11-21T08:45:00Z"),
        ({"records": None}, "records in an unknown format"),
        ([], "answer in an unknown format"),
        ({"records": [{"Minutes5UTC": None, "PriceArea": "DK1", "CO2Emission": 1}]}, "invalid time None"),
        ({"records": [{"Minutes5UTC": "soon", "PriceArea": "DK1", "CO2Emission": 1}]}, "invalid time 'soonZ'"),
    ],
)
def test_answers_that_are_refused(asker: Asker, body: Any, message: str) -> None:
    asker.answers(body)
    assert message in asker.refused(Energinet, "forecast", "DK1")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({}, 429, {"Retry-After": "60"}), "rate limited (HTTP 429); retry in 60 s"),
        (Reply({"message": "Unknown column"}, 400), "request rejected (HTTP 400)"),
        (Reply(b"<html>", 200), "sent an HTML page instead of JSON"),
    ],
)
def test_errors(asker: Asker, reply: Reply, message: str) -> None:
    asker.answers(lambda request: reply)
    assert asker.refused(Energinet, "forecast", "DK1") == message


def test_a_server_that_is_too_slow(asker: Asker) -> None:
    asker.answers(lambda request: Reply(answer([1]), delay_s=30))
    with pytest.raises(Unreachable, match=r"did not answer (within|in time)"):
        asker(Energinet, "forecast", "DK1", seconds=0.3)
