"""Great Britain: the Carbon Intensity API of NESO, national or by region, without an account.

Zones: ``GB``, ``GB-13`` (region 1 to 17), ``GB-RG10`` (outward postcode). Shapes after the project's API definitions
(<https://carbon-intensity.github.io/api-definitions/>) and answers quoted by public clients: national answers are
``{"data": [{"from", "to", "intensity": {"forecast", "actual", "index"}}]}``; a region's are ``{"data": {"regionid",
"postcode", "data": [...]}}``, where ``data`` outside may be a list of one instead. A ``{}`` with HTTP 200 happens.
``actual`` is an estimate that is revised for about a day; regions have a forecast only, so nothing is told of a
region's past. A range may cover 14 days. The API does not say when a forecast was issued; the time of the question is
taken. That a postcode's answer repeats the postcode in upper case was not confirmed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hpcfrugal.carbon.providers.base import Answer, Ask, Standard
from hpcfrugal.carbon.readings import intensity, moment, rows, same_zone, series_of, table
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client, Reply

_SLOT = timedelta(minutes=30)
_POSTCODE = re.compile(r"[A-Z]{1,2}[0-9][A-Z0-9]?")
_REGIONS = range(1, 18)


class CarbonIntensityGB(Standard):
    """Half-hourly figures, forecast for 48 h."""

    kind = "carbonintensity-gb"
    about = "Carbon Intensity API (NESO), Great Britain"
    url = "https://api.carbonintensity.org.uk"
    span = timedelta(days=14)
    settles = timedelta(days=1)

    @staticmethod
    def serves(zone: str) -> bool:
        """``GB``, ``GB-1`` to ``GB-17``, or ``GB-`` and an outward postcode."""
        country, _, place = zone.upper().partition("-")
        return country == "GB" and (not place or _place(place) is not None)

    @staticmethod
    def tells_past(zone: str) -> bool:
        """Of the whole country only; regions have forecasts and no actual figures."""
        return "-" not in zone

    def forecast(self, ask: Ask, client: Client) -> Answer:
        """The next 48 h."""
        return self._ask(ask, client, "fw48h", "forecast", ask.now)

    def actuals(self, ask: Ask, client: Client) -> Answer:
        """Estimates of what was, national only. Raises ForecastError for a region."""
        if not self.tells_past(ask.zone):
            raise ForecastError(f"tells no actual intensity of a region ({ask.zone}), only of GB")
        return self._ask(ask, client, _minute(ask.end), "actual", ask.start)

    def _ask(self, ask: Ask, client: Client, until: str, field: str, start: datetime) -> Answer:
        # The API counts a slot by its end: asked from 12:00 it begins with the slot that ends then.
        first = _minute(start + timedelta(minutes=1) if field == "forecast" else start)
        place = ask.zone.upper().partition("-")[2]
        where = _place(place)
        path = f"/intensity/{first}/{until}" if not place else f"/regional/intensity/{first}/{until}/{where}"
        reply = client.get(self.base_url + path)
        points = []
        for row in rows(_slots(reply, place), "slots"):
            at, end = moment(row.get("from")), moment(row.get("to"))
            if end - at != _SLOT:
                raise ForecastError(f"gave a slot from {row.get('from')} to {row.get('to')}")
            points.append((at, intensity(table(row.get("intensity"), "an intensity").get(field), at)))
        forecast = field == "forecast"
        series = series_of(
            points, step=_SLOT, zone=ask.zone, signal="average", kind="forecast" if forecast else "actual",
            provider=self.kind, issued_at=ask.now if forecast else None,
        )  # fmt: skip
        return Answer(series, ttl_s=reply.ttl_s)


def _place(place: str) -> str | None:
    if place.isascii() and place.isdigit():
        return f"regionid/{int(place)}" if int(place) in _REGIONS else None
    return f"postcode/{place}" if _POSTCODE.fullmatch(place) else None


def _slots(reply: Reply, place: str) -> Any:
    outer = table(reply.data, "its answer").get("data")
    if not outer:
        raise ForecastError("gave no figures")
    if not place:
        return outer
    region = outer[0] if isinstance(outer, list) else outer
    told: Mapping[str, Any] = table(region, "a region")
    if place.isdigit():
        same_zone(told.get("regionid"), str(int(place)))
    elif told.get("postcode") is not None:
        same_zone(told["postcode"], place)
    return told.get("data")


def _minute(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
