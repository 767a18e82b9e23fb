"""The providers of intensities, and whether each can be used; credentials are never shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpcfrugal.carbon.providers.base import Provider, ProviderSettings
from hpcfrugal.carbon.settings import built_in, kinds, missing, provider_class, read_providers
from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.secrets import find_secret
from hpcfrugal.settings.config import Config

State = Literal["ok", "none", "wrong"]


@dataclass(frozen=True, slots=True)
class ListedProvider:
    """One provider. ``zones``: the one of the settings, or in words. ``state``: ok, none (credentials or settings are
    missing) or wrong."""

    name: str
    kind: str
    about: str
    zones: str
    offers: tuple[str, ...]
    signals: tuple[str, ...]
    state: State
    credentials: str


def listing(config: Config) -> list[ListedProvider]:
    """The providers in the settings, then the other kinds.

    Raises InputError if the settings of a provider are wrong.
    """
    entries = read_providers(config.tables("forecasts"))
    listed = [_listed(settings) for settings in entries.values()]
    set_up = {settings.kind for settings in entries.values()}
    return listed + [_listed(built_in(kind)) for kind in kinds() if kind not in set_up]


def _listed(settings: ProviderSettings) -> ListedProvider:
    try:
        made = provider_class(settings.kind)
    except SourceError as error:
        return ListedProvider(
            settings.name, settings.kind, error.message, settings.zone or "", (), (), "wrong", "cannot be checked"
        )
    assert made is not None
    zone = settings.region or settings.zone
    actuals = zone is None or made.has_actuals(zone)
    offers = ("forecast",) * made.forecasts + ("actual",) * actuals
    state, credentials = _credentials(settings, made)
    return ListedProvider(
        settings.name, settings.kind, made.about, settings.zone or made.zones, offers, made.signals_with(settings),
        state, credentials,
    )  # fmt: skip


def _credentials(settings: ProviderSettings, made: type[Provider]) -> tuple[State, str]:
    if lacking := missing(settings):
        return "none", f'not needed; set {" and ".join(lacking)} under [forecasts.NAME] with kind = "{settings.kind}"'
    if made.secret is None:
        return "ok", "not needed"
    try:
        secret = find_secret(settings.kind, made.secret, settings.token_file)
    except SourceError as error:
        return "wrong", f"{error.message} ({error.hint})" if error.hint else error.message
    if secret is not None:
        return "ok", f"from {secret.origin}"
    return "none", f"none; {made.secret.advice(settings.kind)}"
