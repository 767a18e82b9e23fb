"""Slurm's own energy of a job in the ledger: what it is worth, by its row of sacct and what is known of the cluster.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcfrugal.accounting.slurm_energy import (
    COVERS,
    UNKNOWN_NODE_W,
    GatheredJob,
    JudgedEnergy,
    PlausiblePower,
    StepEnergy,
    judge_energy,
)
from hpcfrugal.ledger.clusters import ClusterFigures
from hpcfrugal.slurm.sacct_jobs import SacctJob
from hpcfrugal.spool.cluster_documents import NodeClass, SlurmSetup

_S = 10**9
_MIB_PER_GB = 10**9 / 2**20

_BASE_W, _CORE_W, _GB_W, _GPU_W = 300.0, 25.0, 0.5, 1500.0
"""The most that a node may draw: fans, disks and network, each core, each GB of memory, each GPU. Generous, since a
figure above it is no reading: CPUs of servers draw 3 to 15 W a core, the largest GPUs 1,200 W."""

_IDLE_SHARE = 0.5
_COMPONENT_LEAST_W = 1.0


def had_nodes_alone(row: SacctJob, figures: ClusterFigures) -> bool | None:
    """Whether a job had all CPUs of its nodes, which no partition lets others use too; None: not known."""
    classes = _classes(row.node_names, figures)
    if row.cpus is None or not classes or None in classes:
        return None
    known = [one for one in classes if one is not None]
    return not any(one.oversubscribed for one in known) and row.cpus >= sum(one.cpus for one in known)


def judge_row(row: SacctJob, figures: ClusterFigures, setup: SlurmSetup, *, resized: bool = False) -> JudgedEnergy:
    """What Slurm's figure of a job is worth by itself."""
    energy = StepEnergy(row.energy_j, row.batch_energy_j, row.extern_energy_j, row.steps_energy_j)
    classes = _classes(row.node_names, figures)
    job = GatheredJob(
        energy,
        row.elapsed_s,
        row.node_count or len(classes) or 1,
        had_nodes_alone(row, figures),
        setup.contain,
        _plausible(classes or [None] * (row.node_count or 1), setup.plugin),
        setup.step_s,
        resized,
    )
    judged = judge_energy(job)
    if judged.use != "unusable" and figures.left_out.intersection(row.node_names):
        return JudgedEnergy("unusable", None, "Slurm's figures of a node of the job do not count")
    return judged


def energy_by_slurm(rows: Sequence[SacctJob], figures: ClusterFigures) -> tuple[JudgedEnergy, SlurmSetup] | None:
    """What Slurm's figure of a job that is over counts as, by the verdict that is in force; None where there is no
    verdict, or the figure cannot be used."""
    last = rows[-1]
    if last.end_s is None or (verdict := figures.verdict_at(last.end_s * _S)) is None:
        return None
    setup = figures.facts.setup_at(last.end_s * _S)
    if setup is None or verdict.verdict == "unusable":
        return None
    judged = judge_row(last, figures, setup, resized=len(rows) > 1)
    if judged.use == "unusable":
        return None
    if judged.use == "measured" and verdict.verdict == "upper bound":
        judged = JudgedEnergy("upper bound", judged.energy_j, "by the verdict on Slurm's energy")
    return judged, setup


def _classes(nodes: Iterable[str], figures: ClusterFigures) -> list[NodeClass | None]:
    return [figures.class_by_node.get(node) for node in nodes]


def _plausible(classes: Sequence[NodeClass | None], plugin: str | None) -> PlausiblePower:
    bounds = [_of_node(one, COVERS.get(plugin or "")) for one in classes]
    return PlausiblePower(sum(least_w for least_w, _ in bounds), sum(most_w for _, most_w in bounds))


def _of_node(one: NodeClass | None, covers: frozenset[str] | None) -> tuple[float, float]:
    """The least and the greatest power of a node, or of the components that are read."""
    if one is None:
        return (UNKNOWN_NODE_W[0] if covers is None else _COMPONENT_LEAST_W), UNKNOWN_NODE_W[1]
    cores_w = max((one.cores or one.cpus) * _CORE_W, 2 * (one.tdp_w or 0))
    parts = {"cpu": cores_w, "dram": (one.memory_mib or 0) / _MIB_PER_GB * _GB_W, "gpu": one.gpus * _GPU_W}
    if covers is not None:
        return _COMPONENT_LEAST_W, sum(parts[name] for name in covers)
    least_w = UNKNOWN_NODE_W[0] if one.idle_w is None else _IDLE_SHARE * one.idle_w
    return least_w, _BASE_W + sum(parts.values())
