"""Which providers there are and how the settings describe them.

    [carbon]
    zone = "FR"                        # grid zone of the cluster; HPCFRUGAL_ZONE
    provider = "campus"                # a name below or a kind; HPCFRUGAL_PROVIDER
    [forecasts.campus]
    kind = "electricitymaps"           # can be left out where the name is that of a kind
    zone = "FR"                        # for which zone it is asked; any that it serves where not given
    region = "FR-COR"                  # what the provider calls that zone, where it has another name
    url = "https://..."                # another address
    token_file = "~/.config/..."       # credentials, mode 0600
    refresh = "15m"                    # how long an answer is kept; else as the server says

Kinds may have keys of their own (``path`` of a file). Kinds of others come from the entry-point group
``hpcfrugal.forecasts``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from hpcfrugal.carbon.providers.base import Provider, Settings
from hpcfrugal.core.errors import ForecastError, Problem, did_you_mean
from hpcfrugal.core.units import parse_duration
from hpcfrugal.settings.config import Config, ConfigEntry, zone_name
from hpcfrugal.settings.entries import Keys, read_entries

ENTRY_POINTS = "hpcfrugal.forecasts"

# In the order in which they are tried where nothing is set: without an account before with one.
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "carbonintensity-gb": "carbonintensity_gb:CarbonIntensityGB",
        "energy-charts": "energy_charts:EnergyCharts",
        "rte-eco2mix": "rte_eco2mix:RteEco2mix",
        "electricitymaps": "electricitymaps:ElectricityMaps",
        "watttime": "watttime:WattTime",
        "entsoe": "entsoe:Entsoe",
        "file": "file:File",
    }
)


def provider_class(kind: str) -> type[Provider] | None:
    """The class of a kind, None where there is no such kind.

    Raises ForecastError where one from an entry point can't be loaded.
    """
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        found: type[Provider] = getattr(import_module(f"hpcfrugal.carbon.providers.{module}"), name)
        return found
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=kind):
        try:
            loaded: type[Provider] = point.load()
        except Exception as error:
            raise ForecastError(
                f"the provider {kind!r} of {point.value} cannot be loaded ({type(error).__name__})"
            ) from error
        return loaded
    return None


def kinds() -> list[str]:
    """Every kind, those built in first."""
    from importlib.metadata import entry_points

    others = sorted(point.name for point in entry_points(group=ENTRY_POINTS) if point.name not in BUILT_IN)
    return [*BUILT_IN, *others]


def configured(config: Config) -> dict[str, Settings]:
    """The providers of the settings by name.

    Raises:
        InputError: every mistake in any of them at once.
    """
    return read_entries(config.tables.get("forecasts", {}), _settings)


def _settings(entry: ConfigEntry, problems: list[Problem]) -> Settings | None:
    keys = Keys(entry, problems)
    kind = keys.raw("kind")
    kind = entry.name if kind is None else kind
    try:
        made = provider_class(kind) if isinstance(kind, str) else None
    except ForecastError as error:
        keys.wrong("kind", error.message)
        return None
    if made is None:
        keys.wrong("kind", f"{kind!r} is not a kind of provider", did_you_mean(str(kind), kinds()))
        return None
    common = {key: keys.parsed(key, parse) for key, parse in _COMMON.items()}
    options: dict[str, Any] = {}
    for key, parse in made.options.items():
        value = keys.parsed(key, parse)
        if value is not None:
            options[key] = value
        elif key not in entry.values:
            keys.wrong(key, f"is needed by {made.kind}")
    keys.finish(made.kind)
    told: dict[str, Any] = {key: value for key, value in common.items() if value is not None}
    return Settings(name=entry.name, kind=made.kind, options=options, origin=entry.origin, **told)


def _url(value: Any) -> str:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        fine = parts.scheme in ("https", "http") and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise ValueError('needs an address without a name or password in it, such as "https://api.example.org"')
    return str(value)


def _file(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError('needs a path, such as "~/.config/hpcfrugal/credentials/electricitymaps"')
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"names a user that does not exist: {value!r}") from None
    if not path.is_absolute():
        raise ValueError("needs an absolute path, or one that starts with ~")
    return str(path)


def _refresh(value: Any) -> timedelta:
    span: timedelta = parse_duration(value)
    if not timedelta(seconds=1) <= span <= timedelta(days=1):
        raise ValueError("needs a time from 1s to 1d")
    return span


_COMMON: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"zone": zone_name, "region": zone_name, "url": _url, "token_file": _file, "refresh": _refresh}
)
