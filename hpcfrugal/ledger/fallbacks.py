"""What stands for energy that no sensor gave: the model, or a channel of unknown energy that says why.

A model speaks for a whole component and for the times in which nothing of it was read. Where one package of two was
not read, nothing tells its part: that is unknown, and so is a GPU of the job that was not found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpcfrugal.accounting.model import TdpTable
from hpcfrugal.ledger.channel_totals import ChannelTotals
from hpcfrugal.ledger.modelled import ModelledSeries, model_cpu, model_dram, model_gpu, within
from hpcfrugal.ledger.readings import ChannelKey, channel_keys
from hpcfrugal.ledger.sensor_gaps import common, is_long, length_ns, unread, why_unread
from hpcfrugal.spool.samples import SidecarSession

COMPONENTS = ("cpu", "dram")
"""Components that every node has; ``gpu`` joins them where the job holds one."""

_NVML = "nvml-"
"""How the names of the sources begin whose channels are one GPU each, of those that the environment names."""

_NO_TIME = ModelledSeries("none", "no time has passed between records")


def fall_back(
    session: SidecarSession,
    speaking: set[int],
    accounts: dict[str, ChannelTotals],
    tables: tuple[TdpTable, TdpTable],
    sampled_ns: int,
) -> None:
    """Model what the session did not measure; what cannot be modelled either is unknown, with its reason.

    ``speaking`` are its channels that gave the job energy, ``tables`` those of CPUs and of GPUs, ``sampled_ns`` is the
    time of all sessions.
    """
    header, (cpu_table, gpu_table) = session.header, tables
    for component in COMPONENTS:

        def model(component: str = component) -> ModelledSeries:
            return model_cpu(session, cpu_table) if component == "cpu" else model_dram(session)

        own = [i for i, channel in enumerate(header.channels) if channel.counted and channel.component == component]
        read = [index for index in own if index in speaking]
        if not read:
            _add_series(session, accounts, component, component, model(), None)
            continue
        for index in own:
            _account(session, accounts, index).is_part |= index not in speaking
        if _is_told(session, sampled_ns):
            _missing_parts(session, component, accounts)
        _fill(session, accounts, read, (component, component, None), model)
    _gpus(session, speaking, accounts, gpu_table)
    if _is_told(session, sampled_ns):
        _unfound_gpus(session, accounts)
    for index in speaking:
        if not header.channels[index].counted and (spans := unread(session, index)):
            _say(_account(session, accounts, index), why_unread(session, index, spans))


def unknowns(session: SidecarSession, accounts: dict[str, ChannelTotals]) -> None:
    """A channel of unknown energy for each component that no channel speaks for."""
    has_gpus = bool(session.header.gpus or session.header.gpus_promised)
    for component in (*COMPONENTS, *(["gpu"] if has_gpus else [])):
        if not any(item.key.component == component and item.counted for item in accounts.values()):
            _add_series(session, accounts, component, component, _NO_TIME, None)


def _gpus(session: SidecarSession, speaking: set[int], accounts: dict[str, ChannelTotals], table: TdpTable) -> None:
    """Model the GPUs that were found and not read, and for as long as they were not."""
    channels = session.header.channels
    # A GPU that the job holds a part of is not modelled as if it held all of it.
    uuids = {
        channel.gpu_uuid
        for index, channel in enumerate(channels)
        if channel.counted and channel.component == "gpu" and (index in speaking or channel.scope == "node")
    }
    known: dict[str, Callable[[], ModelledSeries]] = {}
    domains: dict[str, str] = {}
    for position, gpu in enumerate(session.header.gpus):
        domain = f"gpu-{position if gpu.index is None else gpu.index}"
        if gpu.uuid is not None:
            known[gpu.uuid] = lambda gpu=gpu: model_gpu(session, gpu, table)  # type: ignore[misc]
            domains[gpu.uuid] = domain
        # A channel without a UUID speaks for all GPUs of the job.
        if None not in uuids and gpu.uuid not in uuids:
            _add_series(session, accounts, "gpu", domain, model_gpu(session, gpu, table), gpu.uuid)
    for index in sorted(speaking):
        channel = channels[index]
        if channel.counted and channel.component == "gpu":
            uuid = channel.gpu_uuid or ""
            place = ("gpu", domains.get(uuid, channel.domain), channel.gpu_uuid)
            _fill(session, accounts, [index], place, known.get(uuid))


def _is_told(session: SidecarSession, sampled_ns: int) -> bool:
    """Whether what was missing all through a session is told: one ends early where a driver that was late comes up."""
    elapsed_ns = session.records[-1].boottime_ns - session.header.boottime_ns
    return elapsed_ns == sampled_ns or is_long(elapsed_ns, sampled_ns, session)


def _unfound_gpus(session: SidecarSession, accounts: dict[str, ChannelTotals]) -> None:
    """A channel of unknown energy for the GPUs that the job was given, and of which nothing was seen.

    Sources other than NVML count modules, dies or
    partitions, which are not as many as the GPUs that the environment names.
    """
    header = session.header
    others = [channel for channel in header.channels if channel.component == "gpu" and channel.counted]
    missing = (header.gpus_promised or 0) - len(header.gpus)
    if missing > 0 and all(channel.source.startswith(_NVML) for channel in others):
        said = "; ".join(_absences(session, "gpu")) or "no sensor reported"
        reason = f"{missing} of {header.gpus_promised} GPUs of the job not found: {said}"
        _add_part(accounts, ChannelKey("gpu", "gpu", "none"), reason)


def _missing_parts(session: SidecarSession, component: str, accounts: dict[str, ChannelTotals]) -> None:
    """A channel of unknown energy for each domain that could not be opened, beside others that were read."""
    have = {channel.domain for channel in session.header.channels if channel.component == component and channel.counted}
    reasons: dict[str, dict[str, None]] = {}
    for item in session.header.absent:
        if item.component == component and item.domain is not None and item.domain not in have:
            reasons.setdefault(item.domain, {})[f"{item.source}: {item.reason}"] = None
    for domain, said in reasons.items():
        _add_part(accounts, ChannelKey(component, domain, "none"), "; ".join(said))


def _fill(
    session: SidecarSession,
    accounts: dict[str, ChannelTotals],
    indices: Sequence[int],
    place: tuple[str, str, str | None],
    model: Callable[[], ModelledSeries] | None,
) -> None:
    """Model the times in which none of the channels of a component (or of a GPU) was read; say which were not.

    ``place`` is the component, domain and GPU of the model's channel.
    """
    spans = {index: found for index in indices if (found := unread(session, index))}
    if not spans:
        return
    together = common([spans.get(index, []) for index in indices]) if model is not None else []
    together = [span for span in together if is_long(span[1] - span[0], span[1] - span[0], session)]
    filled = within(model(), session, together) if model is not None and together else _NO_TIME
    for index, own in spans.items():
        left_ns = length_ns(own) - (length_ns(common([own, together])) if filled.intervals else 0)
        rest = "unknown" if left_ns == length_ns(own) else "modelled"
        part = "a part of that time" if rest == "modelled" and _matters(left_ns, session) else "that time"
        account = _account(session, accounts, index)
        account.unread_ns = (account.unread_ns or 0) + length_ns(own)
        _say(account, f"{why_unread(session, index, own)}; {part} is {rest}")
    if filled.intervals:
        first = next(iter(spans))
        why = f"{session.header.channels[first].source}: {why_unread(session, first, spans[first])}"
        component, domain, uuid = place
        _add_series(session, accounts, component, domain, filled, uuid, why)


def _matters(span_ns: int, session: SidecarSession) -> bool:
    return is_long(span_ns, span_ns, session)


def _account(session: SidecarSession, accounts: dict[str, ChannelTotals], index: int) -> ChannelTotals:
    return accounts[str(channel_keys(session.header.channels)[index])]


def _say(account: ChannelTotals, reason: str) -> None:
    said = [] if account.reason is None else account.reason.split("; ")
    account.reason = account.reason if reason in said else "; ".join([*said, reason])


def _add_part(accounts: dict[str, ChannelTotals], key: ChannelKey, reason: str) -> None:
    account = ChannelTotals(
        key, quality="unknown", boundary="components", scope="job", counted=True, attribution="none", reason=reason
    )
    accounts.setdefault(str(key), account).is_part = True


def _add_series(
    session: SidecarSession,
    accounts: dict[str, ChannelTotals],
    component: str,
    domain: str,
    series: ModelledSeries,
    gpu_uuid: str | None,
    why: str | None = None,
) -> None:
    known = bool(series.intervals)
    key = ChannelKey(component, domain, series.source if known else "none")
    account = accounts.setdefault(
        str(key),
        ChannelTotals(
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
    account.reason = account.reason or why or _why(session, component, None if known else series.inputs)
    if known:
        account.job.extend(series.intervals)
        header = session.header
        ends_ns = (series.intervals[0].start_ns, series.intervals[-1].end_ns)
        first, last = ((header.boottime_ns + wall_ns - header.wall_ns, wall_ns) for wall_ns in ends_ns)
        account.seen(first, last)


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
