"""What a job used beside energy, by node and in all: CPU time, memory, page faults, storage, GPUs, counters.

A figure that is not known of one session of the sidecar, or of one node, is not known of the whole. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcfrugal.ledger.rows import JobRow, SessionRow

COUNTERS = ("instructions", "cycles", "cache_references", "cache_misses")

_SUMS = (
    "memory_kib_s", "memory_ns", "page_faults_minor", "page_faults_major", "io_read_b", "io_write_b", "gpu_busy_us",
    "gpu_seen_us", *COUNTERS, "counters_enabled_ns", "counters_running_ns", "counters_cpu_us",
)  # fmt: skip

_OLD = "the sidecar of that version did not record it"

_NEARLY_ALL = 0.95
"""Of the CPU time: two clocks measure it, one of them in ticks of 10 ms."""

_NOT_SHOWN = {"gpu_busy": "no NVIDIA GPU", "hardware_counters": "not asked for"}
"""Reasons that are in JSON alone: a job without a GPU is not told so at each report."""


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """Figures of one node, or of all. ``sums`` has each of the counts; None is not known."""

    node: str
    cpu_us: int | None
    memory_peak_b: int | None
    io_partial: bool
    sums: dict[str, int | None]
    sources: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def memory_mean_b(self) -> int | None:
        """Mean over the time for which the memory is known; of several nodes the mean of one of them."""
        kib_s, known_ns = self.sums["memory_kib_s"], self.sums["memory_ns"]
        return None if kib_s is None or not known_ns else kib_s * 1024 * 10**9 // known_ns

    @property
    def gpu_utilisation(self) -> float | None:
        """Share of the time in which a GPU was at work, a mean over the GPUs that could be asked."""
        return _share(self.sums["gpu_busy_us"], self.sums["gpu_seen_us"])

    @property
    def counters_cpu_share(self) -> float | None:
        """Share of the job's CPU time that the hardware's counters belong to."""
        return _share(self.sums["counters_cpu_us"], self.cpu_us)

    @property
    def counters_running(self) -> float | None:
        """Share of that time in which they counted: less than 1 where more were asked for than a CPU has."""
        return _share(self.sums["counters_running_ns"], self.sums["counters_enabled_ns"])


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole


@dataclass(frozen=True, slots=True)
class JobUsage:
    """The nodes with samples, and all of them together; ``missing`` nodes have none."""

    nodes: tuple[NodeUsage, ...]
    total: NodeUsage
    missing: tuple[str, ...]


def usage_of(job: JobRow) -> JobUsage:
    """The figures of ``job``."""
    by_node: dict[str, list[SessionRow]] = {}
    for session in job.sessions:
        by_node.setdefault(session.node, []).append(session)
    nodes = tuple(_node(name, sessions) for name, sessions in by_node.items())
    missing = tuple(name for name in job.nodes if name not in by_node)
    parts = nodes if nodes and not missing else ()
    total = NodeUsage(
        node="",
        cpu_us=_sum([node.cpu_us for node in parts]),
        memory_peak_b=_max([node.memory_peak_b for node in parts]),
        io_partial=any(node.io_partial for node in nodes),
        sums={name: _sum([node.sums[name] for node in parts]) for name in _SUMS},
    )
    return JobUsage(nodes, total, missing)


def _node(name: str, sessions: Sequence[SessionRow]) -> NodeUsage:
    # A session of one moment adds nothing, and may have ended before the first processes were seen.
    lasting = [session for session in sessions if session.ended_boottime_ns > session.started_boottime_ns]
    lasting = lasting or list(sessions)
    sources: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for session in lasting:
        sources.update(session.use_sources)
        reasons.update(session.use_reasons)
        if session.cpu_time_source is not None:
            sources["cpu_time"] = session.cpu_time_source
        if not session.use_sources and not session.use_reasons:
            kinds = ("memory_mean", "page_faults", "io", "gpu_busy", "hardware_counters")
            reasons.update(dict.fromkeys(kinds, _OLD))
    return NodeUsage(
        node=name,
        cpu_us=_sum([session.job_cpu_us for session in lasting]),
        memory_peak_b=_max([session.memory_peak_b for session in lasting]),
        io_partial=any(session.use.io_partial for session in lasting),
        sums={column: _sum([getattr(session.use, column) for session in lasting]) for column in _SUMS},
        sources=sources,
        reasons=reasons,
    )


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _max(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def usage_json(usage: JobUsage) -> dict[str, Any]:
    """The block ``usage``: all nodes together, each node, and why a figure is not known."""
    reasons = [
        {"node": node.node, "figure": figure, "reason": reason}
        for node in usage.nodes
        for figure, reason in sorted(node.reasons.items())
    ]
    reasons += [{"node": node, "figure": "all", "reason": "no samples"} for node in usage.missing]
    nodes = [
        {"node": node.node, **_figures(node), "sources": dict(sorted(node.sources.items()))} for node in usage.nodes
    ]
    return {**_figures(usage.total), "nodes": nodes, "reasons": reasons}


def _figures(node: NodeUsage) -> dict[str, Any]:
    sums = node.sums
    return {
        "cpu_time_s": None if node.cpu_us is None else node.cpu_us / 1e6,
        "memory_peak_b": node.memory_peak_b,
        "memory_mean_b": node.memory_mean_b,
        "page_faults_minor": sums["page_faults_minor"],
        "page_faults_major": sums["page_faults_major"],
        "io_read_b": sums["io_read_b"],
        "io_write_b": sums["io_write_b"],
        "io_complete": None if sums["io_read_b"] is None else not node.io_partial,
        "gpu_utilisation": node.gpu_utilisation,
        **{name: sums[name] for name in COUNTERS},
        "counters_cpu_share": node.counters_cpu_share,
        "counters_running": node.counters_running,
    }


def usage_notes(node: NodeUsage) -> Iterator[str]:
    """What the reader must know about the figures of a node."""
    for figure, reason in sorted(node.reasons.items()):
        if reason != _OLD and not reason.startswith(_NOT_SHOWN.get(figure, "\0")):
            yield f"{figure.replace('_', ' ')}: {reason}"
    if node.io_partial:
        yield "bytes read and written: more than that; processes ended before they could be asked"
    if any(node.sums[name] is not None for name in COUNTERS):
        cpu, running = node.counters_cpu_share, node.counters_running
        if cpu is None or cpu < _NEARLY_ALL:
            part = "an unknown part" if cpu is None else f"{cpu * 100:.1f} %"
            yield f"hardware counters: of {part} of the job's CPU time; tasks that srun launches are not counted"
        if running is not None and running < 1:
            yield f"hardware counters: at work {running * 100:.1f} % of the time, counts as they stand"
