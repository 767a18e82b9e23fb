"""Tables of settings files, as the loader of the settings passes them on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcfrugal.settings.origin import SettingOrigin
from hpcfrugal.settings.section import NamedTable
from hpcfrugal.settings.toml_file import TomlFile


def named_table(kind: str, name: str, values: Mapping[str, Any], path: str = "/f.toml") -> NamedTable:
    """A table ``[kind.name]`` of a file whose lines are not known."""
    file = TomlFile(Path(path), "", {kind: {name: values}})
    return NamedTable(name, values, SettingOrigin.of_file(file, kind, name))
