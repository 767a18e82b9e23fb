"""Slurm's own energy in the ledger, judged by cluster, release and plugin, and compared with jobs that we measured."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hpcfrugal.accounting.slurm_energy import (
    COVERS,
    SAME_BOUNDARY,
    WIDER_BOUNDARY,
    EnergyComparison,
    EnergyUse,
    JudgedEnergy,
    judge_setup,
)
from hpcfrugal.core.units import compress_nodelist
from hpcfrugal.ledger.accounted_slurm import judge_row
from hpcfrugal.ledger.accounted_use import accounted_parts
from hpcfrugal.ledger.clusters import NO_FIGURES, figures_of_clusters
from hpcfrugal.ledger.measured_jobs import (
    MeasuredEnergy,
    is_by_slurm,
    is_of_users_run,
    measured_components,
    measured_node,
    read_by_agents,
)
from hpcfrugal.ledger.queries import JobFilter, iter_jobs
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.slurm.sacct_jobs import SacctJob
from hpcfrugal.spool.cluster_documents import EnergyVerdicts, SetupVerdict, SlurmSetup

_S = 10**9
_REPEATED = 3
"""So many jobs of a node with the same energy, and different times, show a counter that stands still; so many without
any energy show that there is none."""


@dataclass(slots=True)
class AuditedSetup:
    """What was found of a cluster with one release and plugin. ``whys`` counts the reasons of each use; ``bounds`` are
    the ratios that are right, ``boundary`` what our figures were of that were compared."""

    cluster: str
    setup: SlurmSetup | None
    uses: Counter[EnergyUse] = field(default_factory=Counter)
    whys: Counter[tuple[EnergyUse, str]] = field(default_factory=Counter)
    comparison: EnergyComparison | None = None
    boundary: str | None = None
    verdict: EnergyUse = "unusable"
    reasons: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        return self.uses.total()


@dataclass(slots=True)
class _Gathered:
    """The jobs of a setup: with their nodes and judged energy, and the ratios to ours by their boundary."""

    jobs: list[tuple[list[str], JudgedEnergy]] = field(default_factory=list)
    ratios: dict[str, list[tuple[list[str], float]]] = field(default_factory=dict)
    by_node: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Energy and time of the jobs that had one node."""


def audit_energy(connection: sqlite3.Connection, wanted: JobFilter) -> list[AuditedSetup]:
    """The verdict on each cluster, release and plugin of the jobs in the period, in order."""
    figures = {
        cluster: replace(known, verdicts=None, calibration=None)
        for cluster, known in figures_of_clusters(connection).items()
    }
    found: dict[tuple[str, str | None, str | None], tuple[AuditedSetup, _Gathered]] = {}
    for job, parts in accounted_parts(connection, iter_jobs(connection, wanted, details=False)):
        if not parts or not parts[-1].final or parts[-1].start_s is None:
            continue
        row, of_cluster = parts[-1], figures.get(job.cluster, NO_FIGURES)
        setup = of_cluster.facts.setup_at((row.end_s or row.start_s or 0) * _S)
        key = (job.cluster, None, None) if setup is None else (job.cluster, setup.release, setup.plugin)
        audited, gathered = found.setdefault(key, (AuditedSetup(job.cluster, setup), _Gathered()))
        if setup is None:
            unknown: EnergyUse = "unusable"
            audited.uses[unknown] += 1
            audited.whys[unknown, "how Slurm gathers energy there is not known"] += 1
            continue
        judged = judge_row(row, of_cluster, setup, resized=len(parts) > 1)
        _gather(connection, gathered, job, row, judged, setup)
    for audited, gathered in found.values():
        if audited.setup is None:
            audited.reasons = ["how Slurm gathers energy there is not known: import jobs by asking Slurm itself"]
        else:
            _conclude(audited, gathered, audited.setup)
    return [found[key][0] for key in sorted(found, key=lambda key: [part or "" for part in key])]


def _gather(
    connection: sqlite3.Connection,
    gathered: _Gathered,
    job: JobRow,
    row: SacctJob,
    judged: JudgedEnergy,
    setup: SlurmSetup,
) -> None:
    nodes = row.node_names
    gathered.jobs.append((nodes, judged))
    if len(nodes) == 1 and row.elapsed_s:
        gathered.by_node.setdefault(nodes[0], []).append((row.energy_j or row.extern_energy_j or 0, row.elapsed_s))
    ours = _ours(connection, job, COVERS.get(setup.plugin or "")) if judged.use == "measured" else None
    if ours is not None:
        ratio = (judged.energy_j or 0) * 10**6 / ours.energy_uj
        gathered.ratios.setdefault(ours.boundary, []).append((nodes, ratio))


def _ours(connection: sqlite3.Connection, job: JobRow, covers: frozenset[str] | None) -> MeasuredEnergy | None:
    """What we measured of the nodes of a job that had them alone; ``covers``: of these components."""
    if job.totals.sums.measured_uj is None or is_by_slurm(connection, job):
        return None  # with Slurm's own figure it would be compared with itself
    if job.totals.shared or is_of_users_run(connection, job):
        found = read_by_agents(connection, job, covers)
    elif covers is None:
        found = measured_node(connection, job)
    else:
        energy_uj = measured_components(job, covers)
        found = None if energy_uj is None else MeasuredEnergy(energy_uj, "components")
    return found if found is None or covers is None else found._replace(boundary="same components")


def _conclude(audited: AuditedSetup, gathered: _Gathered, setup: SlurmSetup) -> None:
    audited.left_out = sorted(_wrong_nodes(gathered))
    left_out = set(audited.left_out)
    for nodes, judged in gathered.jobs:
        if judged.use != "unusable" and left_out.intersection(nodes):
            judged = JudgedEnergy("unusable", None, "the counter of a node of the job stands still")
        audited.uses[judged.use] += 1
        audited.whys[judged.use, judged.why] += 1
    compared = {
        boundary: [ratio for nodes, ratio in ratios if not left_out.intersection(nodes)]
        for boundary, ratios in gathered.ratios.items()
    }
    # What reads the same says more than what does not.
    audited.boundary = max(compared, key=lambda name: (bool(compared[name]), name != "components"), default=None)
    audited.comparison = EnergyComparison.of(compared[audited.boundary]) if audited.boundary is not None else None
    bounds = WIDER_BOUNDARY if audited.boundary == "components" else SAME_BOUNDARY
    uses = list(audited.uses)
    audited.verdict, audited.reasons = judge_setup(setup.plugin, setup.release, uses, audited.comparison, bounds)


def _wrong_nodes(gathered: _Gathered) -> Iterator[str]:
    """Nodes whose figures repeat whatever the time of the job, or are 0 where those of other nodes are not."""
    any_energy = any(energy_j for some in gathered.by_node.values() for energy_j, _ in some)
    for node, some in gathered.by_node.items():
        times: dict[int, list[int]] = {}
        for energy_j, elapsed_s in some:
            times.setdefault(energy_j, []).append(elapsed_s)
        zeros = times.pop(0, [])
        repeated = any(len(each) >= _REPEATED and max(each) > 2 * min(each) for each in times.values())
        if repeated or (any_energy and not times and len(zeros) >= _REPEATED):
            yield node


def verdicts_of(cluster: str, audited: list[AuditedSetup], version: int, at_ns: int) -> EnergyVerdicts:
    """The verdicts on a cluster as the spool keeps them."""
    own = [one for one in audited if one.cluster == cluster and one.setup is not None]
    setups = tuple(
        SetupVerdict(
            one.setup.release,
            one.setup.plugin,
            one.verdict,
            0 if one.comparison is None else one.comparison.jobs,
            None if one.comparison is None else round(one.comparison.median, 4),
        )
        for one in own
        if one.setup is not None
    )
    left_out = compress_nodelist(sorted({node for one in own for node in one.left_out}))
    return EnergyVerdicts(cluster, version, at_ns, setups, left_out)
