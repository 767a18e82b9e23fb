"""Who can be asked for intensities, and whether their credentials are there; shown, but never the credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpcfrugal.carbon.providers.base import Provider, ProviderSettings
from hpcfrugal.carbon.settings import built_in, kinds, missing, provider_class, read_providers
from hpcfrugal.core.errors import ForecastError
from hpcfrugal.core.secrets import default_file, find_secret
from hpcfrugal.settings.config import Config


@dataclass(frozen=True, slots=True)
class Line:
    """One provider. ``state``: ok to be asked; none (credentials or settings are lacking); wrong."""

    name: str
    kind: str
    about: str
    zone: str | None
    tells: tuple[str, ...]
    signals: tuple[str, ...]
    state: Literal["ok", "none", "wrong"]
    credentials: str

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def listing(config: Config, environ: Mapping[str, str] = os.environ) -> list[Line]:
    """The providers of the settings, then the kinds that are not among them.

    Raises InputError where the settings of a provider are wrong.
    """
    tables = read_providers(config.tables("forecasts"))
    lines = [_line(settings, environ) for settings in tables.values()]
    set_up = {settings.kind for settings in tables.values()}
    return lines + [_line(built_in(kind), environ) for kind in kinds() if kind not in set_up]


def _line(settings: ProviderSettings, environ: Mapping[str, str]) -> Line:
    try:
        made = provider_class(settings.kind)
    except ForecastError as error:
        return Line(settings.name, settings.kind, error.message, settings.zone, (), (), "wrong", "not known")
    assert made is not None
    state, credentials = _credentials(settings, made, environ)
    told = zip(("forecast", "actual"), (made.forecasts, made.actuals_too), strict=True)
    tells = tuple(kind for kind, does in told if does)
    return Line(settings.name, settings.kind, made.about, settings.zone, tells, made.signals, state, credentials)


def _credentials(
    settings: ProviderSettings, made: type[Provider], environ: Mapping[str, str]
) -> tuple[Literal["ok", "none", "wrong"], str]:
    if lacking := missing(settings):
        return "none", f'not needed; set {" and ".join(lacking)} under [forecasts.NAME] with kind = "{settings.kind}"'
    if made.secret is None:
        return "ok", "not needed"
    try:
        secret = find_secret(settings.kind, made.secret, settings.token_file, environ)
    except ForecastError as error:
        return "wrong", f"{error.message} ({error.hint})" if error.hint else error.message
    if secret is not None:
        return "ok", f"from {secret.origin}"
    where = default_file(settings.kind, environ)
    return "none", f"none; set {made.secret.names}, or write the {made.secret.what} into {where} (mode 0600)"
