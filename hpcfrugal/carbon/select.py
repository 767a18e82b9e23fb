"""Whom to ask: the provider that was named, else those of the settings for the zone, else built-in ones.

One of several that cannot be used, for want of credentials say, is left out with a word, and the others are asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcfrugal.carbon.providers.base import Provider, ProviderSettings
from hpcfrugal.carbon.series import Kind, Signal
from hpcfrugal.carbon.settings import BUILT_IN, built_in, kinds, missing, provider_class, read_providers
from hpcfrugal.core.errors import ForecastError, InputError, did_you_mean
from hpcfrugal.core.secrets import Secret, default_file, find_secret
from hpcfrugal.settings.config import Config
from hpcfrugal.settings.values import name_of


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """A provider that may be asked, with its credentials, for what it calls ``region``."""

    settings: ProviderSettings
    provider: Provider
    zone: str
    region: str
    signal: Signal


@dataclass(frozen=True, slots=True)
class Candidates:
    """Who may be asked, best first and never nobody; ``troubles``: who cannot be, though it tells it, and why."""

    choices: tuple[ProviderChoice, ...]
    troubles: tuple[ForecastError, ...] = ()


class Unserved(ForecastError):
    """There is nobody to ask, and no credentials would change that."""


class TellsNoPast(Unserved):
    """The provider that was named tells forecasts of the zone, but never what was."""


def zone_of(config: Config, zone: str | None, provider: str | None = None) -> str:
    """The zone to ask for: as given, else the provider's own where one is named, else that of the settings.

    Raises ForecastError where there is none, or what was given is none.
    """
    named = provider or config.carbon.provider
    if zone is None and named is not None:
        settings = read_providers(config.tables("forecasts")).get(named)
        zone = settings.zone if settings is not None else None
    zone = zone or config.carbon.zone
    if zone is None:
        raise ForecastError(
            "no grid zone is set", hint='set zone = "..." under [carbon] in the settings, HPCFRUGAL_ZONE, or --zone'
        )
    try:
        return name_of(zone)
    except ValueError as error:
        raise ForecastError(f"zone {zone!r}: {error}") from None


def candidates(
    config: Config, zone: str, signal: Signal, kind: Kind, *, provider: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Candidates:  # fmt: skip
    """Whom to ask for the forecast or the actual intensity of a zone.

    Raises:
        Unserved: nobody tells it, or who was named doesn't.
        ForecastError: none of those who do can be asked.
        InputError: the settings of a provider are wrong, or name one that there is not.
    """
    if provider is None and config.carbon.provider is not None:
        known_provider(config, config.carbon.provider, where=str(config.origin("carbon", "provider")))
    entries = read_providers(config.tables("forecasts"))
    named = provider or config.carbon.provider
    if named is not None:
        settings = entries.get(named) or (built_in(named) if provider_class(named) else None)
        if settings is None:
            known = ", ".join([*entries, *kinds()])
            raise Unserved(f"there is no provider {named!r}", hint=f"known: {known}")
        return Candidates((_named(settings, zone, signal, kind, environ),))
    found: list[ProviderChoice] = []
    troubles: list[ForecastError] = []
    for settings in entries.values():
        made = _class(settings)
        if _is_for(settings, made, zone) and _tells(settings, made, zone, signal, kind):
            try:
                found.append(_choice(settings, made, zone, signal, _secret(settings, made, environ)))
            except ForecastError as error:
                troubles.append(error)
    lacking = []
    for name in BUILT_IN if not found and not troubles else ():
        settings = built_in(name)
        made = _class(settings)
        if not made.serves(zone) or not _tells(settings, made, zone, signal, kind):
            continue
        try:
            secret = find_secret(name, made.secret, environ=environ) if made.secret else None
        except ForecastError as error:
            troubles.append(error)
            continue
        if made.secret and secret is None:
            lacking.append(f"{name} ({made.secret.names})")
            continue
        found.append(_choice(settings, made, zone, signal, secret))
    if found:
        return Candidates(tuple(found), tuple(troubles))
    if troubles:
        raise all_failed(troubles)
    what = "forecast" if kind == "forecast" else "actual intensity"
    hint = f"with credentials: {'; '.join(lacking)}" if lacking else "hpcfrugal forecast --list shows who there is"
    raise Unserved(f"nobody tells the {signal} {what} of zone {zone!r}", hint=hint)


def all_failed(failed: Sequence[ForecastError]) -> ForecastError:
    """Several failures as one."""
    hints = [error.hint for error in failed if error.hint]
    return ForecastError("; ".join(error.message for error in failed), hint=hints[0] if hints else None)


def known_provider(config: Config, name: str, *, where: str) -> None:
    """Raises InputError where no provider has that name; ``where`` says who gave it."""
    entries = read_providers(config.tables("forecasts"))
    if name not in entries and provider_class(name) is None:
        raise InputError.at(where, f"there is no provider {name!r}", did_you_mean(name, [*entries, *kinds()]))


def _class(settings: ProviderSettings) -> type[Provider]:
    made = provider_class(settings.kind)
    assert made is not None
    return made


def _named(
    settings: ProviderSettings, zone: str, signal: Signal, kind: Kind, environ: Mapping[str, str]
) -> ProviderChoice:
    made = _class(settings)
    if signal not in made.signals:
        raise Unserved(f"{settings.name} tells no {signal} intensity, only {' and '.join(made.signals)}")
    if settings.zone is not None and settings.zone.upper() != zone.upper():
        raise Unserved(f"{settings.name} is set for zone {settings.zone!r}, not for {zone!r}")
    if not _tells(settings, made, zone, signal, kind):
        if kind == "forecast":
            raise Unserved(f"{settings.name} tells no forecast")
        raise TellsNoPast(f"{settings.name} tells no {signal} intensity of {zone} as it was")
    if lacking := missing(settings):
        raise ForecastError(
            f"{settings.name} needs {' and '.join(lacking)}", hint=f"set it under [forecasts.{settings.name}]"
        )
    return _choice(settings, made, zone, signal, _secret(settings, made, environ))


def _tells(settings: ProviderSettings, made: type[Provider], zone: str, signal: Signal, kind: Kind) -> bool:
    if signal not in made.signals:
        return False
    return made.forecasts if kind == "forecast" else made.actuals_too and made.tells_past(settings.region or zone)


def _is_for(settings: ProviderSettings, made: type[Provider], zone: str) -> bool:
    if settings.zone is not None:
        return settings.zone.upper() == zone.upper()
    # A file's owner knows for which zone it is.
    return settings.kind == "file" or made.serves(zone)


def _secret(settings: ProviderSettings, made: type[Provider], environ: Mapping[str, str]) -> Secret | None:
    if made.secret is None:
        return None
    secret = find_secret(settings.kind, made.secret, settings.token_file, environ)
    if secret is None:
        raise ForecastError(
            f"{settings.name} needs credentials, and there are none",
            hint=f"set {made.secret.names}, or write the {made.secret.what} into "
            f"{default_file(settings.kind, environ)} (mode 0600)",
        )
    return secret


def _choice(
    settings: ProviderSettings, made: type[Provider], zone: str, signal: Signal, secret: Secret | None
) -> ProviderChoice:
    return ProviderChoice(settings, made(settings, secret), zone, settings.region or zone, signal)
