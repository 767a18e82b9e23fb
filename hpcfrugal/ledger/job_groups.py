"""Groups of jobs: how many they are, what they used, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import NamedTuple

from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.selection import COUNTS
from hpcfrugal.ledger.sums import EnergySums, total_of
from hpcfrugal.ledger.total_rows import CarbonPlace

Label = str | None
"""What jobs of a group have in common; None: they do not have it."""


@dataclass(slots=True)
class JobCounts:
    """How many jobs, by ``COUNTS``."""

    jobs: int = 0
    not_started: int = 0
    known: int = 0
    incomplete: int = 0
    with_co2e: int = 0
    shared: int = 0
    lacking_idle: int = 0

    def add(self, numbers: Sequence[int]) -> None:
        """Add numbers in the order of ``COUNTS``."""
        for name, number in zip(COUNTS, numbers, strict=True):
            setattr(self, name, getattr(self, name) + number)


@dataclass(slots=True)
class Group:
    """Jobs with the same labels: how many they are, and what they used.

    ``elapsed_ns`` is their own time, None where none is known, as of nodes and components. ``places``: where their
    energy counts, and how many jobs that are. ``overlapping``: jobs that have the same energy of a node or a GPU, which
    the sums have twice.
    """

    labels: tuple[Label, ...]
    counts: JobCounts = field(default_factory=JobCounts)
    elapsed_ns: int | None = None
    components: dict[str, EnergySums] = field(default_factory=dict)
    places: dict[CarbonPlace, JobCounts] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=set)
    overlapping: list[str] = field(default_factory=list)

    @property
    def sums(self) -> EnergySums:
        """All components together."""
        return total_of(self.components.values())

    def add(self, row: GroupRow) -> None:
        """Add a row of a selection."""
        self.counts.add(row.counts)
        self.places.setdefault(row.place, JobCounts()).add(row.counts)
        if row.component:
            old = self.components.get(row.component)
            self.components[row.component] = row.sums if old is None else total_of((old, row.sums))
        if row.scope is not None and row.counts[0]:
            self.scopes.add(row.scope)
        if row.elapsed_ns is not None:
            self.elapsed_ns = (self.elapsed_ns or 0) + row.elapsed_ns


class GroupRow(NamedTuple):
    """A row of a selection: jobs with the same labels, place, scope and component."""

    labels: tuple[Label, ...]
    place: CarbonPlace
    scope: str | None
    component: str
    counts: Sequence[int]
    elapsed_ns: int | None
    sums: EnergySums
