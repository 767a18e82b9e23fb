"""The interfaces of meters and power sources, and the samples that they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hpcfrugal.core.errors import SourceError

SECOND_NS = 10**9

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
    """Samples of one node in the order in which they arrived: (nanoseconds since the epoch, watts or joules).

    ``power``: a gauge of watts. ``energy``: a counter of joules. Values are as read; NaN may be among them.
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
    """Why the meter's answer cannot be used for one node."""

    reason: str


MeterAnswer = PowerSeries | Refusal


@dataclass(frozen=True, slots=True)
class Terms:
    """How the samples of a meter are integrated.

    ``step_ns`` is the usual distance of two samples; samples further apart than ``max_gap_ns`` are not bridged; a power
    above ``max_power_w`` is not a reading; samples may arrive up to ``settle_ns`` after a job's end.
    """

    step_ns: int = 10 * SECOND_NS
    max_gap_ns: int = 30 * SECOND_NS
    max_power_w: float = 20_000.0
    settle_ns: int = 600 * SECOND_NS


class Meter(Protocol):
    """A source of series, such as one table ``[meters.NAME]`` of the settings."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str:
        """The kind of the meter, given with each energy."""
        ...

    @property
    def detail(self) -> str:
        """Where the samples come from, for the user."""
        ...

    @property
    def nodes(self) -> tuple[str, ...] | None:
        """Nodes that have this meter, None for all."""
        ...

    @property
    def cluster(self) -> str | None:
        """The cluster whose jobs have this meter, None for any."""
        ...

    @property
    def terms(self) -> Terms: ...

    def fetch(self, nodes: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, MeterAnswer]:
        """Series of these nodes over ``[start_ns, end_ns]`` of wall time. A node without samples may be left out.

        Raises ``SourceError`` if the meter does not answer.
        """
        ...


class PowerSource(Protocol):
    """Something that reads the present power of a node."""

    @property
    def source(self) -> str: ...

    def power_w(self, node: str) -> float:
        """Watts that the node draws now. Raises ``SourceError`` if there is no reading."""
        ...

    def close(self) -> None:
        """Close what is kept open between readings."""
        ...


def bmc_power_w(power_w: float | None) -> float:
    """The power from a BMC. Raises ``SourceError`` for none, and for 0 W, which many return without a reading."""
    if not power_w:
        raise SourceError("the BMC returned no power reading" + (" (0 W)" if power_w == 0 else ""))
    return power_w


def node_matcher(nodes: Sequence[str] | None) -> Callable[[str], bool]:
    """A test whether a node is one of ``nodes`` (None: any node), with or without the domain in either name."""
    if nodes is None:
        return lambda node: True
    whole, bare = set(nodes), {short_name(name) for name in nodes}

    def covers(node: str) -> bool:
        return node in whole or (node in bare if short_name(node) == node else short_name(node) in whole)

    return covers


def same_host(one: str, other: str) -> bool:
    """Whether two names mean one machine: they are equal, or one is the other without its domain."""
    return one == other or short_name(one) == other or one == short_name(other)


def short_name(node: str) -> str:
    """The host name without its domain."""
    return node.partition(".")[0]
