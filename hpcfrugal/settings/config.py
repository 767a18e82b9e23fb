"""Settings, each from the first source that sets it: environment, user file, site file, default.

A command-line option takes precedence over all of these; the commands apply it themselves. The keys are the fields of
``Config``; docs/configuration.md lists them. Besides the keys a file may hold named tables of the kinds in ``TABLES``,
such as ``[meters.rack3]``, which are checked by the package that uses them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from hpcfrugal.core.directories import config_dir, data_dir
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.format import EnergyUnit
from hpcfrugal.core.pue import MonthlyPue, Pue
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.section import SectionKey, optional, required
from hpcfrugal.settings.origin import SettingOrigin
from hpcfrugal.settings.section import NamedTable, SettingsSection, check, in_line_order, settings_of
from hpcfrugal.settings.toml_file import Keys, TomlFile
from hpcfrugal.settings.values import (
    AbsolutePath,
    Interpreters,
    Name,
    NamesByKey,
    OwnPath,
    PathByUser,
    PueSetting,
    SingleLine,
    number,
    one_of,
)

SITE_DIR = Path("/etc/hpcfrugal")
TABLES = ("forecasts", "meters", "methods", "nodes", "queues")
"""Kinds of named tables. A table of the user's file replaces the site's table of the same name as a whole."""

BackendName = Literal["auto", "slurm_cli", "local"]
BACKENDS: tuple[str, ...] = get_args(BackendName)


@dataclass(frozen=True, slots=True)
class Variable:
    """The environment variable that sets a key."""

    name: str


class SidecarSettings(SettingsSection):
    """``[sidecar]``."""

    what = "[sidecar]"

    python: tuple[str, ...] = optional(
        Interpreters,
        "interpreters that the sidecar tries on a node, in this order; in the variable with colons between",
        default=(sys.executable, "python3", "/usr/bin/python3"),
        marks=[Variable("HPCFRUGAL_SIDECAR_PYTHON")],
    )


class CarbonSettings(SettingsSection):
    """``[carbon]``."""

    what = "[carbon]"

    zone: str | None = optional(Name, "grid zone of the cluster, such as `FR`", marks=[Variable("HPCFRUGAL_ZONE")])
    provider: str | None = optional(
        Name,
        "provider of its carbon intensity: a kind, or the name of a table `[forecasts.NAME]`",
        marks=[Variable("HPCFRUGAL_PROVIDER")],
    )
    pue: Pue | None = optional(
        PueSetting,
        "power usage effectiveness of the data centre, such as `1.2`, or a table by month",
        marks=[Variable("HPCFRUGAL_PUE")],
    )

    @property
    def constant_pue(self) -> float | None:
        """The PUE that a run records at its submission; one by month is applied when grams are computed."""
        return None if isinstance(self.pue, MonthlyPue) else self.pue


class SiteSettings(SettingsSection):
    """``[site]``."""

    what = "[site]"

    cluster: str | None = optional(
        Name, "the cluster of texts of sacct that do not name it (`ledger import sacct --from`)"
    )
    spool: Path | None = optional(AbsolutePath, "the site's spool, into which the agents of nodes write (`site agent`)")
    user_spools: Path | None = optional(
        PathByUser, "the spools of users, `%u` is the name of one (`site sync`); else `users/%u` in the site's"
    )
    operators: str | None = optional(
        SingleLine, "group that may read the files of the agents; others may not (`site agent`)"
    )
    ledger: Path | None = optional(
        AbsolutePath, "the site's ledger, with the jobs of all users (`site sync`, `site publish`, `report --site`)"
    )
    published: Path | None = optional(
        AbsolutePath, "where users find ledgers of their own (`site publish`, `report --published`)"
    )
    energy_price: float | None = optional(number(0, 1000), "price of a kWh, for the cost in reports")
    currency: str | None = optional(Name, "currency of the price; `EUR` where it is not set")
    managers: Mapping[str, tuple[str, ...]] | None = optional(
        NamesByKey, "users who get the ledger of an account, beside its coordinators in Slurm"
    )


class Config(SettingsSection):
    """The settings in force."""

    what = "hpcfrugal"

    spool: Path = required(
        OwnPath,
        "run directories: one user's own, seen by the compute nodes under the same path; `%u` is the user's name",
        marks=[Variable("HPCFRUGAL_SPOOL")],
    )
    ledger: Path = required(OwnPath, "the ledger's database file", marks=[Variable("HPCFRUGAL_LEDGER")])
    backend: BackendName = optional(
        one_of(BackendName),
        "`slurm_cli`, `local` (this machine) or `auto`: Slurm if `sbatch` is found",
        default="auto",
        marks=[Variable("HPCFRUGAL_BACKEND")],
    )
    energy_unit: EnergyUnit = optional(
        one_of(EnergyUnit),
        "unit of energies in tables: `J`, `kJ`, `MJ`, `Wh`, `kWh`, `MWh`; `auto`: as fits them",
        default="auto",
        marks=[Variable("HPCFRUGAL_ENERGY_UNIT")],
    )
    sidecar: SidecarSettings = optional(SidecarSettings, default=SidecarSettings())
    carbon: CarbonSettings = optional(CarbonSettings, default=CarbonSettings())
    site: SiteSettings = optional(SiteSettings, default=SiteSettings())

    _origins: ClassVar[Mapping[Keys, SettingOrigin]] = {}
    _tables: ClassVar[Mapping[str, Mapping[str, NamedTable]]] = {}

    def origin(self, *keys: str) -> SettingOrigin:
        """The origin of a value: ``config.origin("carbon", "zone")``."""
        return self._origins.get(keys, _DEFAULT)

    def tables(self, kind: str) -> Mapping[str, NamedTable]:
        """The named tables of one of ``TABLES`` by name, not yet checked."""
        return self._tables.get(kind, {})


_DEFAULT = SettingOrigin("default")


def template_dirs() -> tuple[Path, ...]:
    """Directories of templates that take precedence over the built-in ones, in order of precedence."""
    return (config_dir() / "templates", SITE_DIR / "templates")


def config_files(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The paths of the settings files in order of precedence; they may not exist."""
    return (config_dir(environ) / "config.toml", SITE_DIR / "config.toml")


def settings() -> list[tuple[Keys, SectionKey]]:
    """Each key that holds a value."""
    return [(keys, key) for keys, key in settings_of(Config) if key.section is None]


def variable_of(key: SectionKey) -> str | None:
    """The environment variable that sets a key."""
    return next((one.name for one in key.marks if isinstance(one, Variable)), None)


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """The settings in force.

    Raises:
        InputError: a file or variable has mistakes; all of them at once.
        SetupError: the home directory is needed and unknown.
    """
    config, problems = read_config(environ)
    if problems:
        raise InputError(problems)
    return config


def read_config(environ: Mapping[str, str] = os.environ) -> tuple[Config, list[Problem]]:
    """The settings in force, without those that are wrong, and every problem of every source.

    Raises SetupError if the home directory is needed and unknown.
    """
    problems: list[Problem] = []
    data = data_dir(environ)
    defaults = {"spool": data / "spool", "ledger": data / "ledger.db"}
    values: dict[str, Any] = dict(defaults)
    origins: dict[Keys, SettingOrigin] = {}
    tables: dict[str, dict[str, NamedTable]] = {kind: {} for kind in TABLES}

    def take(layer: Mapping[str, Any], origin_of: Callable[..., SettingOrigin]) -> None:
        """Apply a source: its values replace those of the sources before it."""
        _, mistakes = check(Config, {**defaults, **layer}, TABLES)
        problems.extend(in_line_order((origin_of(*keys), one) for keys, one in mistakes))
        wrong = {keys for keys, _ in mistakes}
        for keys, _ in settings():
            value = _at(layer, keys)
            if value is not None and not any(keys[: len(one)] == one[: len(keys)] for one in wrong):
                _put(values, keys, value)
                origins[keys] = origin_of(*keys)

    for path in reversed(config_files(environ)):
        if (file := TomlFile.read(path, problems)) is not None:
            for kind, found in _named_tables(file, problems).items():
                tables[kind] |= found
            keys_only = {key: value for key, value in file.values.items() if key not in TABLES}
            take(keys_only, SettingOrigin.of_file(file).below)
    variables: dict[Keys, SettingOrigin] = {}
    given: dict[str, Any] = {}
    for keys, key in settings():
        if (name := variable_of(key)) is not None and environ.get(name):
            variables[keys] = SettingOrigin(name)
            _put(given, keys, environ[name])
    take(given, lambda *keys: variables[keys])
    return Config(**values).changed(_origins=origins, _tables=tables), problems


def _at(values: Any, keys: Keys) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _put(values: dict[str, Any], keys: Keys, value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
    values[keys[-1]] = value


def _named_tables(file: TomlFile, problems: list[Problem]) -> dict[str, dict[str, NamedTable]]:
    found: dict[str, dict[str, NamedTable]] = {}
    for kind in TABLES:
        named = file.values.get(kind, {})
        origin = SettingOrigin.of_file(file, kind)
        if isinstance(named, dict) and all(isinstance(values, dict) for values in named.values()):
            found[kind] = {name: NamedTable(name, values, origin.below(name)) for name, values in named.items()}
        else:
            problems.append(Problem(str(origin), f"needs tables with a name each, such as [{kind}.NAME]"))
    return found
