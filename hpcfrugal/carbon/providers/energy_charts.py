"""Energy-Charts of Fraunhofer ISE: European countries, every 15 minutes, without an account.

``GET /co2eq?country=de&start=...&end=...`` (<https://api.energy-charts.info>) gives ``{"unix_seconds": [...],
"co2eq": [...], "co2eq_forecast": [...], "deprecated"}`` in g CO2e/kWh; each list has nulls where the other has
values, with a little overlap. Shape after answers quoted by public clients and their tests. ``start`` and ``end``
take ISO 8601 with a zone or unix seconds. Not confirmed: how far ahead the forecast reaches (to the end of the next
day in the answers seen), and which countries have one. The answer does not name its country, so a wrong one cannot be
detected. It has no time of issue; the time of the request is used. Bidding zones within a country (``DK-DK1``, ``SE3``,
``IT-NO``) are no countries of the service: for them the values of the whole country are given, with a note.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.readings import as_object, ordered, parse_intensity, parse_time, row_step
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.grid_zone import bidding_zone
from hpcfrugal.core.http import Client
from hpcfrugal.core.time import iso_minute, whole_hour

_COUNTRIES = (
    "AL AT BA BE BG CH CY CZ DE DK EE ES FI FR GE GR HR HU IE IT LT LU LV MD ME MK MT NL NO PL PT RO RS SE SI SK UA XK"
)
COUNTRIES = frozenset(_COUNTRIES.split())
"""European countries by ISO 3166-1 alpha-2, and XK; the service rejects those that it does not cover."""

_AHEAD = timedelta(days=3)


class EnergyCharts(Provider):
    """Quarter-hourly values."""

    kind = "energy-charts"
    about = "Energy-Charts (Fraunhofer ISE), Europe"
    zones = "European countries such as DE; for bidding zones such as SE3 the values of the country"
    url = "https://api.energy-charts.info"
    span = timedelta(days=31)
    settles = timedelta(days=7)

    @staticmethod
    def serves(zone: str) -> bool:
        """Two-letter codes of European countries, and their bidding zones."""
        return zone.upper() in COUNTRIES or bidding_zone(zone) is not None

    @staticmethod
    def larger_area(zone: str) -> str | None:
        """The country of a bidding zone."""
        found = bidding_zone(zone)
        return found.country if found else None

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """From now on."""
        # From the full hour on, so that the current slot is included.
        start = whole_hour(request.now)
        return self._ask(request, client, start, start + _AHEAD, "co2eq_forecast")

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """With a lag of an hour or more."""
        return self._ask(request, client, request.start, request.end, "co2eq")

    def _ask(
        self, request: IntensityRequest, client: Client, start: datetime, end: datetime, name: str
    ) -> IntensityAnswer:
        country = self.larger_area(request.zone) or request.zone
        reply = client.get(
            f"{self.base_url}/co2eq",
            params={"country": country.lower(), "start": iso_minute(start), "end": iso_minute(end)},
        )
        body = as_object(reply.data, "answer")
        times, values = body.get("unix_seconds"), body.get(name)
        if not isinstance(times, list) or not isinstance(values, list) or len(times) != len(values):
            raise ForecastError("values in an unknown format")
        points = ordered(
            (at := parse_time(time), parse_intensity(value, at)) for time, value in zip(times, values, strict=True)
        )
        kind: SeriesKind = "forecast" if name == "co2eq_forecast" else "actual"
        if country == request.zone:
            return self.answer(request, points, kind, step=row_step(points), ttl_s=reply.ttl_s)
        note = f"Energy-Charts has whole countries only: {country} stands for {request.zone}"
        methods = {at: f"mean of {country}" for at, _ in points} if kind == "actual" else None
        return self.answer(
            request, points, kind, step=row_step(points), estimated_by=methods, notes=(note,), ttl_s=reply.ttl_s
        )
