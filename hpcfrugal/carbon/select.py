"""Which providers to ask: the one that was named, else those in the settings for the zone, else the built-in ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hpcfrugal.carbon.providers.base import DIRECT_EMISSIONS, Provider, ProviderSettings
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.carbon.settings import BUILT_IN, built_in, kinds, missing, provider_class, read_providers
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import ForecastError, InputError, SourceError, did_you_mean
from hpcfrugal.core.secrets import Secret, find_secret
from hpcfrugal.settings.config import Config
from hpcfrugal.settings.values import name_of


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """A provider that can be queried, with its credentials. ``region`` is its own name of the zone."""

    settings: ProviderSettings
    provider: Provider
    zone: str
    region: str
    signal: Signal


@dataclass(frozen=True, slots=True)
class Selection:
    """The providers to query, best first. ``failed``: why others cannot be queried, such as for lack of credentials.

    ``unserved``: no provider has the data, and credentials would not change that; ``failed`` gives the reason.
    ``forecast_only``: the reason is that the named provider has forecasts for the zone, but never actuals.
    """

    choices: tuple[ProviderChoice, ...]
    failed: tuple[ForecastError, ...] = ()
    unserved: bool = False
    forecast_only: bool = False


def zone_of(config: Config, zone: str | None, provider: str | None = None) -> str:
    """The zone as given, else that of the named provider, else that of the settings.

    Raises ForecastError if there is none, or if it is not a valid name.
    """
    named = _in_settings(provider) or config.carbon.provider
    if zone is None and named is not None:
        settings = read_providers(config.tables("forecasts")).get(named)
        zone = settings.zone if settings is not None else None
    zone = zone or config.carbon.zone
    if zone is None:
        raise ForecastError(
            "no grid zone is set",
            hint='name one, or set zone = "..." under [carbon] in the settings, or HPCFRUGAL_ZONE',
        )
    try:
        return name_of(zone)
    except ValueError as error:
        raise ForecastError(f"zone {zone!r}: {error}") from None


def _in_settings(label: str | None) -> str | None:
    """The name in the settings of a provider by its label, as a plan or a figure of the ledger has it."""
    return None if label is None else label.removesuffix(DIRECT_EMISSIONS)


def select(config: Config, zone: str, signal: Signal, kind: SeriesKind, *, provider: str | None = None) -> Selection:
    """Which providers to ask for the forecast or the actual intensity of a zone.

    Raises:
        InputError: the settings of a provider are wrong, or name one that does not exist.
    """
    if provider is None and config.carbon.provider is not None:
        known_provider(config, config.carbon.provider, where=str(config.origin("carbon", "provider")))
    entries = read_providers(config.tables("forecasts"))
    named = _in_settings(provider) or config.carbon.provider
    if named is not None:
        settings = entries.get(named) or (built_in(named) if provider_class(named) else None)
        if settings is None:
            known = ", ".join([*entries, *kinds()])
            return _unserved(f"unknown provider {named!r}", f"known: {known}")
        why = _why_not(settings, zone, signal, kind)
        if why is not None:
            only = kind == "actual" and _why_not(settings, zone, signal, "forecast") is None
            return replace(_unserved(f"{settings.name}: {why}"), forecast_only=only)
        own = [settings]
    else:
        own = [one for one in entries.values() if _offers(one, zone, signal, kind)]
    choices: list[ProviderChoice] = []
    failed: list[ForecastError] = []
    lacking: list[str] = []
    without_settings = [one for one in map(built_in, BUILT_IN) if not missing(one) and _offers(one, zone, signal, kind)]
    # Those that have the zone itself come before those that have an area around it.
    without_settings.sort(key=lambda one: _class(one).larger_area(zone) is not None)
    for settings in own or without_settings:
        made = _class(settings)
        try:
            secret = _secret(settings)
        except SourceError as error:
            failed.append(ForecastError(error.message, hint=error.hint))
            continue
        if made.secret is None or secret is not None:
            region = settings.region or zone
            choices.append(ProviderChoice(settings, made(settings, secret), zone, region, signal))
        elif own:
            advice = made.secret.advice(settings.kind)
            failed.append(ForecastError(f"{settings.name}: no credentials found", hint=advice))
        else:
            lacking.append(f"{settings.name} ({made.secret.names})")
    if choices or failed:
        return Selection(tuple(choices), tuple(failed))
    article = "an" if signal == "average" else "a"
    what = f"{article} {signal}-intensity forecast" if kind == "forecast" else f"actual {signal} intensities"
    hint = f"with credentials: {'; '.join(lacking)}" if lacking else "hpcfrugal forecast --list shows the providers"
    return _unserved(f"no provider offers {what} for zone {zone!r}", hint)


def _unserved(message: str, hint: str | None = None) -> Selection:
    return Selection((), (ForecastError(message, hint=hint),), unserved=True)


def known_provider(config: Config, name: str, *, where: str) -> None:
    """Raises InputError if no provider has this name; ``where`` is the option or key that names it."""
    entries = read_providers(config.tables("forecasts"))
    if name not in entries and provider_class(name) is None:
        raise InputError.at(where, f"unknown provider {name!r}", did_you_mean(name, [*entries, *kinds()]))


def _class(settings: ProviderSettings) -> type[Provider]:
    made = provider_class(settings.kind)
    assert made is not None
    return made


def _offers(settings: ProviderSettings, zone: str, signal: Signal, kind: SeriesKind) -> bool:
    """Whether a provider serves the zone and has these data."""
    serves = settings.zone is not None or _class(settings).serves(zone)
    return serves and _why_not(settings, zone, signal, kind) is None


def _why_not(settings: ProviderSettings, zone: str, signal: Signal, kind: SeriesKind) -> str | None:
    """Why a provider does not have these data; None if it has them, or if that is known only after a request."""
    made = _class(settings)
    if signal not in (signals := made.signals_with(settings)):
        return f"offers no {signal} intensity, only {' and '.join(signals)}"
    if settings.zone is not None and settings.zone.upper() != zone.upper():
        return f"is set up for zone {settings.zone!r}, not for {zone!r}"
    if kind == "forecast":
        return None if made.forecasts else "offers no forecasts"
    return None if made.has_actuals(settings.region or zone) else f"offers no actual {signal} intensities for {zone}"


def _secret(settings: ProviderSettings) -> Secret | None:
    """Raises SourceError if the credentials, or settings of this kind, are missing or invalid."""
    made = _class(settings)
    if lacking := missing(settings):
        raise SourceError(
            f"{settings.name}: needs {' and '.join(lacking)}",
            hint=f"set {'them' if len(lacking) > 1 else 'it'} under [forecasts.{settings.name}]",
        )
    return find_secret(settings.kind, made.secret, settings.token_file) if made.secret else None
