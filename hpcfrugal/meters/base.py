"""What a meter gives: series of samples of nodes, and the two ways in which it can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

SECOND_NS = 10**9

Quantity = Literal["power", "energy"]


@dataclass(frozen=True, slots=True)
class PowerSeries:
    """Samples of one node in the order in which they came: (nanoseconds since the epoch, watts or joules).

    ``power``: a gauge of watts. ``energy``: a counter of joules. Values are as read; NaN may be among them.
    """

    quantity: Quantity
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an answer of the meter cannot be used for one node."""

    reason: str


Answer = PowerSeries | Refusal


@dataclass(frozen=True, slots=True)
class Terms:
    """How a meter's samples are to be taken.

    ``step_ns`` is the usual distance of two samples; what lies further apart than ``max_gap_ns`` is not bridged; a
    power above ``max_power_w`` is no reading; data may come up to ``settle_ns`` after a job's end.
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
        """The kind of the meter, as it stands beside each figure."""
        ...

    @property
    def detail(self) -> str:
        """Where the figures come from, for a reader."""
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

    def fetch(self, nodes: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, Answer]:
        """Series of these nodes over ``[start_ns, end_ns]`` of wall time. A node without any data may be left out.

        Raises ``SourceError`` where the meter does not answer.
        """
        ...


class PowerSource(Protocol):
    """Something that tells the power of a node now."""

    @property
    def source(self) -> str: ...

    def power_w(self, node: str) -> float:
        """Watts that the node draws now. Raises ``SourceError`` where that is not known."""
        ...

    def close(self) -> None:
        """Give up what is held open between readings."""
        ...


def coverage(nodes: Sequence[str] | None) -> Callable[[str], bool]:
    """Tells whether a node is one of ``nodes`` (None: any is), where either name may lack its domain."""
    if nodes is None:
        return lambda node: True
    whole, bare = set(nodes), {short(name) for name in nodes}

    def covers(node: str) -> bool:
        return node in whole or (node in bare if short(node) == node else short(node) in whole)

    return covers


def same_host(one: str, other: str) -> bool:
    """Whether two names mean one machine: they are equal, or one is the other without its domain."""
    return one == other or short(one) == other or one == short(other)


def short(node: str) -> str:
    """The host name without its domain."""
    return node.partition(".")[0]
