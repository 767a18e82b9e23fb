"""What was read of a node over a period, by channel, and how it is divided."""

from __future__ import annotations

from dataclasses import field

from hpcfrugal.accounting.balance import AttemptName, Balance
from hpcfrugal.core.quick import dataclass


@dataclass(slots=True)
class NodeChannel:
    """One counter of a node with its division. ``counted``: it is added up to the node's energy.

    ``idle_known`` and ``idle_lacking``: whether the idle power is known for some, and not for some, of what was read.
    """

    component: str
    domain: str
    source: str
    boundary: str
    quality: str
    counted: bool
    idle_known: bool = False
    idle_lacking: bool = False
    sum: Balance = field(default_factory=Balance)


@dataclass(slots=True)
class NodeSum:
    """A node over the period. ``jobs`` are all that were sampled on it in that time."""

    cluster: str
    node: str
    channels: dict[tuple[str, str, str], NodeChannel] = field(default_factory=dict)
    jobs: set[AttemptName] = field(default_factory=set)
    first_wall_ns: int | None = None
    last_wall_ns: int | None = None

    def note_reading(self, first_ns: int, last_ns: int) -> None:
        """It was read from one wall time to another."""
        self.first_wall_ns = min(first_ns, first_ns if self.first_wall_ns is None else self.first_wall_ns)
        self.last_wall_ns = max(last_ns, last_ns if self.last_wall_ns is None else self.last_wall_ns)

    @property
    def total(self) -> Balance:
        """The sum of the channels that count."""
        total = Balance()
        for channel in self.channels.values():
            if channel.counted:
                total.merge(channel.sum)
        return total
