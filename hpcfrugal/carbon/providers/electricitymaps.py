"""Electricity Maps, API v3: life-cycle intensities of most of the world's grid zones, with an account.

Shapes after the API's documentation (<https://docs.electricitymaps.com>) and answers quoted by public clients. The
token goes into the header ``auth-token``. ``/v3/carbon-intensity/forecast``: ``{"zone", "forecast":
[{"carbonIntensity", "datetime"}], "updatedAt"}``; ``latest``: one ``{"zone", "carbonIntensity", "datetime",
"updatedAt", "isEstimated"}``; ``history`` (the last 24 h, also on free accounts): ``{"zone", "history": [...]}``;
``past-range?start&end``: ``{"zone", "data": [...]}``, hourly for at most 10 days. Slots are hourly unless
``temporalGranularity`` says 5 or 15 minutes. Without a zone of its own the server would fall back to where the caller
seems to be; that is switched off, and the zone in the answer is compared. Not confirmed: that every plan's forecast
carries ``updatedAt``; where it doesn't, the time of the question is taken as that of issue. The parameter
``horizonHours`` is not sent, so the length is the plan's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hpcfrugal.carbon.providers.base import Answer, Ask, Standard
from hpcfrugal.carbon.readings import intensity, moment, rows, same_zone, series_of, table
from hpcfrugal.carbon.series import Kind
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client, Reply
from hpcfrugal.core.secrets import SecretSpec
from hpcfrugal.core.time import iso

_STEPS = {
    "hourly": timedelta(hours=1),
    "15_minutes": timedelta(minutes=15),
    "5_minutes": timedelta(minutes=5),
}


class ElectricityMaps(Standard):
    """Hourly figures."""

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

    def forecast(self, ask: Ask, client: Client) -> Answer:
        """As far as the account's plan reaches."""
        reply, told = self._get(ask, client, "forecast")
        issued_at = moment(told["updatedAt"]) if told.get("updatedAt") else ask.now
        return self._answer(ask, reply, told, told.get("forecast"), "forecast", issued_at)

    def actuals(self, ask: Ask, client: Client) -> Answer:
        """The running hour from ``latest``, the last day from ``history``, what is older from ``past-range``."""
        if ask.start >= ask.now.replace(minute=0, second=0, microsecond=0):
            reply, told = self._get(ask, client, "latest")
            return self._answer(ask, reply, told, [told], "actual", None)
        # The first of the 24 hours is a part of one, so only what begins after it is surely there.
        if ask.start > ask.now - timedelta(hours=23):
            reply, told = self._get(ask, client, "history")
            return self._answer(ask, reply, told, told.get("history"), "actual", None)
        reply, told = self._get(ask, client, "past-range", start=iso(ask.start), end=iso(ask.end))
        return self._answer(ask, reply, told, told.get("data"), "actual", None)

    def _get(self, ask: Ask, client: Client, what: str, **more: str) -> tuple[Reply, Mapping[str, Any]]:
        assert self.credentials is not None
        reply = client.get(
            f"{self.base_url}/v3/carbon-intensity/{what}",
            params={"zone": ask.zone, "disableCallerLookup": "true", **more},
            headers={"auth-token": self.credentials.values[0]},
            secret=self.credentials,
        )
        told = table(reply.data, "its answer")
        if told.get("status") == "error" or "error" in told:
            raise ForecastError("answered with an error instead of figures")
        same_zone(told.get("zone"), ask.zone)
        return reply, told

    def _answer(
        self, ask: Ask, reply: Reply, told: Mapping[str, Any], entries: object, kind: Kind, issued_at: datetime | None
    ) -> Answer:
        points, estimated = [], 0
        for row in rows(entries, "figures"):
            at = moment(row.get("datetime"))
            points.append((at, intensity(row.get("carbonIntensity"), at)))
            estimated += bool(row.get("isEstimated"))
        granularity = told.get("temporalGranularity", "hourly")
        if granularity not in _STEPS:
            raise ForecastError(f"gave figures at a granularity of {granularity!r}")
        series = series_of(
            points, step=_STEPS[granularity], zone=ask.zone, signal="average", kind=kind, provider=self.kind,
            issued_at=issued_at,
        )  # fmt: skip
        notes = (f"{estimated} of {len(points)} figures are the provider's estimates",) if estimated else ()
        return Answer(series, notes, reply.ttl_s)
