"""Attribution: dividing a node's energy among its jobs.

The energy of an exclusive node is all its job's. On a shared node, over one interval,

    job_dynamic = (E - E_idle) * job_cpu / node_busy_cpu        job_idle = E_idle * alloc_cpus / node_cpus

with E_idle from the node's idle power; if that is unknown it counts as 0, and the caller reports it. Shares are
rounded down, so they never exceed the node's energy; the rest is the residual (idle and system). A device that belongs
to the job alone (its GPUs) needs no division.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Attribution(StrEnum):
    """How a channel's energy is given to a job: by the rules of this file, by a model, or not at all."""

    EXCLUSIVE = "exclusive"
    DEVICE = "device"
    CPU_SHARE = "cpu-share"
    MODEL = "model"
    NONE = "none"

    @property
    def is_whole_node(self) -> bool:
        """Whether the job has the node, and so all that its sensors read."""
        return self is Attribution.EXCLUSIVE

    @property
    def is_share(self) -> bool:
        """Whether the job has a part of what was read, for which CPU times are needed, and idle power is useful."""
        return self is Attribution.CPU_SHARE

    @property
    def is_whole(self) -> bool:
        """Whether all that was read is the job's, so that nothing else may have it."""
        return self in (Attribution.EXCLUSIVE, Attribution.DEVICE)

    @property
    def is_modelled(self) -> bool:
        """Whether it stands in for what no sensor read."""
        return self is Attribution.MODEL

    @property
    def is_unknown(self) -> bool:
        """Whether the job's part of what was read, if anything was, is not known."""
        return self is Attribution.NONE


@dataclass(frozen=True, slots=True)
class NodeInterval:
    """One interval of a node's counter. ``idle_uj`` None: the node's idle power is not known."""

    energy_uj: int
    node_busy_us: int | None
    node_cpus: int | None = None
    idle_uj: int | None = None


@dataclass(frozen=True, slots=True)
class JobUse:
    """CPU time and allocated CPUs of one job over the interval."""

    job_cpu_us: int | None
    alloc_cpus: int | None = None


@dataclass(frozen=True, slots=True)
class EnergyShare:
    """One job's part of a node's energy."""

    dynamic_uj: int
    idle_uj: int

    @property
    def energy_uj(self) -> int:
        return self.dynamic_uj + self.idle_uj


@dataclass(frozen=True, slots=True)
class NodeSplit:
    """Shares in the order of the jobs (None: unknown), and the rest of the node's energy."""

    shares: tuple[EnergyShare | None, ...]
    residual_uj: int


def kind_of(component: str, scope: str, exclusive: bool | None) -> Attribution:
    """How a channel of this component and scope is attributed to a job. Unknown exclusivity counts as shared.

    A GPU that others may use too (a slice of it, or a shared one) is not attributed: CPU time has no relation to
    its use, and an exclusive job may still hold only a part of the GPU.
    """
    if scope == "job":
        return Attribution.DEVICE
    if component == "gpu":
        return Attribution.NONE
    return Attribution.EXCLUSIVE if exclusive else Attribution.CPU_SHARE


def job_share(node: NodeInterval, use: JobUse) -> EnergyShare | None:
    """The share of one job if the other jobs are unknown; None if an input is missing.

    The CPU times of the job and of the node are read at slightly different instants, so their quotient can slightly
    exceed 1; it is limited to 1.
    """
    return split_node(node, (use,)).shares[0]


def split_node(node: NodeInterval, uses: Sequence[JobUse]) -> NodeSplit:
    """Shares of all jobs on a node. Their sum plus the residual is exactly the energy of the node.

    A job without CPU time does not change the dynamic shares of others. A job with an unknown input gets None, and its
    part stays in the residual. If the CPU times of the jobs exceed that of the node (rounding in the kernel), or more
    CPUs are allocated than the node has, their sum is the divisor.
    """
    if node.energy_uj < 0:
        raise ValueError("negative energy")
    idle_uj = min(node.idle_uj or 0, node.energy_uj)
    dynamic_uj = node.energy_uj - idle_uj
    busy_us = max(node.node_busy_us or 0, sum([use.job_cpu_us or 0 for use in uses]))
    cpus = max(node.node_cpus or 0, sum([use.alloc_cpus or 0 for use in uses]))

    def share(use: JobUse) -> EnergyShare | None:
        if use.job_cpu_us is None or node.node_busy_us is None:
            return None
        if idle_uj > 0 and (use.alloc_cpus is None or node.node_cpus is None):
            return None
        return EnergyShare(
            dynamic_uj=dynamic_uj * use.job_cpu_us // busy_us if busy_us else 0,
            idle_uj=idle_uj * use.alloc_cpus // cpus if idle_uj and use.alloc_cpus else 0,
        )

    shares = tuple([share(use) for use in uses])
    given = sum([part.energy_uj for part in shares if part is not None])
    return NodeSplit(shares, node.energy_uj - given)
