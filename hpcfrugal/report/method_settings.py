"""Figures for named methods: the tables ``[methods.NAME]`` of the settings.

[methods.green-algorithms]
core_power_w = 6.3          # design power of a CPU over its cores
gpu_power_w = 300
pue = 1.15
g_per_kwh = 253

[methods.green-algorithms.partitions.gpu]
core_power_w = 4.8
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcfrugal.accounting.green_algorithms import MEMORY_W_PER_GB, METHOD, GreenAlgorithmsPower
from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.core.pue import Pue, mean_pue
from hpcfrugal.core.section import Fault, Faults, ValueType, optional, required
from hpcfrugal.settings.config import Config
from hpcfrugal.settings.section import NamedSection, NamedTable, SettingsSection, read_table, read_tables
from hpcfrugal.settings.values import PueSetting, number

_Watts = number(0, 1e5)
_WattsPerGb = number(0, 100)
_Intensity = number(0, 1e4)


class PartitionFigures(SettingsSection):
    """``[methods.green-algorithms.partitions.NAME]``: figures in place of those of the site."""

    what = "a partition of a method"

    core_power_w: float | None = optional(_Watts)
    gpu_power_w: float | None = optional(_Watts)
    memory_w_per_gb: float | None = optional(_WattsPerGb)
    pue: Pue | None = optional(PueSetting)
    g_per_kwh: float | None = optional(_Intensity)


def _partitions_of(value: Any) -> Mapping[str, PartitionFigures]:
    if not isinstance(value, Mapping) or not all(isinstance(each, Mapping) for each in value.values()):
        raise ValueError("needs a table for each partition")
    found = dict[str, PartitionFigures]()
    faults = list[Fault]()
    for name, figures in value.items():
        section, wrong = PartitionFigures.checked(figures)
        faults += (fault.below(name) for fault in wrong)
        if section is not None:
            found[name] = section
    if faults:
        raise Faults(*faults)
    return found


class GreenAlgorithmsSettings(NamedSection):
    """``[methods.green-algorithms]``."""

    what = "a method"

    core_power_w: float = required(_Watts, "", "6.3")
    gpu_power_w: float | None = optional(_Watts)
    memory_w_per_gb: float = optional(_WattsPerGb, default=MEMORY_W_PER_GB)
    pue: Pue | None = optional(PueSetting)
    g_per_kwh: float | None = optional(_Intensity)
    partitions: Mapping[str, PartitionFigures] = optional(ValueType(_partitions_of), default={})

    def power(self, partition: str | None, pue: Pue | None, start_ns: int, end_ns: int) -> GreenAlgorithmsPower:
        """The figures of a partition and a job's time; ``pue`` where the method has none of its own."""
        own = self.partitions.get(partition or "", PartitionFigures())

        def of(name: str) -> Any:
            value = getattr(own, name)
            return getattr(self, name) if value is None else value

        mean = mean_pue(of("pue") or pue, start_ns, end_ns)
        return GreenAlgorithmsPower(of("core_power_w"), of("gpu_power_w"), of("memory_w_per_gb"), mean, of("g_per_kwh"))


def read_methods(tables: Mapping[str, NamedTable]) -> dict[str, GreenAlgorithmsSettings]:
    """The figures of each method.

    Raises:
        InputError: every mistake in any of them at once.
    """
    return read_tables(tables, _read)


def _read(table: NamedTable, problems: list[Problem]) -> GreenAlgorithmsSettings | None:
    if table.name != METHOD:
        problems.append(Problem(str(table.origin), "is not a method", did_you_mean(table.name, [METHOD])))
        return None
    return read_table(GreenAlgorithmsSettings, table, problems)


def read_green_algorithms(config: Config) -> GreenAlgorithmsSettings:
    """The figures of the method.

    Raises:
        InputError: there are none, or they have mistakes.
    """
    found = read_methods(config.tables("methods"))
    if METHOD not in found:
        example = f"put [methods.{METHOD}] with core_power_w, gpu_power_w, pue and g_per_kwh into the settings"
        raise InputError.at("--method", f"the settings have no figures for {METHOD}", example)
    return found[METHOD]
