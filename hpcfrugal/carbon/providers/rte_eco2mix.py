"""France: RTE's éCO2mix by way of ODRÉ, without an account. Actuals only.

``GET /api/explore/v2.1/catalog/datasets/eco2mix-national-tr/exports/json`` of <https://odre.opendatasoft.com> gives a
list of ``{"perimetre", "date_heure", "taux_co2"}``; ``.../records`` gives the same as ``{"total_count", "results":
[...]}`` but a hundred rows at most, so the export is used. Parameters after Opendatasoft's Explore API 2.1
(``select``, ``where``, ``order_by``, ``limit``), fields after public clients of the data set. ``taux_co2`` is g CO2
per kWh of the plants' combustion: no life cycle, no imports. Rows come every 15 minutes; if only every other row has
a value, it stands for the half hour. After weeks the real-time values are replaced by consolidated ones, in another
data set that is not used.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.readings import as_rows, check_zone, figure_step, ordered, points_of
from hpcfrugal.core.http import Client
from hpcfrugal.core.time import iso

_PATH = "/api/explore/v2.1/catalog/datasets/eco2mix-national-tr/exports/json"
_NOTE = "taux_co2 covers combustion in French plants only: no life cycle, no imports"


class RteEco2mix(Provider):
    """Quarter-hourly or half-hourly values."""

    kind = "rte-eco2mix"
    about = "RTE éCO2mix (ODRÉ), France"
    zones = "FR"
    url = "https://odre.opendatasoft.com"
    forecasts = False
    span = timedelta(days=31)
    settles = timedelta(days=30)

    @staticmethod
    def serves(zone: str) -> bool:
        """``FR``."""
        return zone.upper() == "FR"

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """With a lag of an hour or two."""
        reply = client.get(
            self.base_url + _PATH,
            params={
                "select": "perimetre,date_heure,taux_co2",
                "where": f"date_heure >= date'{_whole(request.start)}' AND date_heure < date'{_whole(request.end)}'",
                "order_by": "date_heure",
                "limit": -1,
                "timezone": "UTC",
            },
        )
        records = reply.data.get("results") if isinstance(reply.data, dict) else reply.data
        for row in as_rows(records, "values"):
            if row.get("perimetre") is not None:
                check_zone(row["perimetre"], "France")
        # A value each half hour, and rows for the quarters between.
        points = ordered(points_of(records, "date_heure", "taux_co2"))
        return self.answer(request, points, "actual", step=figure_step(points), notes=(_NOTE,), ttl_s=reply.ttl_s)


def _whole(at: datetime) -> str:
    return iso(at.replace(microsecond=0))
