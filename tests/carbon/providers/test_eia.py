"""EIA-930 against a server that answers as its documentation says, and as it should not."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_grid import Reply
from provider_asker import Asker

from hpcfrugal.carbon.providers.eia import Eia
from hpcfrugal.core.errors import Unreachable

pytestmark = pytest.mark.usefixtures("home")

HOUR = timedelta(hours=1)
START = datetime(2026, 11, 20, 6, tzinfo=UTC)
KEY = "s3cret-key"


def answer(mixes: list[dict[str, Any]], *, respondent: str = "CISO") -> Any:
    """An answer for hours from START on; each hour is named by its end."""
    rows = [
        {
            "period": f"{START + (index + 1) * HOUR:%Y-%m-%dT%H}", "respondent": respondent, "fueltype": fuel,
            "type-name": fuel, "value": value, "value-units": "megawatthours",
        }
        for index, mix in enumerate(mixes)
        for fuel, value in mix.items()
    ]  # fmt: skip
    return {"response": {"total": str(len(rows)), "frequency": "hourly", "data": rows}, "apiVersion": "2.1.12"}


def actuals(asker: Asker, zone: str = "US-CAL-CISO", **more: Any) -> Any:
    return asker(Eia, "actual", zone, KEY, start=START, end=START + 3 * HOUR, **more)


def refused(asker: Asker) -> str:
    return asker.refused(Eia, "actual", "US-CAL-CISO", KEY, start=START, end=START + 3 * HOUR)


def test_actuals(asker: Asker) -> None:
    fuels = ("NG", "NUC", "SUN", "COL", "WAT")
    hours = [("50", "50", "0", 0, 0), (0, 0, 100, 0, 0), (0, 0, 0, "10", 90.0)]
    asker.answers(answer([dict(zip(fuels, values, strict=True)) for values in hours]))
    found = actuals(asker)
    assert asker.last.path == "/v2/electricity/rto/fuel-type-data/data/"
    assert asker.last.query == {
        "frequency": "hourly", "data[0]": "value", "facets[respondent][]": "CISO", "start": "2026-11-19T07",
        "end": "2026-11-20T09", "sort[0][column]": "period", "sort[0][direction]": "asc", "length": "5000",
        "api_key": KEY,
    }  # fmt: skip
    # Factors of the tables: gas 490, nuclear 12, solar 48, coal 820, hydropower 24.
    assert found.series.values == pytest.approx(((50 * 490 + 50 * 12) / 100, 48, (10 * 820 + 90 * 24) / 100))
    assert (found.series.kind, found.series.signal, found.series.start) == ("actual", "average", START)
    assert found.notes[0] == "calculated from the generation mix, without imports"


def test_an_hour_that_is_not_known_whole_is_a_gap(asker: Asker) -> None:
    whole = {"NG": 60, "NUC": 30, "WND": 10}
    asker.answers(answer([whole, {"NG": 60, "NUC": None, "WND": 10}, whole]))
    values = actuals(asker).series.values
    assert [value is None for value in values] == [False, True, False]


def test_a_fuel_that_is_not_published_yet_is_missed_by_the_day_before(asker: Asker) -> None:
    whole = {"NG": 60, "NUC": 30, "WND": 10}
    asker.answers(answer([whole, whole, {"NG": 60}]))
    last = START + 2 * HOUR
    message = asker.refused(Eia, "actual", "US-CAL-CISO", KEY, start=last, end=last + HOUR)
    assert message == "no intensities"
    assert asker.last.query["start"] == "2026-11-19T09"


def test_fuels_without_a_factor_and_pumping(asker: Asker) -> None:
    asker.answers(answer([{"NG": 80, "OTH": 20, "PS": -30}] * 3))
    found = actuals(asker)
    assert found.series.values == (490.0, 490.0, 490.0)
    assert found.notes[1] == "20.0% of the generation is of types without a known emission factor and is left out"
    asker.answers(answer([{"NG": 70, "OTH": 30}] * 3))
    assert refused(asker) == "30% of the generation is of types without a known emission factor"


def test_zones() -> None:
    for zone in ("US-CAL-CISO", "US-TEX-ERCO", "us-mida-pjm"):
        assert Eia.serves(zone), zone
    for zone in ("US", "CAISO_NORTH", "CA-ON", "US-CAL"):
        assert not Eia.serves(zone), zone


def test_there_is_no_forecast(asker: Asker) -> None:
    assert asker.refused(Eia, "forecast", "US-CAL-CISO", KEY) == "offers no forecasts"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (answer([{"NG": 1}], respondent="ERCO"), "answered for zone 'ERCO' instead of 'CISO'"),
        (answer([]), "no intensities"),
        (answer([{"NG": None}]), "no generation of a known type"),
        (answer([{"NG": "many"}]), "invalid generation 'many'"),
        (answer([{"NG": True}]), "invalid generation True"),
        (answer([{"NG": "1e9"}]), "invalid generation '1e9'"),
        (answer([{"NG": "nan"}]), "invalid generation 'nan'"),
        ({"response": {"data": [{"period": "x", "respondent": "CISO"}]}}, "invalid time 'x:00Z'"),
        ({"error": "no key"}, "answer in an unknown format"),
        (answer([{"NG": 1}] * 5000), "sent its limit of 5000 rows, which may not be all"),
    ],
)
def test_answers_that_are_refused(asker: Asker, body: Any, message: str) -> None:
    asker.answers(body)
    assert message in refused(asker)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({"error": {"code": "API_KEY_INVALID"}}, 403), "refused the credentials from TEST (HTTP 403)"),
        (Reply({}, 429, {"Retry-After": "30"}), "rate limited (HTTP 429); retry in 30 s"),
    ],
)
def test_errors(asker: Asker, reply: Reply, message: str) -> None:
    asker.answers(lambda request: reply)
    assert refused(asker) == message


def test_a_server_that_is_too_slow(asker: Asker) -> None:
    asker.answers(lambda request: Reply(answer([{"NG": 1}]), delay_s=30))
    with pytest.raises(Unreachable, match=r"did not answer (within|in time)"):
        actuals(asker, seconds=0.3)


def test_the_key_is_not_logged(asker: Asker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asker.answers(answer([{"NG": 1}]))
    actuals(asker)
    assert asker.last.query["api_key"] == KEY
    assert KEY not in caplog.text
