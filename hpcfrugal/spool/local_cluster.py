"""The name that stands for a cluster where a job ran without Slurm; the sidecar's ``identity`` makes the same."""

from __future__ import annotations

_LOCAL = "local:"


def local_cluster(node: str) -> str:
    """The name for jobs of the machine ``node``."""
    return f"{_LOCAL}{node}"


def is_local(cluster: str | None) -> bool:
    """Whether a cluster's name is that of a machine without Slurm."""
    return cluster is not None and cluster.startswith(_LOCAL)
