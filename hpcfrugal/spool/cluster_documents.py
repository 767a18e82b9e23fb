"""What is known of a cluster beside its jobs, in the spool: ``<spool>/clusters/<cluster>/``.

``facts.json`` has how Slurm gathers energy, its nodes and its power saving, kept at each import; ``energy.json`` the
verdict on its own energy, and ``calibration.json`` the factors of the model, both of which an operator keeps on
purpose. The ledger computes jobs of Slurm's accounting with them, so a rebuilt ledger has the same figures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import MAX_WALL_NS, MIN_WALL_NS, Range
from hpcfrugal.core.safe_read import FileState, UnsafeFile
from hpcfrugal.core.units import expand_nodelist
from hpcfrugal.spool.foldered import FolderedFiles, OnSkip
from hpcfrugal.spool.json_document import document_json, read_valid, refuse
from hpcfrugal.spool.layout import CLUSTERS_DIR, decode_node, encode_node, own_folder

_FILES = FolderedFiles(
    re.compile(r"[A-Za-z0-9%_-][A-Za-z0-9._%-]*"),
    re.compile(r"(?:facts|energy|calibration)\.json"),
    "a cluster",
    "a document of a cluster",
)
_WALL = Range(MIN_WALL_NS, MAX_WALL_NS)
_MOST_PPM = 1_000_000_000

GroupVerdict = Literal["measured", "upper bound", "unusable"]


@dataclass(frozen=True, slots=True)
class SlurmSetup:
    """How Slurm gathers energy, from ``since_wall_ns`` on, when that was first seen.

    ``plugin`` is AcctGatherEnergyType without its prefix, None for none. ``contain``: each job has an extern step
    (PrologFlags). ``step_s``: AcctGatherNodeFreq.
    """

    since_wall_ns: Annotated[int, _WALL]
    release: str | None = None
    plugin: str | None = None
    contain: bool = False
    step_s: Annotated[int | None, Range(0, 86_400)] = None


@dataclass(frozen=True, slots=True)
class NodeClass:
    """Nodes that are alike in Slurm and in the settings. ``nodes`` is a node list.

    ``oversubscribed``: a partition lets jobs share their CPUs. From the settings are ``idle_w`` and ``tdp_w``, the
    idle power of the whole node and the design power of its CPUs, ``cpu_idle_w``, the idle power of these, and
    ``cpu`` and ``gpu``, the models of its devices.
    """

    nodes: str
    cpus: Annotated[int, Range(1)]
    cores: Annotated[int | None, Range(1)] = None
    memory_mib: Annotated[int | None, Range(0)] = None
    gres: str | None = None
    features: str | None = None
    oversubscribed: bool = False
    idle_w: Annotated[float | None, Range(0)] = None
    tdp_w: Annotated[float | None, Range(0)] = None
    cpu_idle_w: Annotated[float | None, Range(0)] = None
    cpu: str | None = None
    gpu: str | None = None

    @property
    def hardware(self) -> str:
        """What the model of a job's energy has of the class, as text: where it changes, so does the model."""
        own = (self.cpus, self.cores, self.memory_mib, self.gres, self.tdp_w, self.cpu_idle_w, self.cpu, self.gpu)
        return json.dumps(own)

    @property
    def gpu_name(self) -> str | None:
        """The model of its GPUs: that of the settings, else the type in ``gres`` where there is one alone."""
        words = [one.split(":") for one in (self.gres or "").split(",")]
        types = {one[1] for one in words if one[0] == "gpu" and len(one) > 1 and not one[1].isdecimal()}
        return self.gpu or (types.pop() if len(types) == 1 else None)

    @property
    def gpus(self) -> int:
        """How many GPUs a node has by ``gres``, such as ``gpu:a100:4``."""
        words = (one.split(":") for one in (self.gres or "").split(","))
        return sum(int(one[-1]) if one[-1].isdecimal() else 1 for one in words if one[0] == "gpu")


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """How Slurm gathers energy, oldest first, and its nodes and power saving as they were last.

    ``suspend_s``, SuspendTime, is None where Slurm switches no idle node off.
    """

    cluster: str
    setups: tuple[SlurmSetup, ...] = ()
    classes: tuple[NodeClass, ...] = ()
    suspend_s: Annotated[int | None, Range(1)] = None
    suspend_timeout_s: Annotated[int, Range(0)] = 30
    resume_timeout_s: Annotated[int, Range(0)] = 60

    def setup_at(self, wall_ns: int) -> SlurmSetup | None:
        """How Slurm gathered energy at a time; before the first that was seen, as it did then."""
        before = [one for one in self.setups if one.since_wall_ns <= wall_ns]
        return before[-1] if before else next(iter(self.setups), None)

    def class_by_node(self) -> dict[str, NodeClass]:
        """The class of each node."""
        return {node: one for one in self.classes for node in expand_nodelist(one.nodes)}


@dataclass(frozen=True, slots=True)
class SetupVerdict:
    """The verdict on Slurm's energy with one release and plugin; ``compared``: with so many measured jobs, of which the
    median of Slurm's figure over ours is ``ratio``."""

    release: str | None
    plugin: str | None
    verdict: GroupVerdict
    compared: Annotated[int, Range(0)] = 0
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class EnergyVerdicts:
    """The verdicts that are in force. ``left_out`` is a list of nodes whose figures do not count."""

    cluster: str
    version: Annotated[int, Range(1)]
    made_wall_ns: Annotated[int, _WALL]
    setups: tuple[SetupVerdict, ...] = ()
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class CalibratedModel:
    """The factor of a component's model for jobs with or without GPUs, which had their nodes of a class alone or not.

    ``model`` is the version of the model, and ``hardware`` that of the class, for which it was found; of others it is
    no factor.

    ``low_permille`` and ``high_permille`` are the ends of the range over the calibrated figure, None where jobs are too
    few for a range of their own. ``error_permille``: by how much the figure of a held-out job is off, the median.
    """

    nodes: str
    component: str
    gpu: bool
    alone: bool
    jobs: Annotated[int, Range(1)]
    factor_ppm: Annotated[int, Range(1, _MOST_PPM)]
    error_permille: Annotated[int, Range(0)]
    model: Annotated[int, Range(1)]
    hardware: str
    low_permille: Annotated[int | None, Range(0)] = None
    high_permille: Annotated[int | None, Range(0)] = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The factors that are in force."""

    cluster: str
    version: Annotated[int, Range(1)]
    made_wall_ns: Annotated[int, _WALL]
    models: tuple[CalibratedModel, ...] = ()


ClusterDocument = ClusterFacts | EnergyVerdicts | Calibration
_D = TypeVar("_D", ClusterFacts, EnergyVerdicts, Calibration)
_NAMES: dict[type[Any], str] = {ClusterFacts: "facts", EnergyVerdicts: "energy", Calibration: "calibration"}
_KINDS = {name: kind for kind, name in _NAMES.items()}


def clusters_dir(spool_root: Path) -> Path:
    """The folder of a spool's documents of clusters, whether it exists or not."""
    return spool_root / CLUSTERS_DIR


def cluster_documents(spool_root: Path, on_skip: OnSkip | None = None) -> list[Path]:
    """Every document of a cluster, in order. ``on_skip`` is called for links and all other entries, with the reason."""
    return _FILES.below(clusters_dir(spool_root), on_skip)


def _path(spool_root: Path, kind: type[Any], cluster: str) -> Path:
    return clusters_dir(spool_root) / encode_node(cluster) / f"{_NAMES[kind]}.json"


def store_cluster_document(spool_root: Path, document: ClusterDocument) -> Path:
    """Keep a document in place of the one before. Raises ``OSError``."""
    path = _path(spool_root, type(document), document.cluster)
    own_folder(spool_root, CLUSTERS_DIR, path.parent.name)
    write_json_atomic(path, document_json(document))
    return path


def stored_cluster_document(spool_root: Path, kind: type[_D], cluster: str) -> _D | None:
    """The document of this kind that the spool has of a cluster; None where there is none, or it does not count."""
    path = _path(spool_root, kind, cluster)
    try:
        document, _ = read_cluster_document(path, clusters_dir(spool_root).lstat().st_uid)
    except (OSError, UnsafeFile):
        return None
    return document if isinstance(document, kind) else None


def read_cluster_document(path: Path, owner_uid: int) -> tuple[ClusterDocument, FileState]:
    """Read one of ``owner_uid``. Raises ``UnsafeFile``: one that is wrong anywhere does not count."""
    kind: type[ClusterDocument] = _KINDS[path.stem]
    document, state = read_valid(kind, path, owner_uid)
    refuse(list(_wrong_nodes(document)))
    if document.cluster != decode_node(path.parent.name):
        raise UnsafeFile("is of another cluster than its folder")
    return document, state


def _wrong_nodes(document: ClusterDocument) -> Iterator[str]:
    """What is wrong with the node lists in it."""
    lists: list[str] = []
    if isinstance(document, ClusterFacts):
        lists = [one.nodes for one in document.classes]
    elif isinstance(document, EnergyVerdicts):
        lists = [document.left_out]
    else:
        lists = [one.nodes for one in document.models]
    for text in lists:
        try:
            expand_nodelist(text)
        except ValueError as error:
            yield f"nodes: {error}"
