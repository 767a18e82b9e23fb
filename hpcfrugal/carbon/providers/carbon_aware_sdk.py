"""The web API of the Green Software Foundation's Carbon Aware SDK, which a site runs in front of a source of its own.

``GET /emissions/forecasts/current?location=...`` gives a list of one ``{"generatedAt", "location", "forecastData":
[{"timestamp", "duration", "value"}]}`` with ``duration`` in minutes; ``/emissions/bylocation?location&time&toTime``
gives a list of ``{"location", "time", "rating", "duration"}`` with ``duration`` as ``hh:mm:ss``, or status 204 if there
is nothing. All values are in g/kWh. Shapes after the project's documentation and its classes
(<https://github.com/Green-Software-Foundation/carbon-aware-sdk>). ``windowSize`` is not sent: the server would give the
means over such windows. A source without forecasts is status 501. Nothing in the answers says whether the values are
average ones (Electricity Maps) or marginal ones (WattTime), so that is a setting. ``location`` of a value is the name
of the source behind, so only that of the forecast is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from hpcfrugal.carbon.providers.base import IntensityAnswer, IntensityRequest, Provider, ProviderSettings
from hpcfrugal.carbon.readings import Point, as_rows, check_zone, parse_intensity, parse_time
from hpcfrugal.core.carbon_signal import SIGNALS, Signal
from hpcfrugal.core.errors import ForecastError, SourceError
from hpcfrugal.core.http import Client, Reply
from hpcfrugal.core.section import required
from hpcfrugal.core.text import quoted_value
from hpcfrugal.core.time import iso
from hpcfrugal.settings.values import Url, one_of

_NO_CONTENT, _NOT_IMPLEMENTED = 204, 501


class CarbonAwareSdkSettings(ProviderSettings):
    """``[forecasts.NAME]`` of kind ``carbon-aware-sdk``."""

    what = "a provider of kind carbon-aware-sdk"

    url: str = required(Url, "", "https://carbon.example.org")
    """Where it runs."""
    signal: Signal = required(one_of(Signal), "", "average")
    """What the source behind it gives: Electricity Maps average values, WattTime marginal ones."""


class CarbonAwareSdk(Provider):
    """Values at the resolution of the source behind it."""

    kind = "carbon-aware-sdk"
    about = "Carbon Aware SDK (Green Software Foundation), run by a site"
    zones = "as the site has set it up"
    signals = SIGNALS
    settings_model = CarbonAwareSdkSettings
    settings: CarbonAwareSdkSettings
    refresh = timedelta(minutes=15)
    settles = timedelta(days=7)

    @staticmethod
    def serves(zone: str) -> bool:
        """Any: whoever set it up chose the zone."""
        return True

    @classmethod
    def signals_with(cls, settings: ProviderSettings) -> tuple[Signal, ...]:
        """The one of the settings, if any."""
        signal: Signal | None = getattr(settings, "signal", None)
        return cls.signals if signal is None else (signal,)

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The newest forecast of the source behind it."""
        reply = self._get(client, "/emissions/forecasts/current", {"location": request.zone})
        found = as_rows(reply.data, "answer")
        if len(found) != 1:
            raise ForecastError(f"sent {len(found)} forecasts instead of one")
        check_zone(found[0].get("location"), request.zone)
        rows = as_rows(found[0].get("forecastData"), "values")
        points = list(_points(rows, "timestamp", "value"))
        issued_at = parse_time(found[0]["generatedAt"]) if found[0].get("generatedAt") else None
        return self.answer(request, points, "forecast", step=_step(rows), issued_at=issued_at, ttl_s=reply.ttl_s)

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """What was measured, as the source behind it has it."""
        span = {"location": request.zone, "time": iso(request.start), "toTime": iso(request.end)}
        reply = self._get(client, "/emissions/bylocation", span)
        rows = as_rows(reply.data, "values")
        # Sources behind it have their values in different orders.
        points = sorted(_points(rows, "time", "rating"), key=lambda point: point[0])
        return self.answer(request, points, "actual", step=_step(rows), ttl_s=reply.ttl_s)

    def _get(self, client: Client, path: str, params: Mapping[str, str]) -> Reply:
        try:
            return client.get(self.base_url + path, params=params, error_key="detail")
        except SourceError as error:
            if error.status == _NO_CONTENT:
                raise ForecastError("no intensities") from error
            if error.status == _NOT_IMPLEMENTED:
                raise ForecastError(f"the source behind it does not offer this (HTTP {_NOT_IMPLEMENTED})") from error
            raise


def _points(rows: Sequence[Mapping[str, Any]], time_key: str, value_key: str) -> Iterator[Point]:
    for row in rows:
        at = parse_time(row.get(time_key))
        yield at, parse_intensity(row.get(value_key), at)


def _step(rows: Sequence[Mapping[str, Any]]) -> timedelta | None:
    """The duration of all values; None if they have none. Raises ForecastError."""
    steps = {_duration(row.get("duration")) for row in rows}
    if len(steps) > 1:
        raise ForecastError("values of several durations")
    return steps.pop() if steps else None


def _duration(value: object) -> timedelta | None:
    """Minutes, or ``hh:mm:ss``; 0 is unknown. Raises ForecastError."""
    try:
        if isinstance(value, str):
            hours, minutes, seconds = (float(part) for part in value.split(":"))
            step = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            step = timedelta(minutes=value)
        elif value is None:
            return None
        else:
            raise ValueError
        if step < timedelta():
            raise ValueError
    except (ValueError, OverflowError):
        raise ForecastError(f"invalid duration {quoted_value(value, 40)}") from None
    return step or None
