"""Electricity Maps, API v3: life-cycle intensities of most of the world's grid zones, with an account.

Shapes after the API's documentation (<https://docs.electricitymaps.com>) and answers quoted by public clients. The
token goes into the header ``auth-token``. ``/v3/carbon-intensity/forecast``: ``{"zone", "forecast":
[{"carbonIntensity", "datetime"}], "updatedAt"}``; ``latest``: one ``{"zone", "carbonIntensity", "datetime",
"updatedAt", "isEstimated"}``; ``history`` (the last 24 h, also on free accounts): ``{"zone", "history": [...]}``;
``past-range?start&end``: ``{"zone", "data": [...]}``, hourly for at most 10 days. Slots are hourly unless
``temporalGranularity`` says 5 or 15 minutes. For an unknown zone the server would fall back to the caller's
location; that is switched off, and the zone in the answer is compared. Not confirmed: that every plan's forecast
has ``updatedAt``; without it, the time of the request is used. The parameter
``horizonHours`` is not sent, so the length is the plan's default.
"""

from __future__ import annotations

from datetime import timedelta

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.readings import as_object, as_rows, check_zone, parse_time, points_of
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import SecretSpec
from hpcfrugal.core.time import iso, whole_hour

_STEPS = {
    "hourly": timedelta(hours=1),
    "15_minutes": timedelta(minutes=15),
    "5_minutes": timedelta(minutes=5),
}


class ElectricityMaps(Provider):
    """Hourly values."""

    kind = "electricitymaps"
    about = "Electricity Maps, most of the world"
    url = "https://api.electricitymaps.com"
    secret = SecretSpec((("ELECTRICITYMAPS_TOKEN", "ELECTRICITY_MAPS_API_KEY"),), "API token")
    span = timedelta(days=10)
    settles = timedelta(days=7)

    @staticmethod
    def serves(zone: str) -> bool:
        """Zones that begin with a country's code, as all of theirs do."""
        country = zone.partition("-")[0]
        return len(country) == 2 and country.isascii() and country.isalpha()

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """As long as the account's plan allows."""
        return self._ask(request, client, "forecast", "forecast")

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The running hour from ``latest``, the last day from ``history``, what is older from ``past-range``."""
        if request.start >= whole_hour(request.now):
            return self._ask(request, client, "latest", None)
        # The first of the 24 hours is a part of one, so only what begins after it is surely there.
        if request.start > request.now - timedelta(hours=23):
            return self._ask(request, client, "history", "history")
        return self._ask(request, client, "past-range", "data", start=iso(request.start), end=iso(request.end))

    def _ask(
        self, request: IntensityRequest, client: Client, what: str, key: str | None, **more: str
    ) -> IntensityAnswer:
        """The values under ``key`` of the answer; None: the answer is itself the only value."""
        assert self.credentials is not None
        reply = client.get(
            f"{self.base_url}/v3/carbon-intensity/{what}",
            params={"zone": request.zone, "disableCallerLookup": "true", **more},
            headers={"auth-token": self.credentials.values[0]},
            secret=self.credentials,
        )
        body = as_object(reply.data, "answer")
        if body.get("status") == "error" or "error" in body:
            raise ForecastError("sent an error instead of intensities")
        check_zone(body.get("zone"), request.zone)
        granularity = body.get("temporalGranularity", "hourly")
        if granularity not in _STEPS:
            raise ForecastError(f"unknown granularity {granularity!r}")
        rows = as_rows([body] if key is None else body.get(key), "values")
        points = points_of(rows, "datetime", "carbonIntensity")
        estimated = sum(bool(row.get("isEstimated")) for row in rows)
        notes = (f"{estimated} of {len(points)} values are the provider's estimates",) if estimated else ()
        kind: SeriesKind = "forecast" if what == "forecast" else "actual"
        issued_at = parse_time(body["updatedAt"]) if kind == "forecast" and body.get("updatedAt") else None
        return self.answer(
            request, points, kind, step=_STEPS[granularity], issued_at=issued_at, notes=notes, ttl_s=reply.ttl_s
        )
