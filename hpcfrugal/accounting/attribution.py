"""Attribution: dividing a node's energy among its jobs.

The energy of an exclusive node is all its job's. On a shared node, over one interval,

    job_dynamic = (E - E_idle) * job_cpu / node_busy_cpu        job_idle = E_idle * alloc_cpus / node_cpus

with E_idle from the node's idle power; if that is unknown it counts as 0, and the caller reports it. Shares are
integers rounded down, never negative, and with the residual (idle and system) they sum to the node's energy. A device
that belongs to the job alone (its GPUs) needs no division.

- Where the node draws less than its idle power, E_idle is what it draws: all of it is divided by CPUs.
- Where a counter is updated less often than it is read, an interval without an update has no energy. What came up
  meanwhile is in the interval of the next update and is divided by the CPU times of that one.
- A reading that is null ends no interval: the two beside it do, and what is between them is divided by the CPU times
  over all of it. Energy before the first reading and after the last one is not known and not divided.
- ``alloc_cpus`` is what a job held when its sidecar (or a new session of it) began. Where several jobs are divided
  together it counts for the part of an interval in which the job was there. CPUs that come or go within a session are
  not seen; CPU time is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from operator import add, sub

from hpcfrugal.core.quick import dataclass
from hpcfrugal.sidecar.energy_split import divide_energy


class Attribution(StrEnum):
    """How a channel's energy is given to a job: by the rules of this file, by a model, or not at all."""

    EXCLUSIVE = "exclusive"
    DEVICE = "device"
    CPU_SHARE = "cpu-share"
    AGENT = "agent"
    """By CPU time too, divided by the node's agent among all jobs of the node."""
    MODEL = "model"
    NONE = "none"

    @property
    def is_whole_node(self) -> bool:
        """Whether the job has the node, and so all that its sensors read."""
        return self is Attribution.EXCLUSIVE

    @property
    def is_share(self) -> bool:
        """Whether the job has a part of what was read, for which CPU times are needed, and idle power is useful."""
        return self in (Attribution.CPU_SHARE, Attribution.AGENT)

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
class NodeIntervals:
    """Intervals of a node's counter, one item each.

    ``node_busy_us`` None: not known, nor is any share then. ``idle_uj`` None: the node's idle power is not known.
    ``node_cpus`` is needed where idle energy is.
    """

    energy_uj: Sequence[int]
    node_busy_us: Sequence[int] | None
    node_cpus: Sequence[int] = ()
    idle_uj: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class JobUse:
    """CPU time and allocated CPUs of one job over the same intervals; no CPUs: it has no part of the idle energy."""

    job_cpu_us: Sequence[int] | None
    alloc_cpus: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class EnergyShares:
    """One job's parts of a node's energy, one item an interval."""

    dynamic_uj: Sequence[int]
    idle_uj: Sequence[int]

    @property
    def energy_uj(self) -> Sequence[int]:
        return list(map(add, self.dynamic_uj, self.idle_uj)) if any(self.idle_uj) else self.dynamic_uj


@dataclass(frozen=True, slots=True)
class NodeSplit:
    """The node's energy by interval, and the shares of it in the order of the jobs (None: unknown)."""

    energy_uj: Sequence[int]
    shares: tuple[EnergyShares | None, ...]

    def residual_uj(self) -> Sequence[int]:
        """The rest of the node's energy, by interval."""
        rest_uj = self.energy_uj
        for share in self.shares:
            if share is not None:
                rest_uj = list(map(sub, rest_uj, share.energy_uj))
        return rest_uj


def attribution_of(component: str, scope: str, exclusive: bool | None) -> Attribution:
    """How a channel of this component and scope is attributed to a job. Unknown exclusivity counts as shared.

    A GPU that others may use too (a slice, or a shared one) is not attributed: CPU time is unrelated to its use, and
    even an exclusive job may have only a part of the GPU.
    """
    if scope == "job":
        return Attribution.DEVICE
    if component == "gpu":
        return Attribution.NONE
    return Attribution.EXCLUSIVE if exclusive else Attribution.CPU_SHARE


def split_node(node: NodeIntervals, uses: Sequence[JobUse]) -> NodeSplit:
    """Shares of all jobs on a node. Their sum plus the residual is exactly the energy of the node, in each interval.

    A job without CPU time does not change the dynamic shares of others. One of unknown CPU time gets None, and its part
    stays in the residual. The CPU times of jobs and node are read at slightly different instants: where those of the
    jobs exceed that of the node, or more CPUs are allocated than the node has, their sum is the divisor.

    Raises ``ValueError`` for negative energy.
    """
    whole_uj = node.energy_uj
    if min(whole_uj, default=0) < 0:
        raise ValueError("negative energy")
    if node.node_busy_us is None:
        return NodeSplit(whole_uj, (None,) * len(uses))
    jobs = [(use.job_cpu_us, use.alloc_cpus) for use in uses]
    shares = divide_energy(whole_uj, node.node_busy_us, node.node_cpus, node.idle_uj, jobs)
    return NodeSplit(whole_uj, tuple([None if share is None else EnergyShares(*share) for share in shares]))
