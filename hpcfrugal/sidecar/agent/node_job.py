"""A job on this node, from its first appearance until it is gone."""

from __future__ import annotations


class NodeJob:
    """One attempt of a job here. ``job_id`` is None while only its ``sluid`` is known, ``uid`` while its user is not.

    ``cpu_us`` is its CPU time from its start to the last reading; of one that was here before the agent, since
    ``first_ns`` (time since boot), when it was first seen. ``cpus`` is how many of the node's it holds as Linux counts
    them, ``slurm_cpus`` as Slurm does, which may count cores; ``gpus`` are those that it holds alone, as numbers on the
    node or UUIDs, which may be shortened; each is None while that is not known. ``is_confined``: its GPUs are those
    that its control group lets it open. ``looked`` are the processes of it that have been looked at. ``ended_ns`` is
    None while it is here.
    """

    __slots__ = (
        "cpu_us",
        "cpus",
        "ended_ns",
        "energy_uj",
        "first_ns",
        "gpus",
        "idle_uj",
        "is_confined",
        "job_id",
        "looked",
        "sluid",
        "slurm_cpus",
        "uid",
    )

    def __init__(self, job_id: str | None, first_ns: int, *, sluid: str | None = None, uid: int | None = None) -> None:
        self.job_id = job_id
        self.sluid = sluid
        self.uid = uid
        self.first_ns = first_ns
        self.ended_ns: int | None = None
        self.cpu_us = 0
        self.cpus: int | None = None
        self.slurm_cpus: int | None = None
        self.gpus: set[str] | None = None
        self.is_confined = False
        self.looked: set[int] = set()
        self.energy_uj: list[int] = []
        """Its energy by channel since the header."""
        self.idle_uj: list[int] = []
        """What of it is its part of the node's idle energy."""

    @property
    def held_cpus(self) -> int | None:
        """The CPUs that it holds, as Linux counts them, else as Slurm does."""
        return self.cpus or self.slurm_cpus

    @property
    def is_known(self) -> bool:
        """Whether nothing more is to be found out about it."""
        return None not in (self.job_id, self.uid, self.held_cpus, self.gpus)

    def line(self) -> dict[str, object]:
        """The job as it stands in a file."""
        return {
            "job_id": self.job_id,
            "sluid": self.sluid,
            "uid": self.uid,
            "first_ns": self.first_ns,
            "cpus": self.held_cpus,
            "cpu_us": self.cpu_us,
            "energy_uj": self.energy_uj,
            "idle_uj": self.idle_uj if any(self.idle_uj) else [],
        }
