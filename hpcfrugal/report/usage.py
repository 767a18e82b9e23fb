"""What a job used besides energy, by node and in total: CPU time, memory, page faults, storage, GPUs, counters.

A figure that is unknown for one session of the sidecar, or for one node, is unknown in total. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from typing import NamedTuple

from hpcfrugal.core.format import percent
from hpcfrugal.ledger.rows import JobRow, SessionRow
from hpcfrugal.report import notation
from hpcfrugal.report.amount import bound_sign, sum_of_all
from hpcfrugal.report.field import Field, attributes, field, on, rows

COUNTERS = ("instructions", "cycles", "cache_references", "cache_misses")

_SUMS = (
    "memory_kib_s", "memory_ns", "page_faults_minor", "page_faults_major", "io_read_b", "io_write_b", "gpu_busy_us",
    "gpu_seen_us", *COUNTERS, "counters_enabled_ns", "counters_running_ns", "counters_cpu_us",
)  # fmt: skip

_OLD = "not recorded by this version of the sidecar"

_NEARLY_ALL = 0.95
"""Of the CPU time, which two clocks measure, one in ticks of 10 ms."""

_JSON_ONLY = {"gpu_busy": "no NVIDIA GPU", "hardware_counters": "not requested"}
"""Expected reasons, which text leaves out."""


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """Figures of one node, or with an empty ``node`` of all. ``sums`` has each count; None: unknown."""

    node: str
    cpu_us: int | None
    memory_peak_b: int | None
    io_partial: bool
    sums: dict[str, int | None]
    sources: dict[str, str] = default(default_factory=dict)
    reasons: dict[str, str] = default(default_factory=dict)

    @property
    def memory_mean_b(self) -> int | None:
        """Mean over the time in which the memory is known, per node."""
        kib_s, known_ns = self.sums["memory_kib_s"], self.sums["memory_ns"]
        return None if kib_s is None or not known_ns else kib_s * 1024 * 10**9 // known_ns

    @property
    def gpu_utilisation(self) -> float | None:
        """Share of the time in which a kernel ran on a GPU, averaged over the GPUs that could be read."""
        return _share(self.sums["gpu_busy_us"], self.sums["gpu_seen_us"])

    @property
    def counters_cpu_share(self) -> float | None:
        """Share of the job's CPU time that the hardware counters cover."""
        return _share(self.sums["counters_cpu_us"], self.cpu_us)

    @property
    def counters_running(self) -> float | None:
        """Share of that time in which they counted: less than 1 where the kernel multiplexed them."""
        return _share(self.sums["counters_running_ns"], self.sums["counters_enabled_ns"])


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole


@dataclass(frozen=True, slots=True)
class JobUsage:
    """The nodes with samples, and their total; ``missing`` nodes have no samples."""

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
        cpu_us=sum_of_all([node.cpu_us for node in parts]),
        memory_peak_b=_max([node.memory_peak_b for node in parts]),
        io_partial=any(node.io_partial for node in nodes),
        sums={name: sum_of_all([node.sums[name] for node in parts]) for name in _SUMS},
    )
    return JobUsage(nodes, total, missing)


def _node(name: str, sessions: Sequence[SessionRow]) -> NodeUsage:
    # A session without duration adds nothing, and may have ended before the first processes were seen.
    sessions = [one for one in sessions if one.ended_boottime_ns > one.started_boottime_ns] or sessions
    sources: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for session in sessions:
        sources.update(session.use_sources)
        reasons.update(session.use_reasons)
        if session.cpu_time_source is not None:
            sources["cpu_time"] = session.cpu_time_source
        if not session.use_sources and not session.use_reasons:
            kinds = ("memory_mean", "page_faults", "io", "gpu_busy", "hardware_counters")
            reasons.update(dict.fromkeys(kinds, _OLD))
    return NodeUsage(
        node=name,
        cpu_us=sum_of_all([session.job_cpu_us for session in sessions]),
        memory_peak_b=_max([session.memory_peak_b for session in sessions]),
        io_partial=any(session.use.io_partial for session in sessions),
        sums={column: sum_of_all([getattr(session.use, column) for session in sessions]) for column in _SUMS},
        sources=sources,
        reasons=reasons,
    )


def _max(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _counter(name: str) -> Callable[[NodeUsage], int | None]:
    return lambda node: node.sums[name]


def _bound_sign(node: NodeUsage) -> str:
    return bound_sign(not node.io_partial)


_FIGURES: tuple[Field[NodeUsage], ...] = (
    field(
        "cpu_time_s",
        notation.SPAN,
        lambda node: None if node.cpu_us is None else node.cpu_us * 1000,
        heading="CPU time",
    ),
    field("memory_mean_b", notation.BYTES, lambda node: node.memory_mean_b, heading="Memory mean"),
    field("memory_peak_b", notation.BYTES, lambda node: node.memory_peak_b, heading="Peak"),
    field("page_faults_minor", notation.COUNT, _counter("page_faults_minor"), heading="Faults", drop=3),
    field("page_faults_major", notation.COUNT, _counter("page_faults_major"), heading="Major", drop=2),
    field("io_read_b", notation.BYTES, _counter("io_read_b"), heading="Read", drop=5, before=_bound_sign),
    field("io_write_b", notation.BYTES, _counter("io_write_b"), heading="Written", drop=4, before=_bound_sign),
    field("io_complete", notation.PLAIN, lambda node: None if node.sums["io_read_b"] is None else not node.io_partial),
    field("gpu_utilisation", notation.SHARE, lambda node: node.gpu_utilisation, heading="GPU use", optional=True),
    field("instructions", notation.COUNT, _counter("instructions"), heading="Instructions", drop=7, optional=True),
    field("cycles", notation.COUNT, _counter("cycles")),
    field("cache_references", notation.COUNT, _counter("cache_references")),
    field("cache_misses", notation.COUNT, _counter("cache_misses"), heading="Cache misses", drop=6, optional=True),
    field("counters_cpu_share", notation.SHARE, lambda node: node.counters_cpu_share),
    field("counters_running", notation.SHARE, lambda node: node.counters_running),
)

NODE_USAGE_FIELDS: tuple[Field[NodeUsage], ...] = (
    field("node", notation.TEXT, lambda node: node.node or "all", heading="Node", key=True),
    *_FIGURES,
    field("sources", notation.PLAIN, lambda node: dict(sorted(node.sources.items()))),
)
"""One node, or all of them."""


class Reason(NamedTuple):
    """Why a figure of a node is not known."""

    node: str
    figure: str
    reason: str


def _reasons(usage: JobUsage) -> list[Reason]:
    found = [Reason(node.node, *each) for node in usage.nodes for each in sorted(node.reasons.items())]
    return found + [Reason(node, "all", "no samples") for node in usage.missing]


USAGE_FIELDS: tuple[Field[JobUsage], ...] = (
    *on(_FIGURES, lambda usage: usage.total),
    field("nodes", rows(NODE_USAGE_FIELDS), lambda usage: usage.nodes),
    field("reasons", rows(attributes(notation.PLAIN, "node", "figure", "reason")), _reasons),
)
"""All nodes together, each node, and why a figure is not known."""


def usage_notes(node: NodeUsage) -> Iterator[str]:
    """What the reader must know about the figures of a node."""
    for figure, reason in sorted(node.reasons.items()):
        if reason != _OLD and not reason.startswith(_JSON_ONLY.get(figure, "\0")):
            yield f"{figure.replace('_', ' ')}: {reason}"
    if node.io_partial:
        yield "bytes read and written: a lower bound; processes ended before they were read"
    if any(node.sums[name] is not None for name in COUNTERS):
        cpu, running = node.counters_cpu_share, node.counters_running
        if cpu is None or cpu < _NEARLY_ALL:
            part = "an unknown part" if cpu is None else percent(cpu)
            yield f"hardware counters: cover {part} of the job's CPU time; tasks launched by srun are not counted"
        if running is not None and running < 1:
            yield f"hardware counters: active {percent(running)} of the time; counts are not scaled up"
