"""The settings in force and where each was set, with every mistake in the settings files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hpcfrugal.accounting.tables.electricity import yearly_mean
from hpcfrugal.carbon.providers.base import ProviderSettings
from hpcfrugal.carbon.select import select
from hpcfrugal.carbon.series import SeriesKind
from hpcfrugal.carbon.settings import BUILT_IN, read_providers
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.text import plain
from hpcfrugal.doctor.finding import Finding
from hpcfrugal.queues.settings import read_queues
from hpcfrugal.report.method_settings import read_methods
from hpcfrugal.settings.config import Config, config_files, settings
from hpcfrugal.settings.idle_power import read_idle_powers
from hpcfrugal.settings.section import NamedTable

_AREA = "settings"
_MAX_CHARACTERS = 300
_NOT_SET = {
    "carbon.zone": (
        "not set: reports show energy but no CO2e, and jobs without schedule.zone cannot be planned",
        'set zone, such as "FR", under [carbon]; see docs/configuration.md',
    ),
    "carbon.pue": (
        "not set: CO2e leaves out the cooling and power supply of the data centre",
        "ask your operator for the power usage effectiveness and set pue, such as 1.2, under [carbon]",
    ),
}
"""What is missing if a key is not set, and what to do about it."""


def mistakes(area: str, problems: Iterable[Problem]) -> list[Finding]:
    """A fault for each mistake in the settings."""
    return [
        Finding(area, "settings", "fault", plain(f"{one.where}: {one.what}", _MAX_CHARACTERS), one.hint)
        for one in problems
    ]


def settings_findings(config: Config, problems: Iterable[Problem]) -> list[Finding]:
    """The settings files, the value and origin of each key, each named table, and every mistake.

    ``problems`` are those of ``read_config``. Mistakes in tables of meters are left to ``meter_findings``.
    """
    problems = list(problems)
    unreadable = {one.where for one in problems}
    findings = [
        Finding(_AREA, "file", "ok", f"{path} ({'read' if os.path.isfile(path) else 'does not exist; optional'})")
        for path in config_files()
        if str(path) not in unreadable
    ]
    findings += mistakes(_AREA, problems)
    findings += [_key(config, keys) for keys, _ in settings()]
    findings += _zone_without_figures(config)
    for kind, read in _READERS.items():
        findings += _tables(kind, config.tables(kind), read)
    return findings


def _key(config: Config, keys: tuple[str, ...]) -> Finding:
    value: Any = config
    for key in keys:
        value = getattr(value, key)
    name = ".".join(keys)
    if value is None:
        missing, advice = _NOT_SET.get(name, ("not set", None))
        return Finding(_AREA, name, "gap" if advice else "ok", missing, advice)
    text = _listed(value)
    return Finding(_AREA, name, "ok", plain(f"{text} ({config.origin(*keys).place})", _MAX_CHARACTERS))


def _zone_without_figures(config: Config) -> list[Finding]:
    """That no provider has figures of the grid zone, such as one with a typing error in its name."""
    zone = config.carbon.zone
    if zone is None or yearly_mean(zone) is not None:
        return []
    kinds: tuple[SeriesKind, ...] = ("forecast", "actual")
    try:
        if any(not select(config, zone, "average", kind).unserved for kind in kinds):
            return []
    except InputError:
        return []  # a mistake in a table of providers, which is shown
    what = (
        f"no provider has figures of {zone}, nor is there a yearly mean: no CO2e is known, and no start can be planned"
    )
    return [Finding(_AREA, "carbon.zone", "gap", what, "`hpcfrugal forecast --list` shows the zones")]


def _listed(value: object) -> str:
    """A value as a user would write it down; of a table, what each key has."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_listed(one)}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _tables(
    kind: str, tables: Mapping[str, NamedTable], read: Callable[[Mapping[str, NamedTable]], object]
) -> list[Finding]:
    """Each valid table, then the mistakes in the others, without their values, which may be secrets."""
    findings = []
    for name, table in tables.items():
        try:
            read({name: table})
        except InputError:
            continue
        text = ", ".join(f"{key} = {_value(kind, table, key)}" for key in table.values)
        what = plain(f"{text} ({table.origin.place})", _MAX_CHARACTERS)
        findings.append(Finding(_AREA, plain(f"{kind}.{name}", 80), "ok", what))
    try:
        read(tables)
    except InputError as error:
        findings += mistakes(_AREA, error.problems)
    return findings


def _value(kind: str, table: NamedTable, key: str) -> str:
    of_plugin = kind == "forecasts" and table.values.get("kind", table.name) not in BUILT_IN
    if of_plugin and key not in ProviderSettings.known_keys:
        return "..."  # may be a secret
    return str(table.values[key])


_READERS: Mapping[str, Callable[[Mapping[str, NamedTable]], object]] = {
    "nodes": read_idle_powers,
    "forecasts": read_providers,
    "methods": read_methods,
    "queues": read_queues,
}
