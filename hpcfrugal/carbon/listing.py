"""Who can be asked for intensities, and whether their credentials are there; shown, but never the credentials."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpcfrugal.carbon.providers.base import Provider, Settings
from hpcfrugal.carbon.settings import configured, kinds, provider_class
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
    entries = configured(config)
    lines = [_line(settings, environ) for settings in entries.values()]
    set_up = {settings.kind for settings in entries.values()}
    return lines + [_line(Settings(kind, kind), environ) for kind in kinds() if kind not in set_up]


def _line(settings: Settings, environ: Mapping[str, str]) -> Line:
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
    settings: Settings, made: type[Provider], environ: Mapping[str, str]
) -> tuple[Literal["ok", "none", "wrong"], str]:
    missing = [key for key in made.options if key not in settings.options]
    if missing:
        return "none", f'not needed; set {" and ".join(missing)} under [forecasts.NAME] with kind = "{settings.kind}"'
    if made.secret is None:
        return "ok", "not needed"
    try:
        secret = find_secret(settings.kind, made.secret, settings.token_file, environ)
    except ForecastError as error:
        return "wrong", f"{error.message} ({error.hint})" if error.hint else error.message
    if secret is not None:
        return "ok", f"from {secret.origin}"
    where = default_file(settings.kind, environ)
    return "none", f"none; set {made.secret.told()}, or write the {made.secret.what} into {where} (mode 0600)"
