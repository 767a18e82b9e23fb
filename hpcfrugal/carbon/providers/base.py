"""The interface of a provider of carbon intensities.

A provider turns one :class:`IntensityRequest` (zone, from when to when) into a checked :class:`CarbonSeries`. Caching,
retries and the choice among providers are the same for all and are done in ``hpcfrugal.carbon``. Plugins register a
subclass in the entry-point group ``hpcfrugal.forecasts``, under the name of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from hpcfrugal.carbon.readings import Point, series_of
from hpcfrugal.carbon.series import CarbonSeries, SeriesKind
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import Secret, SecretSpec
from hpcfrugal.core.section import optional, required
from hpcfrugal.settings.section import NamedSection
from hpcfrugal.settings.values import AbsolutePath, Name, SingleLine, Url, time_span

DIRECT_EMISSIONS = " (direct emissions)"


class ProviderSettings(NamedSection):
    """``[forecasts.NAME]``. A kind that has keys of its own has a subclass with a field for each."""

    what = "this kind of provider"

    kind: str = required(SingleLine)
    zone: str | None = optional(Name)
    """Only for this zone; default: every zone that it serves."""
    region: str | None = optional(Name)
    """The provider's own name of that zone, if it differs."""
    url: str | None = optional(Url)
    """Another address than the usual one."""
    token_file: Path | None = optional(AbsolutePath)
    """Credentials, in a file of mode 0600."""
    refresh: timedelta | None = optional(time_span(1, 86_400))
    """How long an answer is cached; default: as the server specifies."""

    @property
    def own(self) -> dict[str, Any]:
        """The values of the keys that only this kind has."""
        return {key: getattr(self, key) for key in self.known_keys if key not in ProviderSettings.known_keys}


@dataclass(frozen=True, slots=True)
class IntensityRequest:
    """A request at ``now`` for intensities of ``zone`` in ``[start, end)``. All times are aware."""

    zone: str
    signal: Signal
    start: datetime
    end: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class IntensityAnswer:
    """``ttl_s``: how long the answer stays valid according to the server, None if unknown."""

    series: CarbonSeries
    notes: tuple[str, ...] = ()
    ttl_s: float | None = None


class Provider:
    """One source of intensities, made from its :class:`ProviderSettings` and, if ``secret`` is set, its credentials.

    ``about`` and ``zones`` describe it in a list. ``refresh`` is how often it has new values, ``span`` the longest
    range of actuals in one request, ``settles`` how long after the fact an actual may still be revised. With
    ``cached`` false it is read anew each time (a file is its own cache).
    """

    kind: ClassVar[str]
    about: ClassVar[str]
    zones: ClassVar[str] = "see its documentation"
    signals: ClassVar[tuple[Signal, ...]] = ("average",)
    forecasts: ClassVar[bool] = True
    settings_model: ClassVar[type[ProviderSettings]] = ProviderSettings
    secret: ClassVar[SecretSpec | None] = None
    refresh: ClassVar[timedelta] = timedelta(minutes=30)
    span: ClassVar[timedelta] = timedelta(days=10)
    settles: ClassVar[timedelta] = timedelta(days=2)
    cached: ClassVar[bool] = True
    url: ClassVar[str] = ""

    @staticmethod
    def serves(zone: str) -> bool:
        """Whether it probably has the zone, which only a request would show; False: only if the settings name it."""
        return False

    @classmethod
    def signals_with(cls, settings: ProviderSettings) -> tuple[Signal, ...]:
        """Those of ``signals`` that it has with these settings."""
        return cls.signals

    @staticmethod
    def has_actuals(zone: str) -> bool:
        """Whether it has actual intensities for a zone that it serves."""
        return True

    @staticmethod
    def larger_area(zone: str) -> str | None:
        """The area around the zone whose values it gives instead; None if it has the zone itself."""
        return None

    def __init__(self, settings: ProviderSettings, secret: Secret | None) -> None:
        self.settings = settings
        self.credentials = secret
        self.base_url = (settings.url or self.url).rstrip("/")

    @property
    def label(self) -> str:
        """How its figures are named: its name in the settings, and what sets them apart from its usual ones."""
        return self.settings.name + (DIRECT_EMISSIONS if self.direct else "")

    @property
    def direct(self) -> bool:
        """Whether its figures are direct emissions of power plants, not those of their life cycle."""
        return False

    def forecast(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The newest forecast, up to its end. Raises SourceError."""
        raise ForecastError("offers no forecasts")

    def actuals(self, request: IntensityRequest, client: Client) -> IntensityAnswer:
        """The actual intensities in the range. Raises SourceError."""
        raise ForecastError("offers no actual intensities")

    def answer(
        self,
        request: IntensityRequest,
        points: Iterable[Point],
        kind: SeriesKind,
        *,
        step: timedelta | None = None,
        estimated_by: Mapping[datetime, str] | None = None,
        issued_at: datetime | None = None,
        notes: tuple[str, ...] = (),
        ttl_s: float | None = None,
    ) -> IntensityAnswer:
        """A series of ``points`` by ``series_of``; a forecast without ``issued_at`` gets the time of the request.

        Raises ForecastError.
        """
        series = series_of(
            points, step=step, estimated_by=estimated_by, zone=request.zone, signal=request.signal, kind=kind,
            provider=self.kind, issued_at=(issued_at or request.now) if kind == "forecast" else None,
        )  # fmt: skip
        return IntensityAnswer(series, notes, ttl_s)
