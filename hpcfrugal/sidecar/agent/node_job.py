"""A job on this node, from its first appearance until it is gone."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..gpu_selection import DeviceList


class NodeJob:
    """One attempt of a job here. ``job_id`` is None while only its ``sluid`` is known, ``uid`` while its user is not.

    ``cpu_us`` is its CPU time from its start to the last reading; of one that was here before the agent, since
    ``first_ns`` (time since boot), when it was first seen. ``cpus`` is how many of the node's it holds and ``gpus`` are
    those that Slurm gave it, None while that is not known; a GPU that it shares is not among them. ``ended_ns`` is None
    while it is here.
    """

    __slots__ = ("cpu_us", "cpus", "ended_ns", "energy_uj", "first_ns", "gpus", "idle_uj", "job_id", "sluid", "uid")

    def __init__(self, job_id: str | None, first_ns: int, *, sluid: str | None = None, uid: int | None = None) -> None:
        self.job_id = job_id
        self.sluid = sluid
        self.uid = uid
        self.first_ns = first_ns
        self.ended_ns: int | None = None
        self.cpu_us = 0
        self.cpus: int | None = None
        self.gpus: DeviceList | None = None
        self.energy_uj: list[int] = []
        """Its energy by channel since the header."""
        self.idle_uj: list[int] = []
        """What of it is its part of the node's idle energy."""

    @property
    def is_known(self) -> bool:
        """Whether nothing more is to be found out about it."""
        return None not in (self.job_id, self.uid, self.cpus, self.gpus)

    def line(self) -> dict[str, object]:
        """The job as it stands in a file."""
        return {
            "job_id": self.job_id,
            "sluid": self.sluid,
            "uid": self.uid,
            "first_ns": self.first_ns,
            "cpus": self.cpus,
            "cpu_us": self.cpu_us,
            "energy_uj": self.energy_uj,
            "idle_uj": self.idle_uj if any(self.idle_uj) else [],
        }
