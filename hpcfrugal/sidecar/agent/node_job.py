"""A job on this node, from its first appearance until it is gone."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..gpu_selection import DeviceList


class NodeJob:
    """One attempt of a job here. ``job_id`` is None while only its ``sluid`` is known, ``uid`` while its user is not.

    ``cpu_us`` is its CPU time from its start to the last reading; of one that was here before the agent, since
    ``first_ns`` (time since boot), when it was first seen. ``gpus`` are those that Slurm gave it, None while that is
    not known; a GPU that it shares is not among them. ``ended_ns`` is None while it is here.
    """

    __slots__ = ("cpu_us", "ended_ns", "energy_uj", "first_ns", "gpus", "job_id", "share_ns", "sluid", "uid")

    def __init__(self, job_id: str | None, first_ns: int, *, sluid: str | None = None, uid: int | None = None) -> None:
        self.job_id = job_id
        self.sluid = sluid
        self.uid = uid
        self.first_ns = first_ns
        self.ended_ns: int | None = None
        self.cpu_us = 0
        self.gpus: DeviceList | None = None
        self.energy_uj: list[int] = []
        """Its energy by channel since the header."""
        self.share_ns = 0
        """The time since the header, times its part of the node's busy CPU time at each moment."""

    @property
    def is_known(self) -> bool:
        """Whether nothing more is to be found out about it."""
        return self.job_id is not None and self.uid is not None and self.gpus is not None

    def line(self) -> dict[str, object]:
        """The job as it stands in a file."""
        return {
            "job_id": self.job_id,
            "sluid": self.sluid,
            "uid": self.uid,
            "first_ns": self.first_ns,
            "cpu_us": self.cpu_us,
            "share_ns": self.share_ns,
            "energy_uj": self.energy_uj,
        }
