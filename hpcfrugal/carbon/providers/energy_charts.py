"""Energy-Charts of Fraunhofer ISE: European countries, every 15 minutes, without an account.

``GET /co2eq?country=de&start=...&end=...`` (<https://api.energy-charts.info>) gives ``{"unix_seconds": [...],
"co2eq": [...], "co2eq_forecast": [...], "deprecated"}`` in g CO2e/kWh; each list has nulls where the other has
figures, with a little overlap. Shape after answers quoted by public clients and their tests. ``start`` and ``end``
take ISO 8601 with a zone or unix seconds. Not confirmed: how far ahead the forecast reaches (to the end of the next
day in what was seen), and which countries have one. The answer does not name its country, so a wrong one can't be
noticed; it does not say when the forecast was issued either, and the time of the question is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hpcfrugal.carbon.providers.base import Answer, Ask, Standard
from hpcfrugal.carbon.readings import in_order, intensity, moment, row_step, series_of, table
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client

_COUNTRIES = (
    "AL AT BA BE BG CH CY CZ DE DK EE ES FI FR GE GR HR HU IE IT LT LU LV MD ME MK MT NL NO PL PT RO RS SE SI SK UA XK"
)
COUNTRIES = frozenset(_COUNTRIES.split())
"""European countries by ISO 3166-1 alpha-2, and XK; of one that the service doesn't have, it says so."""

_AHEAD = timedelta(days=3)


class EnergyCharts(Standard):
    """Quarter-hourly figures."""

    kind = "energy-charts"
    about = "Energy-Charts (Fraunhofer ISE), Europe"
    url = "https://api.energy-charts.info"
    span = timedelta(days=31)
    settles = timedelta(days=7)

    @staticmethod
    def serves(zone: str) -> bool:
        """Two-letter codes of European countries."""
        return zone.upper() in COUNTRIES

    def forecast(self, ask: Ask, client: Client) -> Answer:
        """From now on."""
        # From the hour's beginning, so that the slot which is running is in it.
        start = ask.now.replace(minute=0, second=0, microsecond=0)
        return self._ask(ask, client, start, start + _AHEAD, "co2eq_forecast")

    def actuals(self, ask: Ask, client: Client) -> Answer:
        """What was, with a lag of an hour or more."""
        return self._ask(ask, client, ask.start, ask.end, "co2eq")

    def _ask(self, ask: Ask, client: Client, start: datetime, end: datetime, name: str) -> Answer:
        reply = client.get(
            f"{self.base_url}/co2eq",
            params={"country": ask.zone.lower(), "start": _minute(start), "end": _minute(end)},
        )
        told = table(reply.data, "its answer")
        times, values = _columns(told, name)
        points = in_order((at := moment(time), intensity(value, at)) for time, value in zip(times, values, strict=True))
        forecast = name == "co2eq_forecast"
        series = series_of(
            points, step=row_step(points), zone=ask.zone, signal="average", kind="forecast" if forecast else "actual",
            provider=self.kind, issued_at=ask.now if forecast else None,
        )  # fmt: skip
        return Answer(series, ttl_s=reply.ttl_s)


def _minute(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _columns(told: Mapping[str, Any], name: str) -> tuple[list[Any], list[Any]]:
    times, values = told.get("unix_seconds"), told.get(name)
    if not isinstance(times, list) or not isinstance(values, list) or len(times) != len(values):
        raise ForecastError("gave figures in an unknown form")
    return times, values
