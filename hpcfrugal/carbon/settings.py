"""The kinds of providers, and the tables ``[forecasts.NAME]`` of the settings that set them up.

    [carbon]
    zone = "FR"                        # grid zone of the cluster; HPCFRUGAL_ZONE
    provider = "campus"                # a name below or a kind; HPCFRUGAL_PROVIDER
    [forecasts.campus]
    kind = "electricitymaps"           # optional if the name is that of a kind
    zone = "FR"                        # only for this zone; default: every zone that it serves

The other keys are those of the kind's ``settings_model``. A package adds a kind by the entry-point group
``hpcfrugal.forecasts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from types import MappingProxyType

from hpcfrugal.carbon.providers.base import Provider, ProviderSettings
from hpcfrugal.core.errors import ForecastError, Problem, did_you_mean
from hpcfrugal.settings.section import NamedTable, read_table, read_tables

ENTRY_POINTS = "hpcfrugal.forecasts"

# In the order in which they are tried without settings: those without an account first.
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "carbonintensity-gb": "carbonintensity_gb:CarbonIntensityGB",
        "energinet": "energinet:Energinet",
        "energy-charts": "energy_charts:EnergyCharts",
        "rte-eco2mix": "rte_eco2mix:RteEco2mix",
        "electricitymaps": "electricitymaps:ElectricityMaps",
        "eia": "eia:Eia",
        "watttime": "watttime:WattTime",
        "entsoe": "entsoe:Entsoe",
        "carbon-aware-sdk": "carbon_aware_sdk:CarbonAwareSdk",
        "file": "file:File",
    }
)


def provider_class(kind: str) -> type[Provider] | None:
    """The class of a kind, None if there is no such kind.

    Raises ForecastError if one from an entry point cannot be loaded.
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


def read_providers(tables: Mapping[str, NamedTable]) -> dict[str, ProviderSettings]:
    """The providers of the settings by name.

    Raises:
        InputError: every mistake in any of them at once.
    """
    return read_tables(tables, _read)


def built_in(kind: str) -> ProviderSettings:
    """The settings of a kind without a table; required keys are not set (see ``missing``)."""
    try:
        made = provider_class(kind)
    except ForecastError:
        made = None  # from an entry point that cannot be loaded, which is reported when the provider is used
    model = ProviderSettings if made is None else made.settings_model
    return model.unchecked(name=kind, kind=kind)


def missing(settings: ProviderSettings) -> list[str]:
    """The required keys of a provider that are not set."""
    return [name for name, key in settings.known_keys.items() if key.required and not hasattr(settings, name)]


def _read(table: NamedTable, problems: list[Problem]) -> ProviderSettings | None:
    kind = table.values.get("kind", table.name)
    where = str(table.origin.below("kind"))
    try:
        made = provider_class(kind) if isinstance(kind, str) else None
    except ForecastError as error:
        problems.append(Problem(where, error.message))
        return None
    if made is None:
        problems.append(Problem(where, f"{kind!r} is not a kind of provider", did_you_mean(str(kind), kinds())))
        return None
    values = {**table.values, "kind": made.kind}
    return read_table(made.settings_model, replace(table, values=values), problems)
