"""The channels of a session as one job's readings of its node's counters, for the balance of the node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.balance import AttemptName, ChannelReading
from hpcfrugal.accounting.series import CumulativeSeries
from hpcfrugal.ledger.readings import SessionReadings
from hpcfrugal.ledger.stops import Span, falls_in


def readings_of(read: SessionReadings, job: AttemptName) -> Iterator[tuple[int, ChannelReading]]:
    """The channels that were read, by their index, each as ``job``'s readings of the node's counter."""
    alloc_cpus, node_cpus = read.held.idle_cpus
    for index, idle in enumerate(read.idles):
        found, energy = read.readings(index), read.energy_series(index)
        measured = CumulativeSeries.of(found.times_ns, found.measured_ns)
        if energy is None or measured is None:
            continue
        both = found.usable
        reading = ChannelReading(
            job=job,
            attribution=read.attribution(index),
            energy=energy,
            measured=measured,
            job_cpu=CumulativeSeries.of(both.times_ns, both.cpu.job_us),  # type: ignore[arg-type]
            node_busy=CumulativeSeries.of(both.times_ns, both.cpu.node_busy_us),  # type: ignore[arg-type]
            idle=None if idle is None else idle.series,
            alloc_cpus=alloc_cpus,
            node_cpus=node_cpus,
        )
        for part in _parted(reading, read.stops if reading.attribution.is_whole_node else ()):
            yield index, part


def _parted(reading: ChannelReading, stopped: Sequence[Span]) -> Iterator[ChannelReading]:
    """A reading of an exclusive node, without the times in which the job may have been suspended.

    In these its share is not known: they are read like those of a job whose CPU time is not known.
    """
    if not stopped:
        yield reading
        return
    spans: list[tuple[int, int, bool]] = []
    for start_ns, end_ns in pairwise(reading.energy.times_ns):
        stops_here = falls_in(start_ns, end_ns, stopped)
        if spans and spans[-1][2] == stops_here:
            spans[-1] = (spans[-1][0], end_ns, stops_here)
        else:
            spans.append((start_ns, end_ns, stops_here))
    for start_ns, end_ns, stops_here in spans:
        part = clip(reading, start_ns, end_ns)
        if part is not None:
            yield replace(part, attribution=Attribution.CPU_SHARE, job_cpu=None, alloc_cpus=0) if stops_here else part


def clip(reading: ChannelReading, since_ns: int | None, until_ns: int | None) -> ChannelReading | None:
    """The part of a reading between two instants since boot; None where there is no time in it."""
    start_ns = reading.energy.start_ns if since_ns is None else since_ns
    end_ns = reading.energy.end_ns if until_ns is None else until_ns

    def cut(series: CumulativeSeries | None) -> CumulativeSeries | None:
        return None if series is None else series.clip(start_ns, end_ns)

    energy, measured = cut(reading.energy), cut(reading.measured)
    if energy is None or measured is None:
        return None
    return replace(
        reading,
        energy=energy,
        measured=measured,
        job_cpu=cut(reading.job_cpu),
        node_busy=cut(reading.node_busy),
        idle=cut(reading.idle),
    )
