"""How jobs of this machine name it: its node, its cluster, and the variables that the sidecar reads."""

from __future__ import annotations

from hpcfrugal.core.host import this_host
from hpcfrugal.spool.local_cluster import local_cluster


def cluster_name() -> str:
    """What stands for a cluster in the records of this machine's jobs."""
    return local_cluster(this_host())


def job_environ(job_id: str, restart: int = 0) -> dict[str, str]:
    """The variables by which the sidecar and batch script know their job."""
    return {"HPCFRUGAL_JOB_ID": job_id, "HPCFRUGAL_RESTART": str(restart), "HPCFRUGAL_CLUSTER": cluster_name()}
