"""What all meters have in common: their keys in the settings, and the samples that they return.

docs/meters.md describes the keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.host import short_name
from hpcfrugal.core.section import ValueType, optional, required
from hpcfrugal.core.time import span_us
from hpcfrugal.settings.section import NamedSection
from hpcfrugal.settings.values import Nodes, SingleLine, number, time_span

SECOND_NS = 10**9

_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")

Quantity = Literal["power", "energy"]


Unit = Literal["W", "kW", "J", "kJ", "Wh", "kWh"]
UNITS: dict[Unit, tuple[Quantity, float]] = {
    "W": ("power", 1.0),
    "kW": ("power", 1e3),
    "J": ("energy", 1.0),
    "kJ": ("energy", 1e3),
    "Wh": ("energy", 3.6e3),
    "kWh": ("energy", 3.6e6),
}
"""A gauge's unit of power or a counter's unit of energy, with its factor to watts or joules."""


@dataclass(frozen=True, slots=True)
class PowerSeries:
    """Samples of one node in their order of arrival: (nanoseconds since the epoch, watts or joules).

    ``power``: a gauge of watts. ``energy``: a counter of joules. Values are as read, and may be NaN.
    """

    quantity: Quantity
    points: Sequence[tuple[int, float]]

    @classmethod
    def of(cls, values: Mapping[int, float], unit: Unit) -> PowerSeries:
        """The series of values in ``unit`` by their time."""
        quantity, factor = UNITS[unit]
        return cls(quantity, [(at_ns, value * factor) for at_ns, value in sorted(values.items())])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the answer of a meter cannot be used for a node."""

    reason: str


MeterAnswer = PowerSeries | Refusal


@dataclass(frozen=True, slots=True)
class Terms:
    """How the samples of a meter are integrated.

    ``step_ns`` is the usual time between two samples. Gaps longer than ``max_gap_ns`` are not bridged. A power above
    ``max_power_w`` is an error. Samples may arrive up to ``settle_ns`` after the end of a job.
    """

    step_ns: int = 10 * SECOND_NS
    max_gap_ns: int = 30 * SECOND_NS
    max_power_w: float = 20_000.0
    settle_ns: int = 600 * SECOND_NS


def _file_name_of(value: Any) -> str:
    if _FILE_NAME.fullmatch(value) is None:
        raise ValueError('has a name that does not fit a file name: use 1 to 40 letters, digits, "_" and "-"')
    return str(value)


class Meter(NamedSection):
    """A table ``[meters.NAME]``: its keys, and what reads the power by them."""

    what = "this kind of meter"

    name: str = required(ValueType(_file_name_of))
    kind: str = required(SingleLine)
    nodes: tuple[str, ...] | None = optional(Nodes)
    """Nodes that have the meter; None: all."""
    cluster: str | None = optional(SingleLine)
    """Only jobs of this cluster; None: of any."""
    step: timedelta = optional(time_span(0.001, 3600, "s"), default=timedelta(seconds=10))
    """The usual time between two samples."""
    max_gap: timedelta | None = optional(time_span(0.001, 86_400, "s"))
    """Longer gaps are not bridged; None: three steps."""
    max_power_w: float = optional(number(1, 10_000_000), default=20_000.0)
    """A higher power is an error."""
    settle: timedelta = optional(time_span(0, 7 * 86_400, "s"), default=timedelta(minutes=10))
    """How long after the end of a job its last samples may arrive."""

    @property
    def source(self) -> str:
        """The kind, which is shown with each figure."""
        return self.kind

    @property
    def detail(self) -> str:
        """The source of the samples, as text for the user."""
        raise NotImplementedError

    @property
    def terms(self) -> Terms:
        """How its samples are integrated."""
        gap = self.max_gap or 3 * self.step
        return Terms(span_us(self.step) * 1000, span_us(gap) * 1000, self.max_power_w, span_us(self.settle) * 1000)

    def fetch(self, nodes: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, MeterAnswer]:
        """Series of these nodes over ``[start_ns, end_ns]`` of wall time. A node without samples may be left out.

        Raises ``SourceError`` if the meter does not answer.
        """
        raise NotImplementedError


def bmc_power_w(power_w: float | None) -> float:
    """The power from a BMC. Raises ``SourceError`` for None and for 0 W, which many return without a reading."""
    if not power_w:
        raise SourceError("the BMC returned no power reading" + (" (0 W)" if power_w == 0 else ""))
    return power_w


def node_matcher(nodes: Sequence[str] | None) -> Callable[[str], bool]:
    """A test whether a node is one of ``nodes`` (None: any node); either name may have a domain."""
    if nodes is None:
        return lambda node: True
    whole, bare = set(nodes), {short_name(name) for name in nodes}

    def covers(node: str) -> bool:
        return node in whole or (node in bare if short_name(node) == node else short_name(node) in whole)

    return covers


def same_host(one: str, other: str) -> bool:
    """Whether two names mean the same machine: they are equal, or one is the other without its domain."""
    return one == other or short_name(one) == other or one == short_name(other)
