"""Calibrating the model of jobs of Slurm's accounting by jobs of the same site that were measured."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace

from hpcfrugal.accounting.calibration import fit_model
from hpcfrugal.accounting.model import MODEL_VERSION
from hpcfrugal.ledger.accounted_energy import channels_of
from hpcfrugal.ledger.accounted_slurm import had_nodes_alone
from hpcfrugal.ledger.accounted_use import accounted_parts
from hpcfrugal.ledger.clusters import ClusterFigures, figures_of_clusters
from hpcfrugal.ledger.measured_jobs import is_by_slurm, is_by_users_run, measured_components
from hpcfrugal.ledger.queries import JobFilter, iter_jobs
from hpcfrugal.slurm.sacct_jobs import SacctJob
from hpcfrugal.spool.cluster_documents import CalibratedModel, Calibration, NodeClass

_COMPONENTS = ("cpu", "dram", "gpu")
_MOST_FACTOR = 100
"""A measured energy that is so many times the modelled one, or so many times less, is not that of the same thing."""


@dataclass(slots=True)
class CalibratedCluster:
    """The factors of a cluster, and why measured jobs with a row of Slurm's accounting did not count for them."""

    cluster: str
    models: tuple[CalibratedModel, ...] = ()
    jobs: int = 0
    unclassed: int = 0
    ratios: dict[tuple[str, str, bool, bool], list[float]] = field(default_factory=dict)

    def document(self, version: int, at_ns: int) -> Calibration:
        """As the spool keeps it."""
        return Calibration(self.cluster, version, at_ns, self.models)


def calibrate(connection: sqlite3.Connection, wanted: JobFilter) -> list[CalibratedCluster]:
    """The factors by the measured jobs in the period, for each cluster of which there are any."""
    figures = figures_of_clusters(connection)
    found: dict[str, CalibratedCluster] = {}
    for job, parts in accounted_parts(connection, iter_jobs(connection, wanted, details=False)):
        measured = {name: measured_components(job, {name}) for name in _COMPONENTS}
        if not parts or not any(measured.values()):
            continue
        of_cluster = figures.get(job.cluster, ClusterFigures())
        if is_by_slurm(connection, job) or is_by_users_run(connection, job):
            continue
        one = found.setdefault(job.cluster, CalibratedCluster(job.cluster))
        one.jobs += 1
        of_class = _class_of(parts, of_cluster)
        if of_class is None:
            one.unclassed += 1
            continue
        alone = all(had_nodes_alone(row, of_cluster) is True for row in parts)
        modelled = _modelled(parts, of_cluster)
        for component, measured_uj in measured.items():
            modelled_uj = modelled.get(component)
            if measured_uj and modelled_uj and 1 / _MOST_FACTOR < measured_uj / modelled_uj < _MOST_FACTOR:
                key = of_class.nodes, component, any(row.gpus for row in parts), alone
                one.ratios.setdefault(key, []).append(measured_uj / modelled_uj)
    for one in found.values():
        hardware = {each.nodes: each.hardware for each in figures[one.cluster].facts.classes} if one.ratios else {}
        one.models = tuple(_fitted(*key, hardware[key[0]], one.ratios[key]) for key in sorted(one.ratios))
    return [found[cluster] for cluster in sorted(found)]


def _class_of(parts: tuple[SacctJob, ...], figures: ClusterFigures) -> NodeClass | None:
    """The class of a job's nodes; None where it is not known, or they differ."""
    classes = {figures.class_by_node.get(node) for row in parts for node in row.node_names}
    return classes.pop() if len(classes) == 1 else None


def _modelled(parts: tuple[SacctJob, ...], figures: ClusterFigures) -> dict[str, int]:
    """The energy of a job by the model as it is, by component."""
    found: dict[str, int] = {}
    for channel in channels_of(parts, replace(figures, verdicts=None, calibration=None), final=parts[-1].final):
        if channel.energy_uj is not None:
            found[channel.component] = found.get(channel.component, 0) + channel.energy_uj
    return found


def _fitted(nodes: str, component: str, gpu: bool, alone: bool, hardware: str, ratios: list[float]) -> CalibratedModel:
    """The range holds the figure itself, which the prior may have drawn out of it."""
    fit = fit_model(ratios)
    return CalibratedModel(
        nodes,
        component,
        gpu,
        alone,
        fit.jobs,
        max(1, round(fit.factor * 10**6)),
        round(fit.error * 1000),
        MODEL_VERSION,
        hardware,
        None if fit.low is None else min(1000, int(fit.low * 1000)),
        None if fit.high is None else max(1000, int(fit.high * 1000) + 1),
    )
