"""Denmark: Energinet's Energi Data Service, by price area, every 5 minutes, without an account.

``GET /dataset/CO2EmisProg`` (the forecast) and ``/dataset/CO2Emis`` (what was) of <https://api.energidataservice.dk>
with ``start``, ``end`` (exclusive), ``filter={"PriceArea": ["DK1"]}``, ``columns``, ``sort``, ``limit=0`` (all rows)
and ``timezone=utc`` (of start and end) give ``{"total", "limit", "dataset", "records": [{"Minutes5UTC", "PriceArea",
"CO2Emission"}]}``. Shape after the service's documentation and answers quoted by public clients. ``Minutes5UTC`` is the
start of the five minutes and has no offset. ``CO2Emission`` is grams of CO2 per kWh of the electricity that is used in
the area. The forecast ends with a Danish day. Not confirmed: whether the supply of fuels is counted, and how long
values are revised. The answer has no time of issue; the time of the request is used.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.readings import as_object, as_rows, check_zone, parse_intensity, parse_time
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.core.grid_zone import bidding_zone
from hpcfrugal.core.http import Client

_SLOT = timedelta(minutes=5)
_AHEAD = timedelta(days=3)


class Energinet(Provider):
    """Five-minute values."""

    kind = "energinet"
    about = "Energinet, Denmark"
    zones = "DK1 and DK2, also spelt DK-DK1 or DK_1"
    url = "https://api.energidataservice.dk"
    refresh = timedelta(minutes=15)
    span = timedelta(days=31)
    settles = timedelta(days=7)

    @staticmethod
    def serves(zone: str) -> bool:
        """``DK1``, ``DK2``, and their other spellings."""
        found = bidding_zone(zone)
        return found is not None and found.country == "DK"

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """To the end of the last Danish day that is forecast."""
        return self._ask(request, client, "CO2EmisProg", request.now - _SLOT, request.now + _AHEAD)

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """With a lag of some minutes."""
        return self._ask(request, client, "CO2Emis", request.start, request.end)

    def _ask(
        self, request: IntensityRequest, client: Client, dataset: str, start: datetime, end: datetime
    ) -> IntensityAnswer:
        found = bidding_zone(request.zone)
        area = f"DK{found.part}" if found and self.serves(request.zone) else request.zone
        reply = client.get(
            f"{self.base_url}/dataset/{dataset}",
            params={
                "start": _minute(start),
                "end": _minute(end),
                "timezone": "utc",
                "filter": json.dumps({"PriceArea": [area]}),
                "columns": "Minutes5UTC,PriceArea,CO2Emission",
                "sort": "Minutes5UTC asc",
                "limit": 0,
            },
        )
        points = []
        for row in as_rows(as_object(reply.data, "answer").get("records"), "records"):
            check_zone(row.get("PriceArea"), area)
            at = _utc(row.get("Minutes5UTC"))
            points.append((at, parse_intensity(row.get("CO2Emission"), at)))
        kind: SeriesKind = "forecast" if dataset == "CO2EmisProg" else "actual"
        return self.answer(request, points, kind, step=_SLOT, ttl_s=reply.ttl_s)


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M}"


def _utc(value: object) -> datetime:
    """A time of the service, which has no offset. Raises ForecastError."""
    return parse_time(f"{value}Z" if isinstance(value, str) and not value.endswith("Z") else value)
