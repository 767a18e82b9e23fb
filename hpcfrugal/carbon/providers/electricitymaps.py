"""Electricity Maps, API v4: intensities of most of the world's grid zones, with an account.

Routes and parameters after the API's documentation (<https://docs.electricitymaps.com>) and answers quoted by public
clients of v4. The token goes into the header ``auth-token``. ``/carbon-intensity/forecast``: ``{"zone", "forecast":
[{"carbonIntensity", "datetime"}], "updatedAt", "temporalGranularity"}``, 24 h from the running hour on unless
``horizonHours`` is 6, 48 or 72, which depends on the account's plan; the free tier has none. ``latest``: one ``{"zone",
"carbonIntensity", "datetime", "emissionFactorType", "isEstimated", "estimationMethod"}``; ``history`` (the last 24 h,
also on free accounts): ``{"zone", "history": [...]}`` of these; ``past-range?start&end``: ``{"zone", "data": [...]}``
for at most 10 days. The parameters ``emissionFactorType``, ``temporalGranularity`` and ``disableEstimations`` are
settings. For an unknown zone the server would use the caller's location; that is switched off, and the zone in the
answer is compared. Not confirmed: that every plan's forecast has ``updatedAt`` (without it, the time of the request is
used), which status the server sends for a horizon beyond the plan, and how long a range of 5 or 15 minutes may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider, ProviderSettings
from hpcfrugal.carbon.readings import Point, as_object, as_rows, check_zone, parse_time, points_of
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.core.errors import ForecastError, SourceError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import SecretSpec
from hpcfrugal.core.section import optional
from hpcfrugal.core.text import plain
from hpcfrugal.core.time import iso, whole_hour
from hpcfrugal.settings.values import TrueOrFalse, one_of

_STEPS = {
    "hourly": timedelta(hours=1),
    "15_minutes": timedelta(minutes=15),
    "5_minutes": timedelta(minutes=5),
}
_NOT_IN_THE_PLAN = (400, 401, 402, 403, 404, 422)


class ElectricityMapsSettings(ProviderSettings):
    """``[forecasts.NAME]`` of kind ``electricitymaps``: parameters of its API, by the same names."""

    what = "a provider of kind electricitymaps"

    horizon_hours: int = optional(one_of(Literal[6, 24, 48, 72]), default=72)
    """How far ahead; where the account's plan has less, the server's usual 24 h are used."""
    emission_factor_type: str = optional(one_of(Literal["lifecycle", "direct"]), default="lifecycle")
    temporal_granularity: str = optional(one_of(Literal["hourly", "15_minutes", "5_minutes"]), default="hourly")
    disable_estimations: bool = optional(TrueOrFalse, default=False)
    """Only measured values; the others are gaps."""


class ElectricityMaps(Provider):
    """Values per hour, or finer."""

    kind = "electricitymaps"
    about = "Electricity Maps (no forecast in the free tier)"
    zones = "most of the world: DE, SE-SE3, US-CAL-CISO"
    url = "https://api.electricitymaps.com/v4"
    settings_model = ElectricityMapsSettings
    settings: ElectricityMapsSettings
    secret = SecretSpec((("ELECTRICITYMAPS_TOKEN", "ELECTRICITY_MAPS_API_KEY"),), "API token")
    span = timedelta(days=10)
    settles = timedelta(days=7)

    @staticmethod
    def serves(zone: str) -> bool:
        """Zones that begin with a country's code, as all of theirs do."""
        country = zone.partition("-")[0]
        return len(country) == 2 and country.isascii() and country.isalpha()

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """As far ahead as the settings and the account's plan allow."""
        horizon_h = self.settings.horizon_hours
        try:
            return self._ask(request, client, "forecast", "forecast", horizonHours=str(horizon_h))
        except SourceError as error:
            if error.status not in _NOT_IN_THE_PLAN:
                raise
        try:
            answer = self._ask(request, client, "forecast", "forecast")
        except SourceError as error:
            if error.status in (401, 403):
                raise ForecastError(f"{error.message}; the free tier has no forecast", hint=error.hint) from error
            raise
        note = f"the account has no forecast of {horizon_h} h; the usual one is used"
        return replace(answer, notes=(*answer.notes, note))

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The running hour from ``latest``, the last day from ``history``, what is older from ``past-range``."""
        if request.start >= whole_hour(request.now) and self.settings.temporal_granularity == "hourly":
            return self._ask(request, client, "latest", None)
        # The first of the 24 hours is a part of one, so only what begins after it is surely there.
        if request.start > request.now - timedelta(hours=23):
            return self._ask(request, client, "history", "history")
        return self._ask(request, client, "past-range", "data", start=iso(request.start), end=iso(request.end))

    @property
    def direct(self) -> bool:
        """See ``Provider``."""
        return self.settings.emission_factor_type == "direct"

    def _ask(
        self, request: IntensityRequest, client: Client, what: str, key: str | None, **more: str
    ) -> IntensityAnswer:
        """The values under ``key`` of the answer; None: the answer is itself the only value."""
        assert self.credentials is not None
        parameters = {
            "zone": request.zone,
            "disableCallerLookup": "true",
            "emissionFactorType": self.settings.emission_factor_type,
            "temporalGranularity": self.settings.temporal_granularity,
        }
        kind: SeriesKind = "forecast" if what == "forecast" else "actual"
        if kind == "actual":
            parameters["disableEstimations"] = "true" if self.settings.disable_estimations else "false"
        reply = client.get(
            f"{self.base_url}/carbon-intensity/{what}",
            params={**parameters, **more},
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
        self._check_factors([body, *rows])
        points = points_of(rows, "datetime", "carbonIntensity")
        # A forecast has no measured values that its own could be told from.
        methods = dict(_methods(points, rows)) if kind == "actual" else {}
        notes = (f"{len(methods)} of {len(points)} values are the provider's estimates",) if methods else ()
        issued_at = parse_time(body["updatedAt"]) if kind == "forecast" and body.get("updatedAt") else None
        return self.answer(
            request, points, kind, step=_STEPS[granularity], estimated_by=methods, issued_at=issued_at, notes=notes,
            ttl_s=reply.ttl_s,
        )  # fmt: skip

    def _check_factors(self, parts: Iterable[Mapping[str, Any]]) -> None:
        """Raises ForecastError if values are of other emission factors than those requested."""
        wanted = self.settings.emission_factor_type
        for part in parts:
            if part.get("emissionFactorType", wanted) != wanted:
                raise ForecastError(
                    f"sent values of {part['emissionFactorType']!r} emission factors, not of {wanted!r}"
                )


def _methods(points: Sequence[Point], rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[datetime, str]]:
    """The method of each value that was estimated, by its time."""
    for (at, value), row in zip(points, rows, strict=True):
        if row.get("isEstimated") and value is not None:
            yield at, plain(str(row.get("estimationMethod") or "an unknown method"))
