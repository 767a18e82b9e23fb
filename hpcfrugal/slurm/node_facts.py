"""Facts about the nodes of finished jobs, stored in the spool, so that the ledger needs nothing else.

A node's CPUs in Slurm and its configured idle power may change later. Attribution uses them as they were, so they are
stored once; a document that was removed is written again at the next sync.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.settings.idle_power import IdlePower
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.command import available
from hpcfrugal.slurm.nodes import NodeCpus
from hpcfrugal.slurm.stored_runs import StoredRun, stored_runs
from hpcfrugal.spool import JobKey, RunDir
from hpcfrugal.spool.documents import NodeFacts, NodesDocument, read_slurm, write_document


@dataclass(frozen=True, slots=True)
class _Due:
    """A finished job without stored facts of its nodes."""

    run: StoredRun
    job: JobKey
    nodes: tuple[str, ...]


def store_nodes(
    spool_root: Path,
    powers: Mapping[str, IdlePower],
    backend: SlurmBackend | None = None,
    runs: Iterable[RunDir] | None = None,
) -> list[str]:
    """Write ``<job>.<restart>.nodes.json`` for every finished job of this user that has samples and no such file, or
    those of ``runs``. Jobs of other users wait for their own sync: our files would not count in their runs.

    Slurm is asked once about all nodes; without Slurm its jobs wait. Returns a message for each run directory that
    could not be written, and one for the jobs of other users.

    Raises:
        SetupError: Slurm does not answer. The facts of local jobs are written then.
    """
    every = [job for run in stored_runs(spool_root, runs) for job in _due(run)]
    due = [job for job in every if job.run.is_mine]
    others = len(every) - len(due)
    refused = [f"finished jobs of other users: {others}; only their own sync stores their nodes"] if others else []
    refused += [line for job in due if job.run.is_local for line in _store(job, powers, None)]
    waiting = [job for job in due if not job.run.is_local]
    if not waiting or not available():
        return refused
    backend = backend or SlurmBackend()
    here = backend.cluster()
    waiting = [job for job in waiting if job.run.is_of(here)]
    cpus = backend.node_cpus(sorted({node for job in waiting for node in job.nodes if _is_plain(node)}))
    return [*refused, *(line for job in waiting for line in _store(job, powers, cpus))]


def store_run_nodes(run_dir: RunDir, powers: Mapping[str, IdlePower]) -> list[str]:
    """The same for one run on this machine."""
    mine = [run for run in stored_runs(run_dir.spool, [run_dir]) if run.is_mine and run.is_local]
    return [line for run in mine for job in _due(run) for line in _store(job, powers, None)]


def lacks_nodes(run_dir: RunDir) -> bool:
    """Whether a job of the run has samples, and no stored facts of its nodes."""
    return bool(_without_nodes(run_dir))


def _is_plain(node: str) -> bool:
    """Whether a node name from a file can be one of Slurm's."""
    return node.isascii() and node.replace("-", "").replace(".", "").replace("_", "").isalnum()


def _due(run: StoredRun) -> list[_Due]:
    found = _without_nodes(run.run_dir)
    return [_Due(run, job, tuple(one.nodes)) for job, one in found.items() if one.ended or _is_final(run, job)]


@dataclass(slots=True)
class _Sampled:
    """The nodes with samples of a job, and whether it has recorded its end."""

    nodes: list[str]
    ended: bool


def _without_nodes(run_dir: RunDir) -> dict[JobKey, _Sampled]:
    """The jobs of a run that have samples, and no stored facts of their nodes."""
    try:
        names = [parsed for _, parsed in run_dir.names() if parsed is not None and parsed.job is not None]
    except OSError:
        return {}  # sync itself reports directories that cannot be read
    kept = {parsed.job for parsed in names if parsed.kind == "nodes"}
    ended = {parsed.job for parsed in names if parsed.kind == "end"}
    found: dict[JobKey, _Sampled] = {}
    for parsed in names:
        if parsed.kind == "samples" and parsed.job is not None and parsed.node and parsed.job not in kept:
            found.setdefault(parsed.job, _Sampled([], parsed.job in ended)).nodes.append(parsed.node)
    return found


def _is_final(run: StoredRun, job: JobKey) -> bool:
    try:
        return read_slurm(run.run_dir.slurm_json(job.job_id, job.restart), run.owner_uid, job)[0].final
    except UnsafeFile:
        return False


def _store(due: _Due, powers: Mapping[str, IdlePower], cpus: Mapping[str, NodeCpus] | None) -> list[str]:
    path = due.run.run_dir.nodes_json(due.job.job_id, due.job.restart)
    try:
        nodes = tuple(_facts(node, powers, cpus) for node in due.nodes)
        write_document(path, NodesDocument(due.job.job_id, due.job.restart, nodes))
    except OSError as error:
        return [f"{path}: the nodes of job {due.job.job_id} cannot be written: {error.strerror}"]
    return []


def _facts(node: str, powers: Mapping[str, IdlePower], cpus: Mapping[str, NodeCpus] | None) -> NodeFacts:
    counted = cpus.get(node) if cpus is not None else None
    power = powers.get(node)
    return NodeFacts(
        node=node,
        slurm_cpus=counted.count if counted else None,
        oversubscribed=counted.oversubscribed if counted else None,
        idle_power_uw=power.power_uw if power else (),
        idle_power_source=power.source if power and power.power_uw else None,
        tdp_uw=power.tdp_uw if power else None,
    )
