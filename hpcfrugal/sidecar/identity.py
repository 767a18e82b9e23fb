"""The job, restart, node and allocation that is sampled, from the environment of the job.

Slurm's variables are those of sbatch(1) and srun(1), "OUTPUT ENVIRONMENT VARIABLES"; a job without Slurm
has ``HPCFRUGAL_JOB_ID``, ``HPCFRUGAL_RESTART`` and ``HPCFRUGAL_CLUSTER``.
"""

from __future__ import annotations

import os

from .gpu_selection import job_device_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1024 * 1024


class Identity:
    """The job on this node. ``cpus_alloc`` and ``memory_alloc_b`` (bytes) are None where unknown;
    ``memory_alloc_b`` is 0 where Slurm gave the job all memory of the node. ``gpus_promised`` is the number of GPUs
    that its environment names, None where it names none. ``leader_id`` is the first component of a heterogeneous job,
    else the job itself."""

    def __init__(
        self,
        *,
        run_id: str,
        job_id: str,
        cluster: str | None,
        node: str,
        in_slurm: bool,
        restart: int = 0,
        array_job_id: str | None = None,
        array_task_id: str | None = None,
        cpus_alloc: int | None = None,
        memory_alloc_b: int | None = None,
        gpus_promised: int | None = None,
        leader_id: str | None = None,
    ) -> None:
        self.run_id = run_id
        self.job_id = job_id
        self.cluster = cluster
        self.node = node
        self.in_slurm = in_slurm
        self.restart = restart
        self.array_job_id = array_job_id
        self.array_task_id = array_task_id
        self.cpus_alloc = cpus_alloc
        self.memory_alloc_b = memory_alloc_b
        self.gpus_promised = gpus_promised
        self.leader_id = leader_id or job_id

    def header(self) -> dict[str, object]:
        """The identity as it stands in a header line; the allocated memory is added there."""
        return {name: value for name, value in vars(self).items() if name not in _NOT_IN_HEADER}

    @property
    def file_name(self) -> str:
        """Name of this node's file in the run directory."""
        return f"{self.job_id}.{self.restart}.{self.node}.jsonl"


_NOT_IN_HEADER = ("in_slurm", "memory_alloc_b", "leader_id")


def identify(run_id: str, environ: Mapping[str, str], hostname: str) -> Identity:
    """The identity of the job that ``environ`` describes.

    A local job carries its own run id as ``HPCFRUGAL_JOB_ID``, a task of a local array with ``_`` and its index behind
    it; a value left over from an outer job differs, and then Slurm's variables count. Raises ValueError where a name
    could not be part of a file name.
    """
    slurm_id = environ.get("SLURM_JOB_ID", "")
    local_id = environ.get("HPCFRUGAL_JOB_ID", "")
    local_run, _, task = local_id.partition("_")
    in_slurm = bool(slurm_id) and local_run != run_id
    host = hostname.split(".", 1)[0]
    if not in_slurm:
        job_id = local_id or run_id
        return Identity(
            run_id=run_id,
            job_id=_file_part("job id", job_id),
            cluster=environ.get("HPCFRUGAL_CLUSTER") or f"local:{host}",
            node=_file_part("host name", host),
            in_slurm=False,
            restart=(_count(environ.get("HPCFRUGAL_RESTART")) or 0) if local_run == run_id else 0,
            array_job_id=local_run if task else None,
            array_task_id=task or None,
            gpus_promised=_gpus_promised(environ, in_slurm=False),
        )
    cpus_alloc = _cpus_alloc(environ)
    # In all components of a heterogeneous job SLURM_JOB_ID is that of the first one. The batch script names the
    # component.
    component = "_HET_GROUP_" + group if (group := environ.get("HPCFRUGAL_HET_GROUP", "")) else ""
    return Identity(
        run_id=run_id,
        job_id=_file_part("SLURM_JOB_ID", environ.get("SLURM_JOB_ID" + component, "")),
        leader_id=slurm_id,
        cluster=environ.get("SLURM_CLUSTER_NAME") or None,
        node=_file_part("SLURMD_NODENAME", environ.get("SLURMD_NODENAME") or host),
        in_slurm=True,
        restart=_count(environ.get("SLURM_RESTART_COUNT")) or 0,
        array_job_id=environ.get("SLURM_ARRAY_JOB_ID") or None,
        array_task_id=environ.get("SLURM_ARRAY_TASK_ID") or None,
        cpus_alloc=cpus_alloc,
        memory_alloc_b=_memory_alloc_b(environ, component, cpus_alloc),
        gpus_promised=_gpus_promised(environ, in_slurm=True),
    )


def is_exclusive(flag: bool, cpus_alloc: int | None, cpus_node: int | None) -> bool | None:
    """Whether the job has the node to itself.

    True where the caller knows it, False where the job holds fewer CPUs than there are, else None: all CPUs
    of an oversubscribed node are not yet the node.
    """
    if flag:
        return True
    if cpus_alloc is not None and cpus_node is not None and cpus_alloc < cpus_node:
        return False
    return None


def _gpus_promised(environ: Mapping[str, str], *, in_slurm: bool) -> int | None:
    """GPUs that must be found here. Slices (MIG) may be of one device, so they promise one together."""
    entries = job_device_list(environ, in_slurm).entries
    slices = sum(entry.startswith("MIG-") for entry in entries)
    return len(entries) - slices + bool(slices) or None


def _cpus_alloc(environ: Mapping[str, str]) -> int | None:
    # Inside a step SLURM_CPUS_ON_NODE is the step's share, so the job's own list goes first.
    per_node = expand_per_node(environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    if per_node:
        index = _count(environ.get("SLURM_NODEID")) or 0
        if index < len(per_node):
            return per_node[index]
    return _count(environ.get("SLURM_CPUS_ON_NODE"))


def expand_per_node(text: str) -> list[int]:
    """``72(x2),36`` as [72, 72, 36]; empty for anything that does not read so."""
    found: list[int] = []
    for part in text.split(",") if text else []:
        head, brackets, tail = part.partition("(x")
        number = _count(head)
        times = 1 if not brackets else _count(tail[:-1]) if tail.endswith(")") else None
        if number is None or times is None or times > 100_000:
            return []
        found.extend([number] * times)
    return found


def _memory_alloc_b(environ: Mapping[str, str], component: str, cpus_alloc: int | None) -> int | None:
    per_node_mib = _count(environ.get("SLURM_MEM_PER_NODE" + component))
    if per_node_mib is not None:
        return per_node_mib * MIB
    per_cpu_mib = _count(environ.get("SLURM_MEM_PER_CPU" + component))
    if per_cpu_mib is not None and cpus_alloc is not None:
        return per_cpu_mib * cpus_alloc * MIB
    return None


def _count(text: str | None) -> int | None:
    # no more digits than 64 bits have, and than int() takes
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _file_part(what: str, text: str) -> str:
    if not text or os.sep in text or "\0" in text or text in (".", "..") or len(os.fsencode(text)) > 120:
        raise ValueError(f"{what} cannot be part of a file name: {text[:120]!r}")
    return text
