"""Each provider against a server that answers as its documentation says, and as it should not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_grid import Reply, Request, half_hours
from provider_asker import NOW, Asker

from hpcfrugal.carbon.providers.carbonintensity_gb import CarbonIntensityGB
from hpcfrugal.carbon.providers.energy_charts import EnergyCharts
from hpcfrugal.carbon.providers.rte_eco2mix import RteEco2mix
from hpcfrugal.carbon.providers.watttime import WattTime

pytestmark = pytest.mark.usefixtures("home")

HALF = timedelta(minutes=30)
SLOT = NOW.replace(minute=30, second=0, microsecond=0)


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
    def test_wrong_answers_are_refused(self, asker: Asker, body: Any, said: str) -> None:
        asker.answers(body)
        assert said in asker.refused(CarbonIntensityGB, "forecast", "GB")

    def test_zones(self) -> None:
        for zone in ("GB", "gb", "GB-1", "GB-17", "GB-SW1A", "GB-M1"):
            assert CarbonIntensityGB.serves(zone), zone
        for zone in ("FR", "GB-0", "GB-18", "GB-NIR", "GB-SW1A1AA", "GB-../x", "GBR"):
            assert not CarbonIntensityGB.serves(zone), zone


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

    def test_actual_values(self, asker: Asker) -> None:
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
    def test_wrong_answers_are_refused(self, asker: Asker, meta: dict[str, Any], said: str) -> None:
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
    def test_wrong_answers_are_refused(self, asker: Asker, body: Any, said: str) -> None:
        asker.answers(body)
        assert said in asker.refused(EnergyCharts, "forecast", "DE")


class TestEco2mix:
    def as_rows(self, values: list[Any]) -> list[dict[str, Any]]:
        return [
            {"perimetre": "France", "date_heure": f"2026-11-21T0{i // 4}:{i % 4 * 15:02}:00+00:00", "taux_co2": value}
            for i, value in enumerate(values)
        ]

    def test_actual_values(self, asker: Asker) -> None:
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
