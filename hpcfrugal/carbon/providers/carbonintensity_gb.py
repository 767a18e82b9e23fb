"""Great Britain: the Carbon Intensity API of NESO, national or by region, without an account.

Zones: ``GB``, ``GB-13`` (region 1 to 17), ``GB-RG10`` (outward postcode). Shapes after the project's API definitions
(<https://carbon-intensity.github.io/api-definitions/>) and answers quoted by public clients: national answers are
``{"data": [{"from", "to", "intensity": {"forecast", "actual", "index"}}]}``; a region's are ``{"data": {"regionid",
"postcode", "data": [...]}}``, where ``data`` outside may be a list of one instead. A ``{}`` with HTTP 200 happens.
``actual`` is an estimate that is revised for about a day; regions have a forecast only. A range may cover 14 days. The
API gives no time of issue; the time of the request is used. Not confirmed: that a postcode's answer repeats the
postcode in upper case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.readings import as_object, as_rows, check_zone, parse_intensity, parse_time
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client, Reply
from hpcfrugal.core.time import iso_minute

_SLOT = timedelta(minutes=30)
_POSTCODE = re.compile(r"[A-Z]{1,2}[0-9][A-Z0-9]?")
_REGIONS = range(1, 18)


class CarbonIntensityGB(Provider):
    """Half-hourly values, forecast for 48 h."""

    kind = "carbonintensity-gb"
    about = "Carbon Intensity API (NESO), Great Britain"
    zones = "GB, GB-1 to GB-17, GB- and an outward postcode"
    url = "https://api.carbonintensity.org.uk"
    span = timedelta(days=14)
    settles = timedelta(days=1)

    @staticmethod
    def serves(zone: str) -> bool:
        """``GB``, ``GB-1`` to ``GB-17``, or ``GB-`` and an outward postcode."""
        country, _, place = zone.upper().partition("-")
        return country == "GB" and (not place or _place(place) is not None)

    @staticmethod
    def has_actuals(zone: str) -> bool:
        """For the whole country only; regions have forecasts and no actuals."""
        return "-" not in zone

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The next 48 h."""
        return self._ask(request, client, "fw48h", "forecast", request.now)

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """Estimates, for the whole country only. Raises ForecastError for a region."""
        if not self.has_actuals(request.zone):
            raise ForecastError(f"offers actual intensities for GB only, not for a region ({request.zone})")
        return self._ask(request, client, iso_minute(request.end), "actual", request.start)

    def _ask(
        self, request: IntensityRequest, client: Client, until: str, field: SeriesKind, start: datetime
    ) -> IntensityAnswer:
        # The API selects slots by their end: from 12:00 on, it starts with the slot that ends then.
        first = iso_minute(start + timedelta(minutes=1) if field == "forecast" else start)
        place = request.zone.upper().partition("-")[2]
        where = _place(place)
        path = f"/intensity/{first}/{until}" if not place else f"/regional/intensity/{first}/{until}/{where}"
        reply = client.get(self.base_url + path)
        points = []
        for row in as_rows(_slots(reply, place), "slots"):
            at, end = parse_time(row.get("from")), parse_time(row.get("to"))
            if end - at != _SLOT:
                raise ForecastError(f"invalid slot from {row.get('from')} to {row.get('to')}")
            points.append((at, parse_intensity(as_object(row.get("intensity"), "intensity").get(field), at)))
        return self.answer(request, points, field, step=_SLOT, ttl_s=reply.ttl_s)


def _place(place: str) -> str | None:
    if place.isascii() and place.isdigit():
        return f"regionid/{int(place)}" if int(place) in _REGIONS else None
    return f"postcode/{place}" if _POSTCODE.fullmatch(place) else None


def _slots(reply: Reply, place: str) -> Any:
    outer = as_object(reply.data, "answer").get("data")
    if not outer:
        raise ForecastError("no intensities")
    if not place:
        return outer
    region = outer[0] if isinstance(outer, list) else outer
    body: Mapping[str, Any] = as_object(region, "region")
    if place.isdigit():
        check_zone(body.get("regionid"), str(int(place)))
    elif body.get("postcode") is not None:
        check_zone(body["postcode"], place)
    return body.get("data")
