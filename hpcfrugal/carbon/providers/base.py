"""What every provider of carbon intensities offers, and what it is given to do so.

A provider turns one question (which zone, from when to when) into a checked :class:`CarbonSeries`. It does not cache,
retry or choose: that is the same for all and stands in ``hpcfrugal.carbon``. Providers of others are found in the
entry-point group ``hpcfrugal.forecasts``: a class of this shape under the name of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Protocol

from hpcfrugal.carbon.series import CarbonSeries, Signal
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import Secret, SecretSpec
from hpcfrugal.settings.section import NamedSection
from hpcfrugal.settings.values import AbsolutePath, Name, Url, duration


class ProviderSettings(NamedSection):
    """``[forecasts.NAME]``. A kind that has keys of its own has a subclass with a field for each."""

    what = "this kind of provider"

    kind: str
    zone: Name | None = None
    """The zone that it is for; left out, every zone that it serves."""
    region: Name | None = None
    """What the provider calls that zone, where it has another name."""
    url: Url | None = None
    """Another address than the usual one."""
    token_file: AbsolutePath | None = None
    """Credentials, in a file of mode 0600."""
    refresh: Annotated[timedelta, duration(1, 86_400)] | None = None
    """How long an answer is kept; left out, as long as the server says."""

    @property
    def own(self) -> dict[str, Any]:
        """The values of the keys that only this kind has."""
        return {key: getattr(self, key) for key in type(self).model_fields if key not in ProviderSettings.model_fields}


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: intensities of ``zone`` in ``[start, end)``, at the time ``now``. All times are aware."""

    zone: str
    signal: Signal
    start: datetime
    end: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What was told. ``ttl_s`` is how long the server says it holds, None where it doesn't say."""

    series: CarbonSeries
    notes: tuple[str, ...] = ()
    ttl_s: float | None = None


class Provider(Protocol):
    """One source of intensities, made from its :class:`ProviderSettings` and, where ``secret`` is set, its credentials.

    ``refresh`` is how often it has new figures, ``span`` the longest range of actuals that one question may cover,
    ``settles`` how long after the fact an actual may still be revised. With ``cached`` false its figures are read anew
    each time (a file is its own cache).
    """

    kind: ClassVar[str]
    about: ClassVar[str]
    signals: ClassVar[tuple[Signal, ...]]
    forecasts: ClassVar[bool]
    actuals_too: ClassVar[bool]
    settings_model: ClassVar[type[ProviderSettings]]
    secret: ClassVar[SecretSpec | None]
    refresh: ClassVar[timedelta]
    span: ClassVar[timedelta]
    settles: ClassVar[timedelta]
    cached: ClassVar[bool]

    def __init__(self, settings: ProviderSettings, secret: Secret | None) -> None: ...

    @staticmethod
    def serves(zone: str) -> bool:
        """Whether this provider knows the zone, as far as can be said without asking it."""
        ...

    @staticmethod
    def tells_past(zone: str) -> bool:
        """Whether it tells what was in a zone that it serves; where it does not it is not asked."""
        ...

    def forecast(self, ask: Ask, client: Client) -> Answer:
        """The newest forecast, as far as it reaches. Raises ForecastError."""
        ...

    def actuals(self, ask: Ask, client: Client) -> Answer:
        """What the intensity was in the asked range. Raises ForecastError."""
        ...


class Standard:
    """What most providers have in common; a base to spare them the repetition, which nobody has to use."""

    signals: ClassVar[tuple[Signal, ...]] = ("average",)
    forecasts: ClassVar[bool] = True
    actuals_too: ClassVar[bool] = True
    settings_model: ClassVar[type[ProviderSettings]] = ProviderSettings
    secret: ClassVar[SecretSpec | None] = None
    refresh: ClassVar[timedelta] = timedelta(minutes=30)
    span: ClassVar[timedelta] = timedelta(days=10)
    settles: ClassVar[timedelta] = timedelta(days=2)
    cached: ClassVar[bool] = True
    url: ClassVar[str] = ""

    @staticmethod
    def tells_past(zone: str) -> bool:
        """Of every zone alike."""
        return True

    def __init__(self, settings: ProviderSettings, secret: Secret | None) -> None:
        self.settings = settings
        self.credentials = secret
        self.base_url = (settings.url or self.url).rstrip("/")
