"""The documents of clusters in the ledger: jobs of Slurm's accounting are computed with them."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcfrugal.accounting.model import MODEL_VERSION
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import codec
from hpcfrugal.core.units import expand_nodelist
from hpcfrugal.ledger.accounted_due import mark_cluster
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.file_rows import ClusterFileRow
from hpcfrugal.ledger.spool_files import changed_files, known_row, missing_files, name_in_spool, read_spool_file
from hpcfrugal.ledger.tables import CLUSTER_FILES
from hpcfrugal.spool.cluster_documents import (
    CalibratedModel,
    Calibration,
    ClusterDocument,
    ClusterFacts,
    EnergyVerdicts,
    NodeClass,
    SetupVerdict,
    cluster_documents,
    clusters_dir,
    read_cluster_document,
)
from hpcfrugal.spool.layout import CLUSTERS_DIR

_KINDS: dict[str, type[Any]] = {"facts": ClusterFacts, "energy": EnergyVerdicts, "calibration": Calibration}


@dataclass(frozen=True)
class ClusterFigures:
    """What is known of a cluster for the energy of its jobs; nothing where there is no document."""

    facts: ClusterFacts = field(default_factory=lambda: ClusterFacts(""))
    verdicts: EnergyVerdicts | None = None
    calibration: Calibration | None = None

    @cached_property
    def class_by_node(self) -> Mapping[str, NodeClass]:
        """The class of each node."""
        return self.facts.class_by_node()

    @cached_property
    def left_out(self) -> frozenset[str]:
        """The nodes whose own energy by Slurm does not count."""
        return frozenset(expand_nodelist(self.verdicts.left_out) if self.verdicts is not None else ())

    def verdict_at(self, wall_ns: int) -> SetupVerdict | None:
        """The verdict in force on Slurm's energy of that time; None where there is none."""
        setup = self.facts.setup_at(wall_ns)
        if setup is None or self.verdicts is None:
            return None
        same = (one for one in self.verdicts.setups if (one.release, one.plugin) == (setup.release, setup.plugin))
        return next(same, None)

    @cached_property
    def _models(self) -> dict[tuple[str, str, bool, bool], CalibratedModel]:
        models = () if self.calibration is None else self.calibration.models
        return {(node, one.component, one.gpu, one.alone): one for one in models for node in expand_nodelist(one.nodes)}

    def model_of(self, nodes: list[str], component: str, *, gpu: bool, alone: bool) -> CalibratedModel | None:
        """The calibrated model of a component for a job on these nodes, which may be outdated; None where there is
        none, or they differ."""
        found = {self._models.get((node, component, gpu, alone)) for node in nodes}
        return found.pop() if len(found) == 1 else None

    def is_outdated(self, model: CalibratedModel, nodes: list[str]) -> bool:
        """Whether a calibrated model was found for another version of the model, or other hardware than these nodes'
        as Slurm and the settings have it now: its factor does not count then."""
        classes = (self.class_by_node.get(node) for node in nodes)
        return model.model != MODEL_VERSION or any(each is None or each.hardware != model.hardware for each in classes)


NO_FIGURES = ClusterFigures()
"""Of a cluster without documents."""


def clusters_changed(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> bool:
    """Whether a sync would read any document of a cluster."""
    return next(changed_files(connection, CLUSTER_FILES, spool, cluster_documents(spool_root)), None) is not None


def take_clusters(connection: LedgerConnection, spool: int, spool_root: Path, skipped: list[str]) -> int:
    """Read the documents that changed, inside the caller's transaction; returns how many. The jobs of Slurm's
    accounting of their clusters are due then."""
    paths = cluster_documents(spool_root, lambda path, reason: skipped.append(f"{path}: {reason}"))
    changed = list(changed_files(connection, CLUSTER_FILES, spool, paths))
    for path, status in changed:
        _take(connection, spool, path, status)
    return len(changed)


def _take(connection: LedgerConnection, spool: int, path: Path, status: os.stat_result) -> None:
    owner_uid = os.lstat(clusters_dir(path.parent.parent.parent)).st_uid
    name = name_in_spool(path)
    old = known_row(connection, CLUSTER_FILES, spool, name, otherwise=ClusterFileRow(name))
    found = read_spool_file(path, status, owner_uid, old.read, read_cluster_document)
    content = old.content if found.keep else None
    if found.content is not None:
        content = json.dumps(codec(_KINDS[path.stem]).write(found.content), sort_keys=True)
    CLUSTER_FILES.insert(connection, ClusterFileRow(name, found.read, content), spool)
    for text in {old.content} ^ {content}:
        if text is not None:
            mark_cluster(connection, json.loads(text)["cluster"])


def missing_clusters(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> list[str]:
    """The documents that count in the ledger and are not in the spool."""
    return missing_files(connection, CLUSTER_FILES, spool, cluster_documents(spool_root), CLUSTERS_DIR)


def figures_of_clusters(connection: sqlite3.Connection) -> dict[str, ClusterFigures]:
    """What the documents in the ledger hold, by cluster; of several spools the newest of each kind counts."""
    newest: dict[tuple[str, str], tuple[tuple[int, int, str], ClusterDocument]] = {}
    for name, content in connection.execute("SELECT name, content FROM cluster_files WHERE content NOT NULL"):
        kind = Path(name).stem
        document: ClusterDocument = codec(_KINDS[kind]).read(json.loads(content), [])
        order = (*_age(document), content)
        key = document.cluster, kind
        if key not in newest or order > newest[key][0]:
            newest[key] = order, document
    found: dict[str, dict[str, Any]] = {}
    for (cluster, kind), (_, document) in newest.items():
        found.setdefault(cluster, {})["verdicts" if kind == "energy" else kind] = document
    return {cluster: ClusterFigures(**documents) for cluster, documents in found.items()}


def _age(document: ClusterDocument) -> tuple[int, int]:
    if isinstance(document, ClusterFacts):
        return (document.setups[-1].since_wall_ns if document.setups else 0), 0
    return document.made_wall_ns, document.version
