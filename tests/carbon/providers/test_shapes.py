"""Each provider against a server that answers as its documentation says, and as it should not."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_grid import Grid, Reply, Request, half_hours

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.providers.carbonintensity_gb import CarbonIntensityGB
from hpcfrugal.carbon.providers.electricitymaps import ElectricityMaps
from hpcfrugal.carbon.providers.energy_charts import EnergyCharts
from hpcfrugal.carbon.providers.rte_eco2mix import RteEco2mix
from hpcfrugal.carbon.providers.watttime import WattTime
from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import Secret

pytestmark = pytest.mark.usefixtures("home")

NOW = datetime(2026, 11, 21, 8, 47, 12, 345, tzinfo=UTC)
HALF = timedelta(minutes=30)
SLOT = NOW.replace(minute=30, second=0, microsecond=0)


class Asker:
    """Asks a provider at the server."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def answers(self, reply: Any) -> None:
        self.grid.answer = reply if callable(reply) else lambda request: Reply(reply)

    def __call__(
        self, made: type[Provider], what: str, zone: str, *secret: str,
        start: datetime = NOW, end: datetime = NOW + timedelta(hours=24), **own: Any,
    ) -> IntensityAnswer:  # fmt: skip
        settings = made.settings_model(name="mine", kind=made.kind, url=self.grid.url, **own)
        provider = made(settings, Secret(secret, "TEST") if secret else None)
        ask = IntensityRequest(zone, provider.signals[0], start, end, NOW)
        method = provider.forecast if what == "forecast" else provider.actuals
        return method(ask, Client(time.monotonic() + 5))

    def refused(self, *args: Any, **more: Any) -> str:
        with pytest.raises(SourceError) as caught:
            self(*args, **more)
        assert "\n" not in caught.value.message
        return caught.value.message

    @property
    def last(self) -> Request:
        return self.grid.requests[-1]


@pytest.fixture
def asker(grid: Grid) -> Asker:
    return Asker(grid)


class TestGreatBritain:
    def test_national_forecast(self, asker: Asker) -> None:
        asker.answers(half_hours(SLOT, [266, 270.5, None, 200], actual=263))
        answer = asker(CarbonIntensityGB, "forecast", "GB")
        assert asker.last.path == "/intensity/2026-11-21T08:48Z/fw48h"
        series = answer.series
        assert (series.start, series.values) == (SLOT, (266.0, 270.5, None, 200.0))
        assert (series.kind, series.issued_at, series.provider) == ("forecast", NOW, "carbonintensity-gb")

    def test_actuals_are_not_the_forecast(self, asker: Asker) -> None:
        asker.answers(half_hours(SLOT, [266, 270], actual=263))
        series = asker(CarbonIntensityGB, "actual", "GB", start=SLOT, end=SLOT + 2 * HALF).series
        assert asker.last.path == "/intensity/2026-11-21T08:30Z/2026-11-21T09:30Z"
        assert (series.values, series.kind, series.issued_at) == ((263.0, 263.0), "actual", None)

    @pytest.mark.parametrize("as_list", [True, False])
    @pytest.mark.parametrize(
        ("zone", "path", "more"),
        [
            ("GB-13", "regionid/13", {"regionid": 13, "shortname": "London"}),
            ("gb-rg10", "postcode/RG10", {"regionid": 12, "postcode": "RG10"}),
            ("GB-W1A", "postcode/W1A", {"regionid": 13}),
        ],
    )
    def test_regions(self, asker: Asker, zone: str, path: str, more: dict[str, Any], as_list: bool) -> None:
        region = {**more, "data": half_hours(SLOT, [10, 20])["data"]}
        asker.answers({"data": [region] if as_list else region})
        assert asker(CarbonIntensityGB, "forecast", zone).series.values == (10.0, 20.0)
        assert asker.last.path == f"/regional/intensity/2026-11-21T08:48Z/fw48h/{path}"

    def test_another_region_than_asked(self, asker: Asker) -> None:
        asker.answers({"data": {"regionid": 3, "data": half_hours(SLOT, [10])["data"]}})
        assert asker.refused(CarbonIntensityGB, "forecast", "GB-13") == "answered for zone 3 instead of '13'"

    def test_a_region_has_no_actuals(self, asker: Asker) -> None:
        assert "not for a region" in asker.refused(CarbonIntensityGB, "actual", "GB-13")
        assert asker.grid.requests == []

    @pytest.mark.parametrize("body", [{}, {"data": []}, {"data": None}, {"data": {}}])
    def test_nothing_with_status_200(self, asker: Asker, body: Any) -> None:
        asker.answers(body)
        assert asker.refused(CarbonIntensityGB, "forecast", "GB") == "no intensities"

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ([], "unknown form"),
            ({"data": "x"}, "unknown form"),
            ({"data": [{"from": "2026-11-21T08:30Z", "to": "2026-11-21T09:00Z", "intensity": 5}]}, "unknown form"),
            ({"data": [{"from": "2026-11-21T08:30Z", "to": "2026-11-21T08:30Z", "intensity": {}}]}, "invalid slot"),
            ({"data": [{"from": None, "to": None}]}, "invalid time None"),
            (half_hours(SLOT, [100, -3]), "impossible intensity of -3 g/kWh at 2026-11-21T09:00:00Z"),
            (half_hours(SLOT, [100, 99_999]), "impossible intensity of 99999 g/kWh at"),
            (half_hours(SLOT, [100, "120"]), "invalid intensity '120' at"),
            ({"data": half_hours(SLOT, [1, 2])["data"][::-1]}, "times out of order"),
        ],
    )
    def test_lies(self, asker: Asker, body: Any, said: str) -> None:
        asker.answers(body)
        assert said in asker.refused(CarbonIntensityGB, "forecast", "GB")

    def test_zones(self) -> None:
        for zone in ("GB", "gb", "GB-1", "GB-17", "GB-SW1A", "GB-M1"):
            assert CarbonIntensityGB.serves(zone), zone
        for zone in ("FR", "GB-0", "GB-18", "GB-NIR", "GB-SW1A1AA", "GB-../x", "GBR"):
            assert not CarbonIntensityGB.serves(zone), zone


def maps_rows(start: datetime, values: list[Any], **more: Any) -> list[dict[str, Any]]:
    return [
        {"carbonIntensity": value, "datetime": f"{start + index * timedelta(hours=1):%Y-%m-%dT%H:%M:%S.000Z}", **more}
        for index, value in enumerate(values)
    ]


class TestElectricityMaps:
    HOUR = NOW.replace(minute=0, second=0, microsecond=0)

    def test_forecast(self, asker: Asker) -> None:
        told = {"zone": "FR", "forecast": maps_rows(self.HOUR, [50, 60.5, 40]), "updatedAt": "2026-11-21T08:40:00.000Z"}
        asker.answers(told)
        answer = asker(ElectricityMaps, "forecast", "FR", "tok")
        assert asker.last.path == "/carbon-intensity/forecast"
        assert asker.last.query == {
            "zone": "FR", "disableCallerLookup": "true", "emissionFactorType": "lifecycle",
            "temporalGranularity": "hourly", "horizonHours": "72",
        }  # fmt: skip
        assert asker.last.headers["auth-token"] == "tok"
        assert answer.series.values == (50.0, 60.5, 40.0)
        assert answer.series.issued_at == datetime(2026, 11, 21, 8, 40, tzinfo=UTC)
        assert answer.notes == ()
        del told["updatedAt"]
        assert asker(ElectricityMaps, "forecast", "FR", "tok").series.issued_at == NOW

    def test_the_usual_address_is_that_of_version_4(self) -> None:
        assert ElectricityMaps.url == "https://api.electricitymaps.com/v4"

    def test_parameters_that_are_settings(self, asker: Asker) -> None:
        own = {
            "horizon_hours": 48, "emission_factor_type": "direct", "temporal_granularity": "5_minutes",
            "disable_estimations": True,
        }  # fmt: skip
        rows = maps_rows(self.HOUR, [None, 1], emissionFactorType="direct")
        asker.answers({"zone": "FR", "temporalGranularity": "hourly", "forecast": rows, "history": rows})
        asker(ElectricityMaps, "forecast", "FR", "tok", **own)
        asker(ElectricityMaps, "actual", "FR", "tok", start=self.HOUR, end=NOW, **own)
        forecast, actual = asker.grid.requests
        same = {
            "zone": "FR", "disableCallerLookup": "true", "emissionFactorType": "direct",
            "temporalGranularity": "5_minutes",
        }  # fmt: skip
        assert forecast.query == {**same, "horizonHours": "48"}
        # `latest` is one value, which is not the whole hour where values are finer.
        assert (actual.path, actual.query) == (
            "/carbon-intensity/history", {**same, "disableEstimations": "true"},
        )  # fmt: skip

    def test_values_of_other_emission_factors_are_refused(self, asker: Asker) -> None:
        asker.answers({"zone": "FR", "history": maps_rows(self.HOUR, [1, 2], emissionFactorType="direct")})
        said = asker.refused(ElectricityMaps, "actual", "FR", "tok", start=self.HOUR - timedelta(hours=1), end=NOW)
        assert said == "sent values of 'direct' emission factors, not of 'lifecycle'"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
    def test_a_plan_with_a_shorter_forecast(self, asker: Asker, status: int) -> None:
        told = {"zone": "FR", "forecast": maps_rows(self.HOUR, [50, 60])}
        asker.answers(lambda request: Reply(told, status if "horizonHours" in request.query else 200))
        answer = asker(ElectricityMaps, "forecast", "FR", "tok", horizon_hours=48)
        assert answer.series.values == (50.0, 60.0)
        assert answer.notes == ("the account has no forecast of 48 h; the usual one is used",)

    @pytest.mark.parametrize("status", [401, 403])
    def test_the_free_tier_has_no_forecast(self, asker: Asker, status: int) -> None:
        asker.answers(lambda request: Reply({}, status))
        said = asker.refused(ElectricityMaps, "forecast", "FR", "tok")
        assert said == f"refused the credentials from TEST (HTTP {status}); the free tier has no forecast"
        assert len(asker.grid.requests) == 2

    @pytest.mark.parametrize("status", [429, 500])
    def test_a_server_that_fails_is_asked_once(self, asker: Asker, status: int) -> None:
        asker.answers(lambda request: Reply({}, status))
        assert f"HTTP {status}" in asker.refused(ElectricityMaps, "forecast", "FR", "tok")
        assert len(asker.grid.requests) == 1

    def test_finer_slots(self, asker: Asker) -> None:
        rows = [
            {"carbonIntensity": 5, "datetime": "2026-11-21T08:30:00.000Z"},
            {"carbonIntensity": 6, "datetime": "2026-11-21T08:45:00.000Z"},
        ]
        asker.answers({"zone": "FR", "temporalGranularity": "15_minutes", "forecast": rows})
        assert asker(ElectricityMaps, "forecast", "FR", "tok").series.step == timedelta(minutes=15)
        asker.answers({"zone": "FR", "temporalGranularity": "daily", "forecast": rows})
        assert "granularity 'daily'" in asker.refused(ElectricityMaps, "forecast", "FR", "tok")

    def test_what_was(self, asker: Asker) -> None:
        hour = timedelta(hours=1)
        asker.answers({"zone": "FR", "carbonIntensity": 42, "datetime": "2026-11-21T08:00:00.000Z"})
        assert asker(ElectricityMaps, "actual", "FR", "tok", start=self.HOUR, end=NOW).series.values == (42.0,)
        assert asker.last.path == "/carbon-intensity/latest"

        rows = maps_rows(self.HOUR - 3 * hour, [1, 2, 3], isEstimated=False, estimationMethod=None)
        rows[1] |= {"isEstimated": True, "estimationMethod": "TIME_SLICER_AVERAGE"}
        rows[2] |= {"isEstimated": True}
        asker.answers({"zone": "FR", "history": rows})
        answer = asker(ElectricityMaps, "actual", "FR", "tok", start=self.HOUR - 3 * hour, end=NOW)
        assert asker.last.path == "/carbon-intensity/history"
        assert (answer.series.values, answer.series.kind) == ((1.0, 2.0, 3.0), "actual")
        assert answer.series.estimated_by == (None, "TIME_SLICER_AVERAGE", "an unknown method")
        assert answer.notes == ("2 of 3 values are the provider's estimates",)

        asker.answers({"zone": "FR", "data": maps_rows(self.HOUR - 48 * hour, [7, 8])})
        start = self.HOUR - 48 * hour
        answer = asker(ElectricityMaps, "actual", "FR", "tok", start=start, end=start + 2 * hour)
        assert asker.last.path == "/carbon-intensity/past-range"
        assert asker.last.query["start"] == "2026-11-19T08:00:00Z"
        assert asker.last.query["end"] == "2026-11-19T10:00:00Z"
        assert answer.series.values == (7.0, 8.0)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"zone": "DE", "forecast": maps_rows(HOUR, [1])}, "answered for zone 'DE' instead of 'FR'"),
            ({"forecast": maps_rows(HOUR, [1])}, "answered for zone None instead of 'FR'"),
            ({"status": "error", "message": "tok is wrong"}, "sent an error instead of intensities"),
            ({"zone": "FR", "forecast": {}}, "values in an unknown format"),
            ({"zone": "FR", "forecast": []}, "no intensities"),
            ({"zone": "FR", "forecast": [{"datetime": "2026-11-21T08:00:00", "carbonIntensity": 1}]}, "invalid time"),
        ],
    )
    def test_lies(self, asker: Asker, body: Any, said: str) -> None:
        asker.answers(body)
        message = asker.refused(ElectricityMaps, "forecast", "FR", "tok")
        assert said in message
        assert "tok" not in message


def watttime(meta: dict[str, Any] | None = None, values: tuple[Any, ...] = (1000, 0, 500)) -> Callable[..., Reply]:
    told = {
        "region": "CAISO_NORTH",
        "signal_type": "co2_moer",
        "units": "lbs_co2_per_mwh",
        "data_point_period_seconds": 300,
        "generated_at": "2026-11-21T08:45:00+00:00",
        "model": {"date": "2023-03-01"},
        "warnings": [],
    }
    rows = [{"point_time": f"2026-11-21T08:{45 + 5 * i}:00+00:00", "value": v} for i, v in enumerate(values)]

    def answer(request: Request) -> Reply:
        if request.path == "/login":
            return Reply({"token": "b3arer"})
        return Reply({"data": rows, "meta": told | (meta or {})})

    return answer


class TestWattTime:
    def test_forecast(self, asker: Asker) -> None:
        asker.answers(watttime())
        series = asker(WattTime, "forecast", "CAISO_NORTH", "alice", "pw").series
        login, question = asker.grid.requests
        assert login.headers["authorization"] == "Basic YWxpY2U6cHc="
        assert question.headers["authorization"] == "Bearer b3arer"
        assert question.path == "/v3/forecast"
        assert question.query == {"region": "CAISO_NORTH", "signal_type": "co2_moer", "horizon_hours": "72"}
        assert series.values == pytest.approx((453.59237, 0.0, 226.796185))
        assert (series.signal, series.step) == ("marginal", timedelta(minutes=5))
        assert series.issued_at == datetime(2026, 11, 21, 8, 45, tzinfo=UTC)

    def test_what_was(self, asker: Asker) -> None:
        asker.answers(watttime())
        end = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
        series = asker(WattTime, "actual", "CAISO_NORTH", "alice", "pw", start=SLOT, end=end).series
        assert (series.kind, series.issued_at) == ("actual", None)
        assert asker.last.path == "/v3/historical"
        assert (asker.last.query["start"], asker.last.query["end"]) == ("2026-11-21T08:30:00Z", "2026-11-21T08:55:00Z")

    @pytest.mark.parametrize(
        ("meta", "said"),
        [
            ({"region": "PJM_DC"}, "answered for zone 'PJM_DC'"),
            ({"units": "kg"}, "units 'kg' instead of 'lbs_co2_per_mwh'"),
            ({"signal_type": "health_damage"}, "signal_type 'health_damage'"),
            ({"data_point_period_seconds": "300"}, "invalid data_point_period_seconds '300'"),
            ({"data_point_period_seconds": 0}, "invalid data_point_period_seconds 0"),
        ],
    )
    def test_lies(self, asker: Asker, meta: dict[str, Any], said: str) -> None:
        asker.answers(watttime(meta))
        assert said in asker.refused(WattTime, "forecast", "CAISO_NORTH", "alice", "pw")

    @pytest.mark.parametrize("body", [{}, {"token": None}, {"token": "a\nb"}, {"token": "é"}, []])
    def test_a_login_without_a_token(self, asker: Asker, body: Any) -> None:
        asker.answers(body)
        message = asker.refused(WattTime, "forecast", "CAISO_NORTH", "alice", "pw")
        assert "pw" not in message
        assert len(asker.grid.requests) == 1

    def test_a_wrong_password(self, asker: Asker) -> None:
        asker.answers(lambda request: Reply({}, 401))
        message = asker.refused(WattTime, "forecast", "CAISO_NORTH", "alice", "pw")
        assert message == "refused the credentials from TEST (HTTP 401)"


CHARTS_START = int(NOW.replace(minute=0, second=0, microsecond=0).timestamp())
CHARTS: dict[str, Any] = {
    "unix_seconds": [CHARTS_START + 900 * index for index in range(6)],
    "co2eq": [491.5, 497.4, 502.6, None, None, None],
    "co2eq_forecast": [None, None, 500.0, 505.0, None, 508.0],
    "deprecated": False,
}


class TestEnergyCharts:
    def test_forecast_and_actuals_stay_apart(self, asker: Asker) -> None:
        asker.answers(CHARTS)
        series = asker(EnergyCharts, "forecast", "DE").series
        assert asker.last.path == "/co2eq"
        assert asker.last.query == {
            "country": "de", "start": "2026-11-21T08:00Z", "end": "2026-11-24T08:00Z",
        }  # fmt: skip
        assert series.start == NOW.replace(minute=30, second=0, microsecond=0)
        assert series.values == (500.0, 505.0, None, 508.0)
        assert series.step == timedelta(minutes=15)
        series = asker(EnergyCharts, "actual", "DE", start=SLOT - HALF, end=NOW).series
        assert series.values == (491.5, 497.4, 502.6)

    @pytest.mark.parametrize(
        ("zone", "country"), [("DK-DK1", "DK"), ("SE3", "SE"), ("NO_2", "NO"), ("it-no", "IT"), ("DE_LU", "DE")]
    )
    def test_a_country_stands_for_its_bidding_zones(self, asker: Asker, zone: str, country: str) -> None:
        asker.answers(CHARTS)
        assert EnergyCharts.serves(zone)
        answer = asker(EnergyCharts, "forecast", zone)
        assert asker.last.query["country"] == country.lower()
        assert answer.notes == (f"Energy-Charts has whole countries only: {country} stands for {zone}",)
        assert answer.series.estimated_by == ()
        actual = asker(EnergyCharts, "actual", zone, start=SLOT - HALF, end=NOW).series
        assert set(actual.estimated_by) == {f"mean of {country}"}
        assert asker(EnergyCharts, "forecast", country).notes == ()

    @pytest.mark.parametrize("zone", ["FR-COR", "DK-BHM", "ES-IB-MA", "SE5", "US-CAL-CISO", "GB-13"])
    def test_islands_and_other_zones_are_not_those_of_the_country(self, zone: str) -> None:
        assert not EnergyCharts.serves(zone)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (CHARTS | {"co2eq_forecast": [1.0]}, "unknown form"),
            (CHARTS | {"co2eq_forecast": [None] * 6}, "no intensities"),
            ({"unix_seconds": [], "co2eq": [], "co2eq_forecast": []}, "no intensities"),
            ({"detail": "not found"}, "unknown form"),
            (CHARTS | {"unix_seconds": ["a"] * 6}, "invalid time"),
        ],
    )
    def test_lies(self, asker: Asker, body: Any, said: str) -> None:
        asker.answers(body)
        assert said in asker.refused(EnergyCharts, "forecast", "DE")


class TestEco2mix:
    def as_rows(self, values: list[Any]) -> list[dict[str, Any]]:
        return [
            {"perimetre": "France", "date_heure": f"2026-11-21T0{i // 4}:{i % 4 * 15:02}:00+00:00", "taux_co2": value}
            for i, value in enumerate(values)
        ]

    def test_what_was(self, asker: Asker) -> None:
        start = datetime(2026, 11, 21, tzinfo=UTC)
        for body in (self.as_rows([18, None, 20, None, None]), {"results": self.as_rows([18, None, 20, None, None])}):
            asker.answers(body)
            answer = asker(RteEco2mix, "actual", "FR", start=start, end=NOW)
            assert (answer.series.values, answer.series.step) == ((18.0, 20.0), HALF)
            assert "no imports" in answer.notes[0]
        assert asker.last.path.endswith("/datasets/eco2mix-national-tr/exports/json")
        where = "date_heure >= date'2026-11-21T00:00:00Z' AND date_heure < date'2026-11-21T08:47:12Z'"
        assert asker.last.query["where"] == where

    def test_quarters(self, asker: Asker) -> None:
        asker.answers(self.as_rows([18, 19, 20, 21]))
        assert asker(RteEco2mix, "actual", "FR").series.step == timedelta(minutes=15)

    def test_refusals(self, asker: Asker) -> None:
        assert asker.refused(RteEco2mix, "forecast", "FR") == "offers no forecasts"
        asker.answers([{"perimetre": "Corse", "date_heure": "2026-11-21T00:00:00+00:00", "taux_co2": 1}])
        assert "answered for zone 'Corse'" in asker.refused(RteEco2mix, "actual", "FR")
        asker.answers(self.as_rows(["ND"]))
        assert "invalid intensity 'ND'" in asker.refused(RteEco2mix, "actual", "FR")
        asker.answers({"error_code": "ODSQLError"})
        assert "unknown form" in asker.refused(RteEco2mix, "actual", "FR")
