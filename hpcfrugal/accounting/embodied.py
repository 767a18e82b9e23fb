"""Emissions of making nodes (embodied), assigned to jobs by time and by their part of a node. Pure functions.

    ug = kg of the node x 10^9 x elapsed time / lifetime x CPUs that the job held / CPUs of the node

as the GHG Protocol's and Boavizta's methods divide them over a life (https://doc.api.boavizta.org/). The emissions of a
node are an interval, since published figures of like servers differ by a factor of two and more; so are those of a job.
They are shown beside operational emissions and never added to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.units import expand_nodelist

YEAR_S = 31_557_600
"""365.25 days."""


@dataclass(frozen=True, slots=True)
class EmbodiedNodes:
    """Nodes that are alike, as a node list: the emissions of making one, its lifetime and its CPUs as Slurm counts
    them. ``source`` is where the figures are from."""

    nodes: str
    cpus: int
    low_g: int
    high_g: int
    lifetime_s: int
    source: str

    def of(self, cpus: int | Fraction | None, elapsed_ns: int | None) -> tuple[int, int] | None:
        """The part of a job on one of the nodes in micrograms, rounded down; None where CPUs or time are unknown.
        ``cpus`` are those that it held, all where it held more than there are."""
        if cpus is None or elapsed_ns is None:
            return None
        held = min(Fraction(cpus), Fraction(self.cpus)) / self.cpus
        part = Fraction(elapsed_ns, self.lifetime_s * 10**9) * held
        return int(self.low_g * 10**6 * part), int(self.high_g * 10**6 * part)


@lru_cache(4)
def embodied_by_node(classes: tuple[EmbodiedNodes, ...]) -> Mapping[str, EmbodiedNodes]:
    """The class of each node."""
    return {node: one for one in classes for node in expand_nodelist(one.nodes)}
