"""Fallbacks for energy that no sensor gave: the model, or a channel of unknown energy with the reason.

A model covers a whole component, and the times in which none of its sensors was read. Where one of two packages was
not read, its part is unknown, and so is a GPU of the job that was not found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.model import Tdp, TdpTable
from hpcfrugal.ledger.channel_totals import ChannelTotals
from hpcfrugal.ledger.modelled import ModelledSeries, model_cpu, model_dram, model_gpu, part_within
from hpcfrugal.ledger.readings import ChannelKey, channel_keys
from hpcfrugal.ledger.sensor_gaps import common, describe_gaps, is_long, length_ns, sensor_gaps
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.samples import SidecarSession

NODE_COMPONENTS = ("cpu", "dram")
"""Components that every node has; ``gpu`` joins them where the job holds one."""

_NVML = "nvml-"
"""How the names of the sources begin whose channels are one GPU each, of those that the environment names."""

_NO_TIME = ModelledSeries("none", "no time has passed between records")


def fall_back(
    session: SidecarSession,
    with_energy: set[int],
    totals: dict[str, ChannelTotals],
    tables: tuple[Mapping[str, Tdp], TdpTable],
    sampled_ns: int,
    facts: NodeFacts | None = None,
) -> None:
    """Model what the session did not measure; what cannot be modelled either is unknown, with its reason.

    ``with_energy`` are its channels that gave the job energy, ``tables`` those of CPUs and GPUs, ``sampled_ns`` is the
    time of all sessions, ``facts`` what was kept of the node.
    """
    header, (cpu_table, gpu_table) = session.header, tables
    for component in NODE_COMPONENTS:

        def model(component: str = component) -> ModelledSeries:
            return model_cpu(session, cpu_table, facts) if component == "cpu" else model_dram(session)

        own = [i for i, channel in enumerate(header.channels) if channel.counted and channel.component == component]
        read = [index for index in own if index in with_energy]
        if not read:
            _add_series(session, totals, component, component, model(), None)
            continue
        for index in own:
            _sums_of(session, totals, index).is_part |= index not in with_energy
        if _is_reported(session, sampled_ns):
            _missing_parts(session, component, totals)
        _fill(session, totals, read, (component, component, None), model)
    _gpus(session, with_energy, totals, gpu_table)
    if _is_reported(session, sampled_ns):
        _unfound_gpus(session, totals)
    for index in with_energy:
        if not header.channels[index].counted and (spans := sensor_gaps(session, index)):
            _add_reason(_sums_of(session, totals, index), describe_gaps(session, index, spans))


def unknowns(session: SidecarSession, totals: dict[str, ChannelTotals]) -> None:
    """A channel of unknown energy for each component without a channel."""
    has_gpus = bool(session.header.gpus or session.header.gpus_promised)
    for component in (*NODE_COMPONENTS, *(["gpu"] if has_gpus else [])):
        if not any(item.key.component == component and item.counted for item in totals.values()):
            _add_series(session, totals, component, component, _NO_TIME, None)


def _gpus(session: SidecarSession, with_energy: set[int], totals: dict[str, ChannelTotals], table: TdpTable) -> None:
    """Model the GPUs that were found and not read, and for as long as they were not."""
    channels = session.header.channels
    # A GPU that the job holds a part of is not modelled as if it held all of it.
    uuids = {
        channel.gpu_uuid
        for index, channel in enumerate(channels)
        if channel.counted and channel.component == "gpu" and (index in with_energy or channel.scope == "node")
    }
    known: dict[str, Callable[[], ModelledSeries]] = {}
    domains: dict[str, str] = {}
    for position, gpu in enumerate(session.header.gpus):
        domain = f"gpu-{position if gpu.index is None else gpu.index}"
        if gpu.uuid is not None:
            known[gpu.uuid] = lambda gpu=gpu: model_gpu(session, gpu, table)  # type: ignore[misc]
            domains[gpu.uuid] = domain
        # A channel without a UUID covers all GPUs of the job.
        if None not in uuids and gpu.uuid not in uuids:
            _add_series(session, totals, "gpu", domain, model_gpu(session, gpu, table), gpu.uuid)
    for index in sorted(with_energy):
        channel = channels[index]
        if channel.counted and channel.component == "gpu":
            uuid = channel.gpu_uuid or ""
            place = ("gpu", domains.get(uuid, channel.domain), channel.gpu_uuid)
            _fill(session, totals, [index], place, known.get(uuid))


def _is_reported(session: SidecarSession, sampled_ns: int) -> bool:
    """Whether sensors missing in a whole session are reported: one ends early where a slow driver comes up late."""
    elapsed_ns = session.records[-1].boottime_ns - session.header.boottime_ns
    return elapsed_ns == sampled_ns or is_long(elapsed_ns, sampled_ns, session)


def _unfound_gpus(session: SidecarSession, totals: dict[str, ChannelTotals]) -> None:
    """A channel of unknown energy for the GPUs that the job was given, and of which nothing was seen.

    Sources other than NVML count modules, dies or
    partitions, which are not as many as the GPUs that the environment names.
    """
    header = session.header
    others = [channel for channel in header.channels if channel.component == "gpu" and channel.counted]
    missing = (header.gpus_promised or 0) - len(header.gpus)
    if missing > 0 and all(channel.source.startswith(_NVML) for channel in others):
        why = "; ".join(_absences(session, "gpu")) or "no sensor reported"
        reason = f"{missing} of {header.gpus_promised} GPUs of the job not found: {why}"
        _add_part(totals, ChannelKey("gpu", "gpu", "none"), reason)


def _missing_parts(session: SidecarSession, component: str, totals: dict[str, ChannelTotals]) -> None:
    """A channel of unknown energy for each domain that could not be opened, beside others that were read."""
    have = {channel.domain for channel in session.header.channels if channel.component == component and channel.counted}
    reasons: dict[str, dict[str, None]] = {}
    for item in session.header.absent:
        if item.component == component and item.domain is not None and item.domain not in have:
            reasons.setdefault(item.domain, {})[f"{item.source}: {item.reason}"] = None
    for domain, known_reasons in reasons.items():
        _add_part(totals, ChannelKey(component, domain, "none"), "; ".join(known_reasons))


def _fill(
    session: SidecarSession,
    totals: dict[str, ChannelTotals],
    indices: Sequence[int],
    place: tuple[str, str, str | None],
    model: Callable[[], ModelledSeries] | None,
) -> None:
    """Model the times in which none of the channels of a component (or of a GPU) was read; say which were not.

    ``place`` is the component, domain and GPU of the model's channel.
    """
    spans = {index: found for index in indices if (found := sensor_gaps(session, index))}
    if not spans:
        return
    together = common([spans.get(index, []) for index in indices]) if model is not None else []
    together = [span for span in together if is_long(span[1] - span[0], span[1] - span[0], session)]
    filled = part_within(model(), session, together) if model is not None and together else _NO_TIME
    for index, own in spans.items():
        left_ns = length_ns(own) - (length_ns(common([own, together])) if filled.intervals else 0)
        rest = "unknown" if left_ns == length_ns(own) else "modelled"
        part = "a part of that time" if rest == "modelled" and _matters(left_ns, session) else "that time"
        sums = _sums_of(session, totals, index)
        sums.sensor_gap_ns = (sums.sensor_gap_ns or 0) + length_ns(own)
        _add_reason(sums, f"{describe_gaps(session, index, own)}; {part} is {rest}")
    if filled.intervals:
        first = next(iter(spans))
        why = f"{session.header.channels[first].source}: {describe_gaps(session, first, spans[first])}"
        component, domain, uuid = place
        _add_series(session, totals, component, domain, filled, uuid, why)


def _matters(span_ns: int, session: SidecarSession) -> bool:
    return is_long(span_ns, span_ns, session)


def _sums_of(session: SidecarSession, totals: dict[str, ChannelTotals], index: int) -> ChannelTotals:
    return totals[str(channel_keys(session.header.channels)[index])]


def _add_reason(sums: ChannelTotals, reason: str) -> None:
    known_reasons = [] if sums.reason is None else sums.reason.split("; ")
    sums.reason = sums.reason if reason in known_reasons else "; ".join([*known_reasons, reason])


def _add_part(totals: dict[str, ChannelTotals], key: ChannelKey, reason: str) -> None:
    sums = ChannelTotals(
        key,
        quality="unknown",
        boundary="components",
        scope="job",
        counted=True,
        attribution=Attribution.NONE,
        reason=reason,
    )
    totals.setdefault(str(key), sums).is_part = True


def _add_series(
    session: SidecarSession,
    totals: dict[str, ChannelTotals],
    component: str,
    domain: str,
    series: ModelledSeries,
    gpu_uuid: str | None,
    why: str | None = None,
) -> None:
    known = bool(series.intervals)
    key = ChannelKey(component, domain, series.source if known else "none")
    sums = totals.setdefault(
        str(key),
        ChannelTotals(
            key=key,
            quality="modelled" if known else "unknown",
            boundary="components",
            scope="job",
            counted=True,
            attribution=Attribution.MODEL if known else Attribution.NONE,
            gpu_uuid=gpu_uuid,
        ),
    )
    sums.inputs = sums.inputs or (series.inputs if known else None)
    sums.reason = sums.reason or why or _why(session, component, None if known else series.inputs)
    if known:
        sums.job.extend(series.intervals)
        low_uj, high_uj = series.range.of(sum(interval.energy_uj for interval in series.intervals))
        sums.low_uj, sums.high_uj = (sums.low_uj or 0) + low_uj, (sums.high_uj or 0) + high_uj
        header = session.header
        ends_ns = (series.intervals[0].start_ns, series.intervals[-1].end_ns)
        first, last = ((header.boottime_ns + wall_ns - header.wall_ns, wall_ns) for wall_ns in ends_ns)
        sums.note_readings(first, last)


def _absences(session: SidecarSession, component: str) -> list[str]:
    absent = (f"{item.source}: {item.reason}" for item in session.header.absent if item.component == component)
    return list(dict.fromkeys(absent))


def _why(session: SidecarSession, component: str, unknown_because: str | None) -> str:
    """Why nothing better was used, from what the sidecar reported."""
    reasons = _absences(session, component)
    if any(channel.component == component and channel.counted for channel in session.header.channels):
        reasons.append("a sensor was found but gave no usable reading")
    elif not reasons:
        reasons.append("no sensor reported")
    if unknown_because is not None:
        reasons.append(f"model: {unknown_because}")
    return "; ".join(reasons)
