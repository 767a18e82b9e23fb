"""How jobs of this machine name it: its node, its cluster, and the variables that the sidecar reads."""

from __future__ import annotations

import socket


def node_name() -> str:
    """This host's name without its domain."""
    return socket.gethostname().split(".")[0]


def cluster_name() -> str:
    """``local:`` and the node."""
    return f"local:{node_name()}"


def job_environ(job_id: str) -> dict[str, str]:
    """The variables by which the sidecar and batch script know their job."""
    return {"HPCFRUGAL_JOB_ID": job_id, "HPCFRUGAL_CLUSTER": cluster_name()}
