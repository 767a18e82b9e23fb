"""Fallbacks for energy that no sensor gave: the model, or a channel of unknown energy with the reason.

A model covers a whole component, and the times in which none of its sensors was read. Where one of two packages was
not read, its part is unknown, and so is a GPU of the job that was not found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.model import Tdp, TdpTable
from hpcfrugal.ledger.channel_totals import ChannelTotals, TotalsByName
from hpcfrugal.ledger.modelled import Modelled, model_cpu, model_dram, model_gpu, part_within
from hpcfrugal.ledger.readings import ChannelKey, SessionReadings
from hpcfrugal.ledger.sensor_gaps import common, describe_gaps, is_long, length_ns, sensor_gaps
from hpcfrugal.spool.sample_header import ChannelInfo

NODE_COMPONENTS = ("cpu", "dram")
"""Components that every node has; ``gpu`` joins them where the job holds one."""

MAX_REASON = 2000
"""Characters of the reason why nothing better was used; a long list of sensors is cut."""

IN_OTHER_GPUS = "in the power of GPUs of the node that are not the job's"
"""Why the energy of processors and memory is unknown that are of one piece with GPUs."""

_NVML = "nvml-"
"""How the names of the sources begin whose channels are one GPU each, of those that the environment names."""

_NO_TIME = Modelled("none", "no time has passed between records")


class Fallbacks:
    """Those of one session, whose ``sampled_ns`` is the time of all sessions of the file; they go into ``totals``."""

    def __init__(self, read: SessionReadings, totals: TotalsByName, sampled_ns: int = 0) -> None:
        self._read = read
        self._session = read.session
        self._totals = totals
        self._sampled_ns = sampled_ns

    def add(self, with_energy: set[int], cpu_table: Mapping[str, Tdp], gpu_table: TdpTable) -> int:
        """Model what the session did not measure; what cannot be modelled either is unknown, with its reason.

        ``with_energy`` are its channels that gave the job energy. Gives the time for which the model of the CPU takes
        the cores to have been busy; 0 where it is not used.
        """
        busy_ns = 0
        models: dict[str, Callable[[], Modelled]] = {
            "cpu": partial(model_cpu, self._read, cpu_table),
            "dram": partial(model_dram, self._read),
        }
        for component in NODE_COMPONENTS:
            own = [
                index
                for index, channel in enumerate(self._read.channels)
                if channel.counted and channel.component == component
            ]
            read = [index for index in own if index in with_energy]
            if component in self._read.header.in_other_gpus:
                self._add_part(ChannelKey(component, component, "none"), IN_OTHER_GPUS)
                continue
            if not read:
                if any(_contains(self._read.channels[index], component) for index in with_energy):
                    continue
                modelled = models[component]()
                busy_ns += modelled.busy_ns
                self._add_modelled(component, component, modelled, None)
                continue
            for index in own:
                self._sums_of(index).is_part |= index not in with_energy
            if self._is_reported:
                self._add_missing_parts(component)
            self._fill(read, (component, component, None), models[component])
        self._add_gpus(with_energy, gpu_table)
        if self._is_reported:
            self._add_unread_gpus()
        for index in with_energy:
            if not self._read.channels[index].counted and (spans := sensor_gaps(self._read, index)):
                _add_reason(self._sums_of(index), describe_gaps(self._session, index, spans))
        return busy_ns

    def add_unknown(self) -> None:
        """A channel of unknown energy for each component without a channel."""
        header = self._read.header
        has_gpus = bool(header.gpus or header.gpus_promised or header.gpus_unread)
        for component in (*NODE_COMPONENTS, *(["gpu"] if has_gpus else [])):
            if any(_contains(channel, component) for channel in self._read.channels):
                continue
            if not any(item.key.component == component and item.counted for item in self._totals.values()):
                self._add_modelled(component, component, _NO_TIME, None)

    def _add_gpus(self, with_energy: set[int], table: TdpTable) -> None:
        """Model the GPUs that were found and not read, and for as long as they were not."""
        channels = self._read.channels
        # A GPU that the job holds a part of is not modelled as if it held all of it.
        uuids = {
            channel.gpu_uuid
            for index, channel in enumerate(channels)
            if channel.counted and channel.component == "gpu" and (index in with_energy or channel.scope == "node")
        }
        known: dict[str, Callable[[], Modelled]] = {}
        domains: dict[str, str] = {}
        for position, gpu in enumerate(self._read.header.gpus):
            domain = gpu.domain or f"gpu-{position if gpu.index is None else gpu.index}"
            if gpu.uuid is not None:
                known[gpu.uuid] = partial(model_gpu, self._read, gpu, table)
                domains[gpu.uuid] = domain
            # A channel without a UUID covers all GPUs of the job.
            if None not in uuids and gpu.uuid not in uuids:
                self._add_modelled("gpu", domain, model_gpu(self._read, gpu, table), gpu.uuid)
        for index in sorted(with_energy):
            channel = channels[index]
            if channel.counted and channel.component == "gpu":
                uuid = channel.gpu_uuid or ""
                place = ("gpu", domains.get(uuid, channel.domain), channel.gpu_uuid)
                self._fill([index], place, known.get(uuid))

    @cached_property
    def _is_reported(self) -> bool:
        """Whether sensors missing in all of it are reported: a session ends early where a slow driver comes up late."""
        elapsed_ns = self._session.elapsed_ns
        return elapsed_ns == self._sampled_ns or is_long(elapsed_ns, self._sampled_ns, self._session)

    def _add_unread_gpus(self) -> None:
        """A channel of unknown energy for the GPUs that the job was given or may hold, and that nothing read.

        Sources other than NVML count modules, dies or partitions, which are not as many as the GPUs that the
        environment names.
        """
        header = self._read.header
        others = [channel for channel in header.channels if channel.component == "gpu" and channel.counted]
        missing = header.gpus_unread or 0
        if all(channel.source.startswith(_NVML) for channel in others):
            missing = max(missing, (header.gpus_promised or 0) - len(header.gpus))
        if missing > 0:
            why = self._absences.get("gpu", "no sensor reported")
            reason = f"{missing} of {len(header.gpus) + missing} GPUs of the job not read: {why}"
            self._add_part(ChannelKey("gpu", "gpu", "none"), reason)

    def _add_missing_parts(self, component: str) -> None:
        """A channel of unknown energy for each domain that could not be opened, beside others that were read."""
        header = self._read.header
        have = {channel.domain for channel in header.channels if channel.component == component and channel.counted}
        reasons: dict[str, dict[str, None]] = {}
        for item in header.absent:
            if item.component == component and item.domain is not None and item.domain not in have:
                reasons.setdefault(item.domain, {})[f"{item.source}: {item.reason}"] = None
        for domain, known_reasons in reasons.items():
            self._add_part(ChannelKey(component, domain, "none"), "; ".join(known_reasons))

    def _fill(
        self, indices: Sequence[int], place: tuple[str, str, str | None], model: Callable[[], Modelled] | None
    ) -> None:
        """Model the times in which none of the channels of a component (or of a GPU) was read; say which were not.

        ``place`` is the component, domain and GPU of the model's channel.
        """
        spans = {index: found for index in indices if (found := sensor_gaps(self._read, index))}
        if not spans:
            return
        together = common([spans.get(index, []) for index in indices]) if model is not None else []
        together = [span for span in together if self._matters(span[1] - span[0])]
        filled = part_within(model(), self._session, together) if model is not None and together else _NO_TIME
        for index, own in spans.items():
            left_ns = length_ns(own) - (length_ns(common([own, together])) if filled.curves else 0)
            rest = "unknown" if left_ns == length_ns(own) else "modelled"
            part = "a part of that time" if rest == "modelled" and self._matters(left_ns) else "that time"
            sums = self._sums_of(index)
            sums.sensor_gap_ns = (sums.sensor_gap_ns or 0) + length_ns(own)
            _add_reason(sums, f"{describe_gaps(self._session, index, own)}; {part} is {rest}")
        if filled.curves:
            first = next(iter(spans))
            source = self._read.channels[first].source
            component, domain, uuid = place
            why = f"{source}: {describe_gaps(self._session, first, spans[first])}"
            self._add_modelled(component, domain, filled, uuid, why)

    def _matters(self, span_ns: int) -> bool:
        return is_long(span_ns, span_ns, self._session)

    def _sums_of(self, index: int) -> ChannelTotals:
        return self._totals[str(self._read.keys[index])]

    def _add_part(self, key: ChannelKey, reason: str) -> None:
        self._totals.of(
            key,
            quality="unknown",
            boundary="components",
            scope="job",
            counted=True,
            attribution=Attribution.NONE,
            reason=_cut(reason),
        ).is_part = True

    def _add_modelled(
        self, component: str, domain: str, series: Modelled, gpu_uuid: str | None, why: str | None = None
    ) -> None:
        known = bool(series.curves)
        key = ChannelKey(component, domain, series.source if known else "none")
        sums = self._totals.of(
            key,
            quality="modelled" if known else "unknown",
            boundary="components",
            scope="job",
            counted=True,
            attribution=Attribution.MODEL if known else Attribution.NONE,
            gpu_uuid=gpu_uuid,
        )
        sums.inputs = sums.inputs or (series.inputs if known else None)
        sums.reason = sums.reason or why or self._why(component, None if known else series.inputs)
        if known:
            before_uj = sums.job.energy_uj if self._session.read_before else 0
            for curve in series.curves:
                sums.job.add(curve)
            low_uj, high_uj = series.range.of(before_uj + series.energy_uj)
            sums.low_uj, sums.high_uj = (sums.low_uj or 0) + low_uj, (sums.high_uj or 0) + high_uj
            header = self._read.header
            ends_ns = (series.curves[0].instants.times_ns[0], series.curves[-1].instants.times_ns[-1])
            first, last = ((header.boottime_ns + wall_ns - header.wall_ns, wall_ns) for wall_ns in ends_ns)
            sums.note_readings(first, last)

    @cached_property
    def _absences(self) -> dict[str, str]:
        """By component the sensors that were not used and why, in words."""
        found: dict[str, dict[str, None]] = {}
        for item in self._read.header.absent:
            found.setdefault(item.component, {})[f"{item.source}: {item.reason}"] = None
        return {component: _cut("; ".join(texts)) for component, texts in found.items()}

    def _why(self, component: str, unknown_because: str | None) -> str:
        """Why nothing better was used, from what the sidecar reported."""
        absent = self._absences.get(component)
        reasons = [] if absent is None else [absent]
        if any(channel.component == component and channel.counted for channel in self._read.channels):
            reasons.append("a sensor was found but gave no usable reading")
        elif absent is None:
            reasons.append("no sensor reported")
        if unknown_because is not None:
            reasons.append(f"model: {unknown_because}")
        return "; ".join(reasons)


def _contains(channel: ChannelInfo, component: str) -> bool:
    return channel.counted and component in channel.contains


def _cut(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]} ..."


def _add_reason(sums: ChannelTotals, reason: str) -> None:
    known_reasons = [] if sums.reason is None else sums.reason.split("; ")
    sums.reason = sums.reason if reason in known_reasons else "; ".join([*known_reasons, reason])
