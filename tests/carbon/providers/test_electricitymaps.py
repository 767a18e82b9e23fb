"""Electricity Maps against a server that answers as its documentation says, and as it should not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_grid import Reply
from provider_asker import NOW, Asker

from hpcfrugal.carbon.providers.electricitymaps import ElectricityMaps

pytestmark = pytest.mark.usefixtures("home")


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

    def test_actual_values(self, asker: Asker) -> None:
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
    def test_wrong_answers_are_refused(self, asker: Asker, body: Any, said: str) -> None:
        asker.answers(body)
        message = asker.refused(ElectricityMaps, "forecast", "FR", "tok")
        assert said in message
        assert "tok" not in message
