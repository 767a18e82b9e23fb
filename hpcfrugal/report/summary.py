"""A job's energy by component, with the channels that it is summed from. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hpcfrugal.ledger.footprints import JobFootprint
from hpcfrugal.ledger.rows import ChannelRow, JobRow
from hpcfrugal.report.amount import Amount, total_of
from hpcfrugal.report.co2e import Co2e
from hpcfrugal.report.scope import whole_nodes_of

COMPONENTS = ("cpu", "dram", "gpu")
"""Parts of the boundary ``components``. The boundary ``node`` is shown beside it and never added to it."""

IDLE_LACKING, IDLE_INCLUDED = "not included", "included"
"""Whether a shared node's idle power is in the shares of its energy; None where nothing is a share."""


@dataclass(frozen=True)
class JobSummary:
    """A job with its energy by component; a component that the job does not have is left out."""

    job: JobRow
    components: dict[str, Amount]
    footprint: JobFootprint | None = None

    @cached_property
    def counted(self) -> list[ChannelRow]:
        """The channels with energy in the amounts."""
        return [
            channel
            for channel in self.job.channels
            if channel.counted and channel.component in self.components and channel.energy_uj is not None
        ]

    @property
    def shared(self) -> list[ChannelRow]:
        """The channels of which the job has a share by CPU time."""
        return [channel for channel in self.counted if channel.attribution.is_share]

    @property
    def lacks_idle(self) -> bool:
        """Whether a part is a share of a node's energy, in which the node's idle power is not included."""
        return any(channel.idle_power is None for channel in self.shared)

    @property
    def idle_power(self) -> str | None:
        """The idle power that is included, with its source, by component; None where nothing is a share."""
        if self.lacks_idle:
            return IDLE_LACKING
        found: dict[str, list[str]] = {}
        for channel in self.shared:
            if channel.idle_power is not None:
                found.setdefault(channel.component, []).append(channel.idle_power)
        known = "; ".join(f"{component} {', '.join(dict.fromkeys(texts))}" for component, texts in found.items())
        return f"known: {known}" if known else None

    @property
    def not_started(self) -> bool:
        """Whether the job is pending, or was cancelled before its start."""
        return self.job.started_wall_ns is None and not self.job.sessions

    @cached_property
    def total(self) -> Amount:
        """The sum of the components."""
        return total_of(self.components.values())

    @property
    def complete(self) -> bool:
        """Whether no part of the job's energy is unknown."""
        return self.total.complete

    @cached_property
    def co2e(self) -> Co2e:
        """The job's CO2e."""
        return Co2e.of(self.footprint)


def channel_coverage(channel: ChannelRow, elapsed_ns: int | None) -> float | None:
    """Measured time over the job's elapsed time, at most 1 (the sidecar may outlive the job by a moment)."""
    if not elapsed_ns:
        return None
    return min(channel.measured_ns, elapsed_ns) / elapsed_ns


def summarise(job: JobRow, footprint: JobFootprint | None = None) -> JobSummary:
    """The energy of one job: every component of every node, known or not; with its CO2e, if given.

    A job that was never sampled and never started has unknown energy and no nodes.
    """
    counted = [channel for channel in job.channels if channel.counted and channel.component in COMPONENTS]
    present = {channel.component for channel in counted}
    # A meter of the whole node does not show which components the sidecar found there.
    sampled = {channel.node for channel in job.channels if channel.boundary == "components"}
    components: dict[str, Amount] = {}
    unseen = _unseen_cpu_time(job)
    for component in COMPONENTS:
        if component == "gpu" and "gpu" not in present:
            continue
        amount = Amount()
        for node in job.nodes:
            own = [item for item in counted if item.node == node and item.component == component]
            # A sampled node may have no GPU; a node without samples may have had some, like the others.
            if own or component != "gpu" or node not in sampled:
                amount.add(_node_amount(node, component, own, job.known_elapsed_ns or 0))
        if not job.nodes:
            amount.unknown.append(f"{component}: never sampled")
        if component in ("cpu", "dram"):
            amount.unknown.extend(f"{node} {component}: {reason}" for node, reason in unseen.items())
        components[component] = amount
    return JobSummary(job, components, footprint)


def _unseen_cpu_time(job: JobRow) -> dict[str, str]:
    """Why some of the job's CPU time was not seen, by the nodes of which it has a share by that."""
    whole = whole_nodes_of(job)
    reasons = ((session.node, session.use_reasons.get("cpu_time")) for session in job.sessions)
    return {node: reason for node, reason in reasons if reason is not None and node not in whole}


def _node_amount(node: str, component: str, channels: Sequence[ChannelRow], elapsed_ns: int) -> Amount:
    amount = Amount(elapsed_ns=elapsed_ns)
    if not channels:
        amount.unknown.append(f"{node} {component}: no samples")
    for channel in channels:
        if channel.energy_uj is None:
            amount.unknown.append(f"{node} {component} {channel.domain}: {channel.reason or 'no reading yet'}")
        else:
            amount.take(channel.quality, channel.energy_uj, channel.range_uj)
        if channel.energy_uj is not None and channel.sensor_gap_ns is not None:
            amount.unknown.append(f"{node} {component} {channel.domain}: {channel.reason}")
    amount.covered_ns = _covered_ns(channels, elapsed_ns)
    return amount


def _covered_ns(channels: Sequence[ChannelRow], elapsed_ns: int) -> int:
    """Time that a component of a node is covered.

    Sources follow one another in time (measured, and modelled in a later session), so their times add; the
    channels of one source run side by side (two packages), so theirs are averaged. GPUs are averaged over.
    """
    devices: dict[str | None, dict[str, list[int]]] = {}
    for channel in channels:
        by_source = devices.setdefault(channel.gpu_uuid, {})
        by_source.setdefault(channel.source, []).append(channel.measured_ns)
    if not devices:
        return 0
    covered = [
        min(sum(sum(times) // len(times) for times in by_source.values()), elapsed_ns) for by_source in devices.values()
    ]
    return sum(covered) // len(covered)
