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
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PrivateAttr

from hpcfrugal.core.directories import config_dir, data_dir
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.format import EnergyUnit
from hpcfrugal.core.pue import MonthlyPue
from hpcfrugal.core.quick import dataclass
from hpcfrugal.settings.origin import SettingOrigin
from hpcfrugal.settings.section import NamedTable, Section, check, model_in, settings_of
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


class SidecarSettings(Section):
    """``[sidecar]``."""

    what = "[sidecar]"

    python: Annotated[Interpreters, Variable("HPCFRUGAL_SIDECAR_PYTHON")] = Field(
        default_factory=lambda: (sys.executable, "python3", "/usr/bin/python3"),
        description="interpreters that the sidecar tries on a node, in this order; in the variable with colons between",
    )


class CarbonSettings(Section):
    """``[carbon]``."""

    what = "[carbon]"

    zone: Annotated[Name | None, Variable("HPCFRUGAL_ZONE")] = Field(
        default=None, description="grid zone of the cluster, such as `FR`"
    )
    provider: Annotated[Name | None, Variable("HPCFRUGAL_PROVIDER")] = Field(
        default=None, description="provider of its carbon intensity: a kind, or the name of a table `[forecasts.NAME]`"
    )
    pue: Annotated[PueSetting | None, Variable("HPCFRUGAL_PUE")] = Field(
        default=None, description="power usage effectiveness of the data centre, such as `1.2`, or a table by month"
    )

    @property
    def constant_pue(self) -> float | None:
        """The PUE that a run records at its submission; one by month is applied when grams are computed."""
        return None if isinstance(self.pue, MonthlyPue) else self.pue


class SiteSettings(Section):
    """``[site]``."""

    what = "[site]"

    cluster: Name | None = Field(
        default=None, description="the cluster of texts of sacct that do not name it (`ledger import sacct --from`)"
    )
    spool: AbsolutePath | None = Field(
        default=None, description="the site's spool, into which the agents of nodes write (`site agent`)"
    )
    user_spools: PathByUser | None = Field(
        default=None,
        description="the spools of users, `%u` is the name of one (`site sync`); else `users/%u` in the site's",
    )
    operators: SingleLine | None = Field(
        default=None, description="group that may read the files of the agents; others may not (`site agent`)"
    )
    ledger: AbsolutePath | None = Field(
        default=None,
        description="the site's ledger, with the jobs of all users (`site sync`, `site publish`, `report --site`)",
    )
    published: AbsolutePath | None = Field(
        default=None, description="where users find ledgers of their own (`site publish`, `report --published`)"
    )
    energy_price: Annotated[float, number(0, 1000)] | None = Field(
        default=None, description="price of a kWh, for the cost in reports"
    )
    currency: Name | None = Field(default=None, description="currency of the price; `EUR` where it is not set")
    managers: NamesByKey | None = Field(
        default=None, description="users who get the ledger of an account, beside its coordinators in Slurm"
    )


class Config(Section):
    """The settings in force."""

    what = "hpcfrugal"

    spool: Annotated[OwnPath, Variable("HPCFRUGAL_SPOOL")] = Field(
        description="run directories: one user's own, seen by the compute nodes under the same path; `%u` is the user's"
        " name"
    )
    ledger: Annotated[OwnPath, Variable("HPCFRUGAL_LEDGER")] = Field(description="the ledger's database file")
    backend: Annotated[BackendName, Variable("HPCFRUGAL_BACKEND")] = Field(
        default="auto", description="`slurm_cli`, `local` (this machine) or `auto`: Slurm if `sbatch` is found"
    )
    energy_unit: Annotated[EnergyUnit, Variable("HPCFRUGAL_ENERGY_UNIT")] = Field(
        default="auto",
        description="unit of energies in tables: `J`, `kJ`, `MJ`, `Wh`, `kWh`, `MWh`; `auto`: as fits them",
    )
    sidecar: SidecarSettings = SidecarSettings()
    carbon: CarbonSettings = CarbonSettings()
    site: SiteSettings = SiteSettings()

    _origins: dict[Keys, SettingOrigin] = PrivateAttr(default_factory=dict)
    _tables: dict[str, dict[str, NamedTable]] = PrivateAttr(default_factory=dict)

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


def settings() -> list[tuple[Keys, Any]]:
    """Each key that holds a value, with pydantic's description of the field."""
    return [(keys, field) for keys, field in settings_of(Config) if model_in(field.annotation, Section) is None]


def variable_of(field: Any) -> str | None:
    """The environment variable that sets a field."""
    return next((one.name for one in field.metadata if isinstance(one, Variable)), None)


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
        problems.extend(Problem(str(origin_of(*keys)), one.what, one.hint) for keys, one in mistakes)
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
    for keys, field in settings():
        if (name := variable_of(field)) is not None and environ.get(name):
            variables[keys] = SettingOrigin(name)
            _put(given, keys, environ[name])
    take(given, lambda *keys: variables[keys])
    config = Config.model_validate(values)
    config._origins, config._tables = origins, tables
    return config, problems


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
