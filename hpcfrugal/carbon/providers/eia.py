"""United States: hourly generation by fuel (form EIA-930), from which the intensity is calculated. Actuals only.

``GET /v2/electricity/rto/fuel-type-data/data/`` of <https://api.eia.gov> with ``frequency=hourly``, ``data[0]=value``,
``facets[respondent][]=CISO``, ``start`` and ``end`` (both inclusive, ``YYYY-MM-DDTHH`` in UTC), ``sort``, ``length``
(5000 at most) and ``api_key`` gives ``{"response": {"data": [{"period", "respondent", "fueltype", "value"}]}}``. Shape
after EIA's documentation and the parser of Electricity Maps; the key is read from the URL only. ``period`` is the end
of the hour. ``value`` is MWh, as a text or a number, null if unknown.

The respondent is the balancing authority: the last part of a zone's name (``US-CAL-CISO``), else ``region`` in the
settings. Intensities are the mean of the life-cycle factors of ``hpcfrugal.accounting.tables`` (IPCC), weighted by the
generation of each fuel, without imports; ``hpcfrugal.carbon.generation_mix`` says what is left out. All coal counts as
hard coal, and all hydropower as that of reservoirs; other fuels and storage have no factor. Values follow after an hour
or more; not confirmed: how long they are revised.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from hpcfrugal.carbon.generation_mix import BASELINE, GenerationMix, mix_intensities
from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider
from hpcfrugal.carbon.readings import as_object, as_rows, check_zone, parse_time
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import SecretSpec
from hpcfrugal.core.text import quoted_value

_HOUR = timedelta(hours=1)
_MOST_ROWS = 5000
_ZONE = re.compile(r"US-[A-Z]+-[A-Z0-9]+")

_TYPES = {
    "COL": "Fossil Hard coal",
    "GEO": "Geothermal",
    "NG": "Fossil Gas",
    "NUC": "Nuclear",
    "OIL": "Fossil Oil",
    "SUN": "Solar",
    "WAT": "Hydro Water Reservoir",
    "WND": "Wind Onshore",
}
"""EIA's codes of fuels, and the types of ``generation_factors`` that they are counted as."""


class Eia(Provider):
    """Hourly values."""

    kind = "eia"
    about = "EIA-930, calculated from the generation mix, United States"
    zones = "balancing authorities such as US-CAL-CISO"
    url = "https://api.eia.gov"
    forecasts = False
    secret = SecretSpec((("EIA_API_KEY",),), "API key")
    refresh = timedelta(hours=1)
    span = timedelta(days=10)
    settles = timedelta(days=7)

    @staticmethod
    def serves(zone: str) -> bool:
        """Zones that are named as Electricity Maps names those of balancing authorities."""
        return _ZONE.fullmatch(zone.upper()) is not None

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """With a lag of some hours."""
        respondent = request.zone.upper().rpartition("-")[2]
        reply = client.get(
            f"{self.base_url}/v2/electricity/rto/fuel-type-data/data/",
            params={
                "frequency": "hourly",
                "data[0]": "value",
                "facets[respondent][]": respondent,
                "start": f"{request.start - BASELINE + _HOUR:%Y-%m-%dT%H}",
                "end": f"{request.end:%Y-%m-%dT%H}",
                "sort[0][column]": "period",
                "sort[0][direction]": "asc",
                "length": _MOST_ROWS,
            },
            secret=self.credentials,
            secret_param="api_key",
        )
        body = as_object(as_object(reply.data, "answer").get("response"), "answer")
        by_hour: dict[datetime, GenerationMix] = {}
        rows = as_rows(body.get("data"), "values")
        if len(rows) >= _MOST_ROWS:
            raise ForecastError(f"sent its limit of {_MOST_ROWS} rows, which may not be all")
        for row in rows:
            check_zone(row.get("respondent"), respondent)
            mix = by_hour.setdefault(parse_time(f"{row.get('period')}:00Z") - _HOUR, {})
            if row.get("value") is not None:
                fuel = str(row.get("fueltype"))
                mix[_TYPES.get(fuel, fuel)] = _energy(row["value"])
        if not by_hour:
            raise ForecastError("no intensities")
        points, notes = mix_intensities(sorted(by_hour.items()), request.start, request.end)
        return self.answer(request, points, "actual", step=_HOUR, notes=notes, ttl_s=reply.ttl_s)


def _energy(value: Any) -> float:
    """MWh. Raises ForecastError."""
    try:
        mwh = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        mwh = None
    if mwh is None or not abs(mwh) < 1e6:
        raise ForecastError(f"invalid generation {quoted_value(value, 40)}")
    return mwh
