"""Whom to ask: the provider that was named, else those of the settings for the zone, else built-in ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from hpcfrugal.carbon.credentials import Secret, default_file, find_secret
from hpcfrugal.carbon.providers.base import Provider, Settings
from hpcfrugal.carbon.series import Kind, Signal
from hpcfrugal.carbon.settings import BUILT_IN, configured, kinds, provider_class
from hpcfrugal.config import Config, zone_name
from hpcfrugal.errors import ForecastError


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider that may be asked, with its credentials, for what it calls ``region``."""

    settings: Settings
    provider: Provider
    zone: str
    region: str
    signal: Signal


def zone_of(config: Config, zone: str | None, provider: str | None = None) -> str:
    """The zone to ask for: as given, else the provider's own where one is named, else that of the settings.

    Raises ForecastError where there is none, or what was given is none.
    """
    named = provider or config.carbon_provider
    if zone is None and named is not None:
        settings = configured(config).get(named)
        zone = settings.zone if settings is not None else None
    zone = zone or config.carbon_zone
    if zone is None:
        raise ForecastError(
            "no grid zone is set", hint='set zone = "..." under [carbon] in the settings, HPCFRUGAL_ZONE, or --zone'
        )
    try:
        return zone_name(zone)
    except ValueError as error:
        raise ForecastError(f"zone {zone!r}: {error}") from None


def choices(
    config: Config, zone: str, signal: Signal, kind: Kind, *, provider: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> list[Choice]:  # fmt: skip
    """Whom to ask for the forecast or the actual intensity of a zone, best first; never empty.

    Raises:
        ForecastError: nobody to ask, or who was named doesn't serve.
        InputError: the settings of a provider are wrong.
    """
    entries = configured(config)
    named = provider or config.carbon_provider
    if named is not None:
        settings = entries.get(named) or (Settings(named, named) if provider_class(named) else None)
        if settings is None:
            known = ", ".join([*entries, *kinds()])
            raise ForecastError(f"there is no provider {named!r}", hint=f"known: {known}")
        return [_named(settings, zone, signal, kind, environ)]
    found = []
    for settings in entries.values():
        made = _class(settings)
        if _tells(made, signal, kind) and _is_for(settings, made, zone):
            found.append(_choice(settings, made, zone, signal, _secret(settings, made, environ)))
    if found:
        return found
    lacking = []
    for name in BUILT_IN:
        settings = Settings(name, name)
        made = _class(settings)
        if not _tells(made, signal, kind) or not made.serves(zone):
            continue
        secret = find_secret(name, made.secret, environ=environ) if made.secret else None
        if made.secret and secret is None:
            lacking.append(f"{name} ({made.secret.told()})")
            continue
        found.append(_choice(settings, made, zone, signal, secret))
    if not found:
        what = "forecast" if kind == "forecast" else "actual intensity"
        hint = f"with credentials: {'; '.join(lacking)}" if lacking else "hpcfrugal forecast --list shows who there is"
        raise ForecastError(f"nobody tells the {signal} {what} of zone {zone!r}", hint=hint)
    return found


def _class(settings: Settings) -> type[Provider]:
    made = provider_class(settings.kind)
    assert made is not None
    return made


def _named(settings: Settings, zone: str, signal: Signal, kind: Kind, environ: Mapping[str, str]) -> Choice:
    made = _class(settings)
    if signal not in made.signals:
        raise ForecastError(f"{settings.name} tells no {signal} intensity, only {' and '.join(made.signals)}")
    if not _tells(made, signal, kind):
        raise ForecastError(f"{settings.name} tells no {kind}")
    if settings.zone is not None and settings.zone.upper() != zone.upper():
        raise ForecastError(f"{settings.name} is set for zone {settings.zone!r}, not for {zone!r}")
    missing = [key for key in made.options if key not in settings.options]
    if missing:
        raise ForecastError(
            f"{settings.name} needs {' and '.join(missing)}", hint=f"set it under [forecasts.{settings.name}]"
        )
    return _choice(settings, made, zone, signal, _secret(settings, made, environ))


def _tells(made: type[Provider], signal: Signal, kind: Kind) -> bool:
    return signal in made.signals and (made.forecasts if kind == "forecast" else made.actuals_too)


def _is_for(settings: Settings, made: type[Provider], zone: str) -> bool:
    if settings.zone is not None:
        return settings.zone.upper() == zone.upper()
    # A file's owner knows for which zone it is.
    return settings.kind == "file" or made.serves(zone)


def _secret(settings: Settings, made: type[Provider], environ: Mapping[str, str]) -> Secret | None:
    if made.secret is None:
        return None
    secret = find_secret(settings.kind, made.secret, settings.token_file, environ)
    if secret is None:
        raise ForecastError(
            f"{settings.name} needs credentials, and there are none",
            hint=f"set {made.secret.told()}, or write the {made.secret.what} into "
            f"{default_file(settings.kind, environ)} (mode 0600)",
        )
    return secret


def _choice(settings: Settings, made: type[Provider], zone: str, signal: Signal, secret: Secret | None) -> Choice:
    return Choice(settings, made(settings, secret), zone, settings.region or zone, signal)
