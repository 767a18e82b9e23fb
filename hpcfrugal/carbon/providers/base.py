"""What every provider of carbon intensities offers, and what it is given to do so.

A provider turns one question (which zone, from when to when) into a checked :class:`CarbonSeries`. It does not cache,
retry or choose: that is the same for all and stands in ``hpcfrugal.carbon``. Providers of others are found in the
entry-point group ``hpcfrugal.forecasts``: a class of this shape under the name of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from hpcfrugal.carbon.series import CarbonSeries, Signal
from hpcfrugal.core.http import Client
from hpcfrugal.core.secrets import Secret, SecretSpec

Options = Mapping[str, Callable[[Any], Any]]
"""Keys that a kind's settings may have, each with what reads and checks its value (raises ValueError)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is known of a provider before it is asked. ``origin`` is where that stands, as an error shows it."""

    name: str
    kind: str
    zone: str | None = None
    region: str | None = None
    url: str | None = None
    refresh: timedelta | None = None
    token_file: str | None = None
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    origin: str = ""


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
    """One source of intensities, made from its :class:`Settings` and, where ``secret`` is set, its credentials.

    ``refresh`` is how often it has new figures, ``span`` the longest range of actuals that one question may cover,
    ``settles`` how long after the fact an actual may still be revised. With ``cached`` false its figures are read anew
    each time (a file is its own cache).
    """

    kind: ClassVar[str]
    about: ClassVar[str]
    signals: ClassVar[tuple[Signal, ...]]
    forecasts: ClassVar[bool]
    actuals_too: ClassVar[bool]
    options: ClassVar[Options]
    secret: ClassVar[SecretSpec | None]
    refresh: ClassVar[timedelta]
    span: ClassVar[timedelta]
    settles: ClassVar[timedelta]
    cached: ClassVar[bool]

    def __init__(self, settings: Settings, secret: Secret | None) -> None: ...

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
    options: ClassVar[Options] = MappingProxyType({})
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

    def __init__(self, settings: Settings, secret: Secret | None) -> None:
        self.settings = settings
        self.credentials = secret
        self.base_url = (settings.url or self.url).rstrip("/")
