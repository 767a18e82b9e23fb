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
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hpcfrugal.accounting.green_algorithms import MEMORY_W_PER_GB, METHOD, GreenAlgorithmsPower
from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.core.pue import Pue, mean_pue
from hpcfrugal.settings.config import Config
from hpcfrugal.settings.section import Mistakes, NamedSection, NamedTable, Section, check, read_table, read_tables
from hpcfrugal.settings.values import PueSetting, number

_Watts = Annotated[float, number(0, 1e5)]


class PartitionFigures(Section):
    """``[methods.green-algorithms.partitions.NAME]``: figures in place of those of the site."""

    what = "a partition of a method"

    core_power_w: _Watts | None = None
    gpu_power_w: _Watts | None = None
    memory_w_per_gb: Annotated[float, number(0, 100)] | None = None
    pue: PueSetting | None = None
    g_per_kwh: Annotated[float, number(0, 1e4)] | None = None


def _partitions_of(value: Any) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(each, Mapping) for each in value.values()):
        raise ValueError("needs a table for each partition")
    found, problems = {}, list[Problem]()
    for name, figures in value.items():
        section, mistakes = check(PartitionFigures, figures)
        problems += [
            Problem(".".join(("partitions", name, *keys)), problem.what, problem.hint) for keys, problem in mistakes
        ]
        found[name] = section
    if problems:
        raise Mistakes(*problems)
    return found


class GreenAlgorithmsSettings(NamedSection):
    """``[methods.green-algorithms]``."""

    what = "a method"

    core_power_w: _Watts = Field(examples=["6.3"])
    gpu_power_w: _Watts | None = None
    memory_w_per_gb: Annotated[float, number(0, 100)] = MEMORY_W_PER_GB
    pue: PueSetting | None = None
    g_per_kwh: Annotated[float, number(0, 1e4)] | None = None
    partitions: Annotated[dict[str, PartitionFigures], BeforeValidator(_partitions_of)] = Field(default_factory=dict)

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
