"""Settings, from the nearest source that states them: environment, user file, site file, default.

A command-line option stands above all of these; the commands apply it themselves. Files are TOML:

    spool = "/scratch/$USER/hpcfrugal"           # run directories, one user's own; seen by the compute nodes
    ledger = "~/.local/share/hpcfrugal/ledger.db"
    backend = "auto"                             # auto | slurm_cli | local
    [sidecar]
    python = ["python3", "/usr/bin/python3"]     # interpreters to try on a node, in this order
    [carbon]
    zone = "FR"                                  # grid zone of the cluster
    provider = "energy-charts"                   # who tells its carbon intensity; by the zone where not given
    pue = 1.2                                    # what the data centre draws for each unit that its machines do

Each key has an environment variable: ``HPCFRUGAL_SPOOL``, ``HPCFRUGAL_LEDGER``, ``HPCFRUGAL_BACKEND``,
``HPCFRUGAL_SIDECAR_PYTHON`` (colon-separated), ``HPCFRUGAL_ZONE``, ``HPCFRUGAL_PROVIDER``,
``HPCFRUGAL_PUE``. Besides the keys a file may hold named entries of the kinds in ``TABLES``, such as
``[meters.rack3]``; whoever uses them says what may stand in one.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcfrugal.core.directories import config_dir, data_dir
from hpcfrugal.core.errors import InputError, Problem, did_you_mean

SITE_DIR = Path("/etc/hpcfrugal")
BACKENDS = ("auto", "slurm_cli", "local")
TABLES = ("forecasts", "meters", "nodes", "queues")
"""Kinds of named entries. An entry of the user's file hides the site's of the same name as a whole."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A table ``[kind.name]`` of a settings file. ``origin`` is ``FILE: kind.name``, as an error shows it."""

    name: str
    values: Mapping[str, Any]
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """The settings in force. ``origins`` maps each key to where its value came from, ``tables`` each of
    ``TABLES`` to its entries by name."""

    spool: Path
    ledger: Path
    backend: str
    sidecar_python: tuple[str, ...]
    carbon_zone: str | None
    carbon_provider: str | None
    carbon_pue: float | None
    origins: Mapping[str, str]
    tables: Mapping[str, Mapping[str, ConfigEntry]]


def template_dirs(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where templates are looked for before the built-in ones, nearest first."""
    return (config_dir(environ) / "templates", SITE_DIR / "templates")


def config_files(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The settings files, nearest first, whether they exist or not."""
    return (config_dir(environ) / "config.toml", SITE_DIR / "config.toml")


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError('needs a path, such as "~/hpcfrugal/spool"')
    try:
        path = Path(os.path.expandvars(value)).expanduser()
    except RuntimeError:
        if value.partition("/")[0] == "~":
            raise ValueError("starts with ~, but your home directory is not known: set HOME") from None
        raise ValueError(f"names a user that does not exist: {value!r}") from None
    if not path.is_absolute():
        raise ValueError("needs an absolute path, or one that starts with ~")
    return path


def _backend(value: Any) -> str:
    if value not in BACKENDS:
        raise ValueError(f"needs one of {', '.join(BACKENDS)}")
    return str(value)


def _pythons(value: Any) -> tuple[str, ...]:
    names = value.split(":") if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
        raise ValueError('needs a list of interpreters, such as ["python3", "/usr/bin/python3"]')
    return tuple(names)


def zone_name(value: Any) -> str:
    """The name of a grid zone or a provider. Raises ValueError where it is none."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError('needs a name of letters, digits, "_", "." and "-", such as "FR"')
    return value


def _pue(value: Any) -> float:
    try:
        pue = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        pue = math.nan
    if not 1 <= pue <= 10:
        raise ValueError("needs a number from 1 to 10, such as 1.2")
    return pue


_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "spool": ("HPCFRUGAL_SPOOL", _path),
    "ledger": ("HPCFRUGAL_LEDGER", _path),
    "backend": ("HPCFRUGAL_BACKEND", _backend),
    "sidecar.python": ("HPCFRUGAL_SIDECAR_PYTHON", _pythons),
    "carbon.zone": ("HPCFRUGAL_ZONE", zone_name),
    "carbon.provider": ("HPCFRUGAL_PROVIDER", zone_name),
    "carbon.pue": ("HPCFRUGAL_PUE", _pue),
}


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _take_entries(path: Path, data: dict[str, Any], problems: list[Problem]) -> dict[str, dict[str, ConfigEntry]]:
    """Take the named entries out of ``data``."""
    tables: dict[str, dict[str, ConfigEntry]] = {}
    for kind in TABLES:
        entries = data.pop(kind, {})
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            problems.append(Problem(f"{path}: {kind}", f"needs tables with a name each, such as [{kind}.NAME]"))
            continue
        tables[kind] = {name: ConfigEntry(name, values, f"{path}: {kind}.{name}") for name, values in entries.items()}
    return tables


def _read_file(path: Path, problems: list[Problem], tables: dict[str, dict[str, ConfigEntry]]) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        problems.append(Problem(str(path), f"cannot be read: {error.strerror}"))
        return {}
    import tomllib  # 2 ms, and most users have no file

    try:
        parsed = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.append(Problem(f"{path}:{line}", "is not UTF-8 text", "save the file as UTF-8"))
        return {}
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(str(path), f"is not valid TOML: {error}"))
        return {}
    for kind, entries in _take_entries(path, parsed, problems).items():
        # Files are read nearest first, so an entry that is there hides this one.
        tables[kind] = {**entries, **tables[kind]}
    flat = _flatten(parsed)
    for key in list(flat):
        if key not in _KEYS:
            hint = did_you_mean(key, [*_KEYS, *TABLES])
            problems.append(Problem(f"{path}: {key}", "is not a setting of hpcfrugal", hint))
            del flat[key]
    return flat


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Read the settings in force.

    Raises:
        InputError: a file or variable holds something wrong; every problem of every source at once.
        SetupError: a home directory is needed, and not known.
    """
    problems: list[Problem] = []
    tables: dict[str, dict[str, ConfigEntry]] = {kind: {} for kind in TABLES}
    sources: list[tuple[str, dict[str, Any]]] = [
        ("environment", {key: environ[var] for key, (var, _) in _KEYS.items() if environ.get(var)})
    ]
    sources += [(str(path), _read_file(path, problems, tables)) for path in config_files(environ)]
    values: dict[str, Any] = {
        "spool": data_dir(environ) / "spool",
        "ledger": data_dir(environ) / "ledger.db",
        "backend": "auto",
        "sidecar.python": (),
        "carbon.zone": None,
        "carbon.provider": None,
        "carbon.pue": None,
    }
    origins = dict.fromkeys(values, "default")
    for name, table in reversed(sources):
        for key, raw in table.items():
            variable, parse = _KEYS[key]
            try:
                values[key] = parse(raw)
                origins[key] = variable if name == "environment" else name
            except ValueError as error:
                where = variable if name == "environment" else f"{name}: {key}"
                problems.append(Problem(where, str(error)))
    if problems:
        raise InputError(problems)
    return Config(
        spool=values["spool"],
        ledger=values["ledger"],
        backend=values["backend"],
        sidecar_python=values["sidecar.python"],
        carbon_zone=values["carbon.zone"],
        carbon_provider=values["carbon.provider"],
        carbon_pue=values["carbon.pue"],
        origins=origins,
        tables=tables,
    )
