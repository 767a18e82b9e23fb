"""Energy of jobs that this program measured, to compare Slurm's figures and the model with."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import NamedTuple

from hpcfrugal.ledger.accounted_energy import SLURM_ENERGY
from hpcfrugal.ledger.rows import JobRow

LEAST_COVERAGE = 0.9
"""Of a job that was measured for a smaller part of its time, the rest is not extrapolated."""

LEAST_NS = 60 * 10**9
"""In shorter jobs the edges, which readings and Slurm put at different instants, are too large a part."""


class MeasuredEnergy(NamedTuple):
    """Microjoules, and the boundary that they are of."""

    energy_uj: int
    boundary: str


def measured_components(job: JobRow, components: Collection[str]) -> int | None:
    """The energy of these components of a job, over all of its time; None where any of it was not measured.

    Of components that are missing in the job, as the memory is where the processor's sensor includes it, there is none.
    """
    own = [row.sums for row in job.energy if row.component in components]
    if not own or any(sums.lacking or sums.modelled_uj is not None or sums.measured_uj is None for sums in own):
        return None
    covered_ns, elapsed_ns = sum(sums.covered_ns for sums in own), sum(sums.elapsed_ns for sums in own)
    if not job.elapsed_ns or job.elapsed_ns < LEAST_NS or covered_ns < LEAST_COVERAGE * elapsed_ns:
        return None
    return sum(sums.measured_uj or 0 for sums in own) * elapsed_ns // covered_ns or None


_OF_NODES = f"""
SELECT source, sum(energy_uj), count(DISTINCT node), sum(coalesce(lasted_ns, 0) - unmeasured_ns)
FROM channels JOIN channel_kinds USING (kind)
WHERE job = ? AND component = 'node' AND quality = 'measured' AND source != '{SLURM_ENERGY}' AND energy_uj NOT NULL
GROUP BY source ORDER BY 4 DESC, 1
"""


def measured_node(connection: sqlite3.Connection, job: JobRow) -> MeasuredEnergy | None:
    """The energy of a job's whole nodes by a sensor or meter of them, else that of their components together; None
    where neither was measured for all of its time."""
    for _, energy_uj, nodes, measured_ns in connection.execute(_OF_NODES, (job.job,)):
        whole_ns = (job.elapsed_ns or 0) * len(job.nodes)
        if whole_ns >= LEAST_NS and nodes == len(job.nodes) and measured_ns >= LEAST_COVERAGE * whole_ns:
            return MeasuredEnergy(energy_uj * whole_ns // min(measured_ns, whole_ns), "node")
    if any(row.component == "node" for row in job.energy):
        return None
    energy_uj = measured_components(job, {row.component for row in job.energy})
    return None if energy_uj is None else MeasuredEnergy(energy_uj, "components")
