"""France: RTE's éCO2mix by way of ODRÉ, without an account. What was, no forecast.

``GET /api/explore/v2.1/catalog/datasets/eco2mix-national-tr/exports/json`` of <https://odre.opendatasoft.com> gives a
list of ``{"perimetre", "date_heure", "taux_co2"}``; ``.../records`` gives the same as ``{"total_count", "results":
[...]}`` but a hundred rows at most, so the export is asked. Parameters after Opendatasoft's Explore API 2.1
(``select``, ``where``, ``order_by``, ``limit``), fields after public clients of the data set. ``taux_co2`` is g CO2
per kWh of the plants' combustion: no life cycle, no imports. Rows come every 15 minutes; where only half of them hold
a figure it stands for the half hour. The real-time figures are replaced by consolidated ones after weeks, in another
data set that is not asked.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hpcfrugal.carbon.providers.base import Answer, Ask, Standard
from hpcfrugal.carbon.readings import figure_step, in_order, intensity, moment, rows, same_zone, series_of
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client
from hpcfrugal.core.time import iso

_PATH = "/api/explore/v2.1/catalog/datasets/eco2mix-national-tr/exports/json"
_NOTE = "taux_co2 counts the plants' combustion in France only: no life cycle, no imports"


class RteEco2mix(Standard):
    """Quarter-hourly or half-hourly figures."""

    kind = "rte-eco2mix"
    about = "RTE éCO2mix (ODRÉ), France, actuals only"
    url = "https://odre.opendatasoft.com"
    forecasts = False
    span = timedelta(days=31)
    settles = timedelta(days=30)

    @staticmethod
    def serves(zone: str) -> bool:
        """``FR``."""
        return zone.upper() == "FR"

    def forecast(self, ask: Ask, client: Client) -> Answer:
        """Raises ForecastError: there is none."""
        raise ForecastError("tells no forecast, only what was")

    def actuals(self, ask: Ask, client: Client) -> Answer:
        """What was, with a lag of an hour or two."""
        reply = client.get(
            self.base_url + _PATH,
            params={
                "select": "perimetre,date_heure,taux_co2",
                "where": f"date_heure >= date'{_whole(ask.start)}' AND date_heure < date'{_whole(ask.end)}'",
                "order_by": "date_heure",
                "limit": -1,
                "timezone": "UTC",
            },
        )
        told = reply.data.get("results") if isinstance(reply.data, dict) else reply.data
        told_points = []
        for row in rows(told, "records"):
            if row.get("perimetre") is not None:
                same_zone(row["perimetre"], "France")
            at = moment(row.get("date_heure"))
            told_points.append((at, intensity(row.get("taux_co2"), at)))
        # A figure each half hour, and rows for the quarters between.
        points = in_order(told_points)
        series = series_of(
            points, zone=ask.zone, signal="average", kind="actual", provider=self.kind, step=figure_step(points)
        )
        return Answer(series, (_NOTE,), reply.ttl_s)


def _whole(at: datetime) -> str:
    return iso(at.replace(microsecond=0))
