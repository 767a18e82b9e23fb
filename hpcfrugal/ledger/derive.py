"""What one node's sample file says about a job's energy: channels, sums and buckets. A pure function.

Every counted component of a segment is either measured, or modelled where no sensor gave a reading while time
went by, or unknown; and an unknown one gets a channel of its own that says why. Times are the header's wall
clock plus the time since boot that has passed, so a step of the wall clock moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hpcfrugal.accounting.attribution import JobUse, NodeInterval, job_share, kind_of
from hpcfrugal.accounting.buckets import Bucket, Interval, fill
from hpcfrugal.accounting.model import TdpTable
from hpcfrugal.ledger.modelled import ModelledSeries, model_cpu, model_dram, model_gpu
from hpcfrugal.spool.samples import Channel, Record, Segment

_COMPONENTS = ("cpu", "dram")
"""Components that every node has; ``gpu`` joins them where the job holds one."""

SHARED_GPU = "a shared GPU: the job's part is not known"
"""Why a GPU of which the job holds a part has no energy, neither read nor modelled."""

_NO_TIME = ModelledSeries("none", "no time has passed between records")


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """What makes a channel the same over the segments of a file."""

    component: str
    domain: str
    source: str

    def __str__(self) -> str:
        return f"{self.component}/{self.domain}/{self.source}"


@dataclass(slots=True)
class ChannelAccount:
    """Sums of one channel over all segments of one node."""

    key: ChannelKey
    quality: str
    boundary: str
    scope: str
    counted: bool
    attribution: str
    detail: str | None = None
    gpu_uuid: str | None = None
    inputs: str | None = None
    reason: str | None = None
    errors: int = 0
    max_w: float | None = None
    resets: int | None = None
    gaps: int | None = None
    job: list[Interval] = field(default_factory=list)
    node: list[Interval] = field(default_factory=list)
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    @property
    def energy_uj(self) -> int | None:
        """The job's energy; None where no time stands behind it."""
        return _known(self.job)

    @property
    def node_energy_uj(self) -> int | None:
        """The energy as read, before attribution."""
        return _known(self.node)

    @property
    def measured_ns(self) -> int:
        return sum(interval.measured_ns for interval in self.job)

    def buckets(self) -> dict[int, Bucket]:
        """Energy by bucket; empty where no time stands behind the sums."""
        job = self.job if self.energy_uj is not None else []
        node = self.node if self.node_energy_uj is not None else []
        return fill(job, node)

    def seen(self, first: tuple[int, int], last: tuple[int, int]) -> None:
        """Note the (boottime, wall) of the first and last reading of a segment."""
        self.first = self.first or first
        self.last = last


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """All of one file, and what in it could not be used."""

    channels: tuple[ChannelAccount, ...]
    problems: tuple[str, ...]


def _known(intervals: Sequence[Interval]) -> int | None:
    if not any(interval.measured_ns for interval in intervals):
        return None
    return sum(interval.energy_uj for interval in intervals)


def derive(segments: Sequence[Segment], cpu_table: TdpTable, gpu_table: TdpTable) -> NodeAccount:
    """Account for the job on one node."""
    accounts: dict[str, ChannelAccount] = {}
    problems: list[str] = []
    for segment in segments:
        speaking = _measured(segment, accounts, problems)
        if _elapsed_ns(segment) > 0:
            _fallbacks(segment, speaking, accounts, cpu_table, gpu_table)
    if segments:
        _unknowns(segments[-1], accounts)
    for account in accounts.values():
        if account.counted and account.energy_uj is None and _replaced(account, accounts):
            account.counted = False
    return NodeAccount(tuple(accounts[name] for name in sorted(accounts)), tuple(problems))


def _elapsed_ns(segment: Segment) -> int:
    return segment.records[-1].boottime_ns - segment.header.boottime_ns if segment.records else 0


def _replaced(account: ChannelAccount, accounts: dict[str, ChannelAccount]) -> bool:
    """Whether a model stands in for this channel, which then must not count as a gap."""
    if account.reason == SHARED_GPU:
        return False
    return any(
        other.attribution == "model"
        and other.key.component == account.key.component
        and (account.key.component != "gpu" or other.gpu_uuid == account.gpu_uuid)
        for other in accounts.values()
    )


def _unknowns(segment: Segment, accounts: dict[str, ChannelAccount]) -> None:
    """A channel of unknown energy for each component that no channel speaks for."""
    expected = [*_COMPONENTS, *(["gpu"] if segment.header.gpus else [])]
    for component in expected:
        if not any(item.key.component == component and item.counted for item in accounts.values()):
            _add_series(segment, accounts, component, component, _NO_TIME, None)


def _names(channels: Sequence[Channel]) -> list[ChannelKey]:
    """A key for each channel of a header; a second one of the same name gets ``#2`` behind its domain."""
    seen: dict[ChannelKey, int] = {}
    names = []
    for channel in channels:
        key = ChannelKey(channel.component, channel.domain, channel.source)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            key = ChannelKey(channel.component, f"{channel.domain}#{seen[key]}", channel.source)
        names.append(key)
    return names


def _measured(segment: Segment, accounts: dict[str, ChannelAccount], problems: list[str]) -> set[int]:
    """Add the segment's own channels to ``accounts``; returns which of them gave the job energy."""
    header = segment.header
    speaking: set[int] = set()
    for index, (channel, key) in enumerate(zip(header.channels, _names(header.channels), strict=True)):
        attribution = kind_of(channel.component, channel.scope, header.exclusive)
        account = accounts.setdefault(
            str(key),
            ChannelAccount(
                key=key,
                quality=channel.quality,
                boundary=channel.boundary,
                scope=channel.scope,
                counted=channel.counted,
                attribution=attribution,
                detail=channel.detail,
                gpu_uuid=channel.gpu_uuid,
            ),
        )
        points, backwards = _points(segment, index)
        if backwards:
            problems.append(f"{key}: {backwards} readings run backwards")
        if segment.records:
            account.errors += segment.records[-1].errors[index]
        _note_extremes(segment, index, account)
        if not points:
            account.reason = account.reason or "no reading succeeded"
            continue
        account.seen((points[0].boottime_ns, points[0].wall_ns), (points[-1].boottime_ns, points[-1].wall_ns))
        whole = [_interval(segment, index, old, new) for old, new in pairwise(points)]
        account.node.extend(whole)
        shares: list[Interval] | None = whole
        if attribution == "none":
            account.reason = SHARED_GPU
            continue
        if attribution == "cpu-share":
            account.inputs = "job CPU time / node busy CPU time; idle power of the node unknown, counted as 0"
            shares = _shared(segment, index, points)
        if shares is None:
            account.reason = "the job's or the node's CPU time is unknown, so is the job's share of the node"
            continue
        account.job.extend(shares)
        if any(interval.measured_ns for interval in shares):
            speaking.add(index)
    return speaking


def _note_extremes(segment: Segment, index: int, account: ChannelAccount) -> None:
    """Peak power, and how often the counter fell or was not read in time; None where the sidecar does not tell."""
    peaks = [record.max_w[index] for record in segment.records if record.max_w is not None]
    account.max_w = max((peak for peak in (account.max_w, *peaks) if peak is not None), default=None)
    for record in reversed(segment.records):
        if record.resets is not None:
            account.resets = (account.resets or 0) + record.resets[index]
            break
    for record in reversed(segment.records):
        if record.gaps is not None:
            account.gaps = (account.gaps or 0) + record.gaps[index]
            break


def _points(segment: Segment, index: int) -> tuple[list[Record], int]:
    """Records at which the channel was read, and how many were dropped because the counter fell."""
    points: list[Record] = []
    backwards = 0
    last_uj = 0
    for record in segment.records:
        energy_uj = record.energy_uj[index]
        if energy_uj is None:
            continue
        if energy_uj < last_uj:
            backwards += 1
            continue
        last_uj = energy_uj
        points.append(record)
    if points and points[0].measured_ns[index] > 0:
        # The first line after the header is lost or its reading failed: counters are 0 at the header.
        points.insert(0, _zero(segment))
    return points, backwards


def _zero(segment: Segment) -> Record:
    header = segment.header
    zeros = (0,) * len(header.channels)
    return Record(header.boottime_ns, header.wall_ns, zeros, zeros, zeros, 0, 0, None, None)


def wall_of(segment: Segment, boottime_ns: int) -> int:
    """Wall time of an instant since boot, by the clocks of the segment's header."""
    return segment.header.wall_ns + boottime_ns - segment.header.boottime_ns


def _interval(segment: Segment, index: int, old: Record, new: Record) -> Interval:
    length_ns = new.boottime_ns - old.boottime_ns
    return Interval(
        start_ns=wall_of(segment, old.boottime_ns),
        end_ns=wall_of(segment, new.boottime_ns),
        energy_uj=(new.energy_uj[index] or 0) - (old.energy_uj[index] or 0),
        # More time measured than has passed is a rounding of two clock readings.
        measured_ns=min(new.measured_ns[index] - old.measured_ns[index], length_ns),
    )


def _shared(segment: Segment, index: int, points: Sequence[Record]) -> list[Interval] | None:
    """The job's part of each interval between readings that have both CPU times; None where none has."""
    usable: list[Record] = []
    for point in points:
        if point.job_cpu_us is None or point.node_busy_us is None:
            continue
        before = usable[-1] if usable else None
        if before is not None and (
            point.job_cpu_us < (before.job_cpu_us or 0) or point.node_busy_us < (before.node_busy_us or 0)
        ):
            continue
        usable.append(point)
    if len(usable) < 2 and len(points) >= 2:
        return None
    header = segment.header
    shares: list[Interval] = []
    for old, new in pairwise(usable):
        whole = _interval(segment, index, old, new)
        share = job_share(
            NodeInterval(whole.energy_uj, (new.node_busy_us or 0) - (old.node_busy_us or 0), header.cpus_node),
            JobUse((new.job_cpu_us or 0) - (old.job_cpu_us or 0), header.cpus_alloc),
        )
        if share is not None:
            shares.append(Interval(whole.start_ns, whole.end_ns, share.energy_uj, whole.measured_ns))
    return shares


def _fallbacks(
    segment: Segment,
    speaking: set[int],
    accounts: dict[str, ChannelAccount],
    cpu_table: TdpTable,
    gpu_table: TdpTable,
) -> None:
    """Model what the segment did not measure; what cannot be modelled either is unknown, with its reason."""
    header = segment.header
    measured = [channel for index, channel in enumerate(header.channels) if index in speaking and channel.counted]
    for component in _COMPONENTS:
        if not any(channel.component == component for channel in measured):
            series = model_cpu(segment, cpu_table) if component == "cpu" else model_dram(segment)
            _add_series(segment, accounts, component, component, series, None)
    # A GPU that the job holds a part of is not modelled as if it held all of it.
    uuids = {
        channel.gpu_uuid
        for index, channel in enumerate(header.channels)
        if channel.counted and channel.component == "gpu" and (index in speaking or channel.scope == "node")
    }
    for position, gpu in enumerate(header.gpus):
        # A channel without a UUID speaks for all GPUs of the job.
        if None not in uuids and gpu.uuid not in uuids:
            domain = f"gpu-{position if gpu.index is None else gpu.index}"
            _add_series(segment, accounts, "gpu", domain, model_gpu(segment, gpu, gpu_table), gpu.uuid)


def _add_series(
    segment: Segment,
    accounts: dict[str, ChannelAccount],
    component: str,
    domain: str,
    series: ModelledSeries,
    gpu_uuid: str | None,
) -> None:
    known = bool(series.intervals)
    key = ChannelKey(component, domain, series.source if known else "none")
    account = accounts.setdefault(
        str(key),
        ChannelAccount(
            key=key,
            quality="modelled" if known else "unknown",
            boundary="components",
            scope="job",
            counted=True,
            attribution="model" if known else "none",
            gpu_uuid=gpu_uuid,
        ),
    )
    account.inputs = account.inputs or (series.inputs if known else None)
    account.reason = account.reason or _why(segment, component, None if known else series.inputs)
    if known:
        account.job.extend(series.intervals)
        first, last = segment.header, segment.records[-1]
        account.seen((first.boottime_ns, first.wall_ns), (last.boottime_ns, last.wall_ns))


def _why(segment: Segment, component: str, unknown_because: str | None) -> str:
    """Why nothing better was used, from what the sidecar reported."""
    absent = (f"{item.source}: {item.reason}" for item in segment.header.absent if item.component == component)
    reasons = list(dict.fromkeys(absent))
    if any(channel.component == component and channel.counted for channel in segment.header.channels):
        reasons.append("a sensor was found but gave no usable reading")
    elif not reasons:
        reasons.append("no sensor reported")
    if unknown_because is not None:
        reasons.append(f"model: {unknown_because}")
    return "; ".join(reasons)
