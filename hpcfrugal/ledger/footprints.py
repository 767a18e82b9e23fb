"""The grams of jobs in the ledger: their energy by time, in their zone, against the best intensity that is known.

For each instant that is the actual intensity, else the forecast that the job's plan was made on, else the yearly mean
of the zone's country. Actual figures of a job are those of one provider: the one that made the forecast where it has
them, else the one that knows most of the job's time.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from hpcfrugal.accounting.buckets import BUCKET_NS
from hpcfrugal.accounting.footprint import (
    EnergyPiece,
    IntensityLevel,
    Levels,
    LevelSource,
    Tally,
    layered,
    tallies,
    total_tally,
)
from hpcfrugal.accounting.tables.electricity import yearly_mean
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.carbon.use_period import UsePeriod
from hpcfrugal.core.time import instant_us
from hpcfrugal.ledger.intensity import intensities, intensity_providers, settled_gaps
from hpcfrugal.ledger.plans import PlanRow, counterfactual_start, plan_of, run_times, was_delayed
from hpcfrugal.ledger.rows import JobRow

DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the settings say now, for runs that do not say it themselves."""

    zone: str | None = None
    pue: float | None = None


@dataclass(frozen=True, slots=True)
class JobFootprint:
    """The grams of one attempt of a job, by component and by UTC day since 1970.

    ``zone`` and ``pue`` are the run's own, or those of the settings as ``*_source`` states. ``provider`` is the one
    whose actual intensities were used.
    """

    zone: str | None
    zone_source: str | None
    pue: float | None
    pue_source: str | None
    provider: str | None = None
    parts: dict[tuple[str, int], Tally] = field(default_factory=dict)

    @property
    def total(self) -> Tally:
        return total_tally(self.parts.values())

    def of(self, component: str) -> JobFootprint:
        """The part of one component."""
        return replace(self, parts={key: tally for key, tally in self.parts.items() if key[0] == component})

    def on(self, day: int) -> JobFootprint:
        """The part of one UTC day, counted since 1970."""
        return replace(self, parts={key: tally for key, tally in self.parts.items() if key[1] == day})


def pieces_of(job: JobRow) -> tuple[EnergyPiece, ...]:
    """The known energy of a job in the boundary ``components``, as pieces of time.

    The ledger has it by 300 s. In the first and in the last of these it was drawn between the first and the last
    reading, so that a job of seconds lies in its own seconds.
    """
    # Nothing is read outside these; where the wall clock was set meanwhile the bucket stands as it is.
    spans = [
        (channel.first_wall_ns, channel.last_wall_ns)
        for channel in job.channels
        if channel.counted and channel.first_wall_ns is not None and channel.last_wall_ns is not None
    ]
    first_ns, last_ns = min((first for first, _ in spans), default=0), max((last for _, last in spans), default=0)
    sums: defaultdict[tuple[int, str, str], int] = defaultdict(int)
    for channel in job.channels:
        if channel.counted and channel.boundary == "components":
            for bucket in channel.buckets:
                sums[bucket.start_s, channel.component, channel.quality] += bucket.energy_uj
    pieces = []
    for (bucket_s, component, quality), energy_uj in sorted(sums.items()):
        bucket_ns = bucket_s * 10**9
        start_ns, end_ns = max(bucket_ns, first_ns), min(bucket_ns + BUCKET_NS, last_ns)
        if start_ns > end_ns:
            start_ns, end_ns = bucket_ns, bucket_ns + BUCKET_NS
        pieces.append(EnergyPiece(start_ns, end_ns, energy_uj, component, quality))
    return tuple(pieces)


def levels_of(series: CarbonSeries) -> Levels:
    """A series of intensities for accounting; gaps, and what a model put after its end, are left out."""
    edges = series.edges_us
    last_us = edges[-1] if series.assumed_from is None else instant_us(series.assumed_from)
    return Levels(
        [
            IntensityLevel(edges[index] * 1000, min(edges[index + 1], last_us) * 1000, value, settled=False)
            for index, value in enumerate(series.values)
            if value is not None and edges[index] < last_us
        ]
    )


@dataclass(slots=True)
class Intensities:
    """What the ledger knows of the grid's intensity, each provider's figures read once."""

    connection: sqlite3.Connection
    _levels: dict[tuple[str, str, str], Levels] = field(default_factory=dict)
    _providers: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def actual(self, zone: str, signal: str, provider: str) -> Levels:
        """The figures of one provider; empty where it has none."""
        key = (zone, signal, provider)
        if key not in self._levels:
            self._levels[key] = Levels(intensities(self.connection, *key))
        return self._levels[key]

    def never_ns(self, zone: str, signal: str, provider: str, spans: Sequence[tuple[int, int]]) -> int:
        """How much of ``spans`` one provider has no figure of and will have none."""
        gaps = settled_gaps(self.connection, zone, signal, provider)
        return sum(
            max(0, min(gap_end_ns, end_ns) - max(gap_start_ns, start_ns))
            for start_ns, end_ns in spans
            for gap_start_ns, gap_end_ns in gaps
        )

    def best_provider(self, zone: str, preferred: str | None, spans: Sequence[tuple[int, int]]) -> str | None:
        """Whose actual average figures to use: those of ``preferred`` where there are any, else the most."""
        if (zone, "average") not in self._providers:
            self._providers[zone, "average"] = intensity_providers(self.connection, zone, "average")
        known = {
            provider: sum(self.actual(zone, "average", provider).known_ns(*span) for span in spans)
            for provider in self._providers[zone, "average"]
        }
        if known.get(preferred or ""):
            return preferred
        return max(sorted(known), key=lambda provider: known[provider], default=None) if any(known.values()) else None


def footprints(connection: sqlite3.Connection, jobs: Sequence[JobRow], defaults: Defaults) -> dict[int, JobFootprint]:
    """The footprint of each job, by its key in the ledger."""
    intensity = Intensities(connection)
    return {job.job: _footprint(intensity, job, defaults) for job in jobs}


def place_of(job: JobRow, defaults: Defaults) -> JobFootprint:
    """Zone and PUE of a job, without its grams."""
    zone, zone_source = (job.zone, "run") if job.zone else (defaults.zone, "settings" if defaults.zone else None)
    pue, pue_source = (job.pue, "run") if job.pue else (defaults.pue, "settings" if defaults.pue else None)
    return JobFootprint(zone, zone_source, pue, pue_source)


def _footprint(intensity: Intensities, job: JobRow, defaults: Defaults) -> JobFootprint:
    place = place_of(job, defaults)
    zone = place.zone
    pieces = pieces_of(job) if zone is not None else ()
    if zone is None or not pieces:
        return place
    plan = plan_of(job.plan)
    if plan is not None and (plan.signal != "average" or plan.zone != zone):
        plan = None
    start_ns, end_ns = min(piece.start_ns for piece in pieces), max(piece.span[1] for piece in pieces)
    provider = intensity.best_provider(zone, plan.provider if plan else None, [(start_ns, end_ns)])
    layers = list(_layers(intensity, zone, provider, plan, start_ns, end_ns))
    parts = tallies(pieces, layered(layers, start_ns, end_ns), place.pue, DAY_NS)
    return JobFootprint(zone, place.zone_source, place.pue, place.pue_source, provider, parts)


def _layers(
    intensity: Intensities, zone: str, provider: str | None, plan: PlanRow | None, start_ns: int, end_ns: int
) -> Iterator[tuple[LevelSource, Levels]]:
    if provider is not None:
        actual = intensity.actual(zone, "average", provider)
        yield "actual", actual
        if actual.known_ns(start_ns, end_ns) == end_ns - start_ns:
            return
    forecast = plan.forecast if plan is not None else None
    if forecast is not None:
        yield "forecast", levels_of(forecast)
    mean = yearly_mean(zone)
    if mean is not None:
        # It is not revised, but the hour's own figure may still come.
        yield "yearly-mean", Levels([IntensityLevel(start_ns, end_ns, mean.g_per_kwh, settled=False)])


def times_used(connection: sqlite3.Connection, defaults: Defaults, since_ns: int) -> Iterator[UsePeriod]:
    """When jobs that started since ``since_ns`` used energy, and when delayed ones would have without the delay."""
    rows = connection.execute(
        "SELECT jobs.run, job_id, array_job_id, started_wall_ns, zones.name AS zone, runs.plan, elapsed_ns,"
        " min(first_wall_ns) AS first_ns, max(last_wall_ns) AS last_ns"
        " FROM jobs JOIN runs USING (run) JOIN channels USING (job) JOIN channel_kinds USING (kind)"
        " LEFT JOIN texts AS zones ON zones.text = runs.zone"
        " WHERE coalesce(started_wall_ns, submitted_wall_ns) >= ? AND started_wall_ns NOT NULL"
        " AND counted AND last_wall_ns NOT NULL GROUP BY job ORDER BY run, job_id, restart",
        (since_ns,),
    ).fetchall()
    elapsed: dict[tuple[int, str], int] = {}
    started: dict[tuple[int, str], int] = {}
    times = cache(partial(run_times, connection))
    for row in rows:
        key = (row["run"], row["job_id"])
        elapsed[key] = elapsed.get(key, 0) + (row["elapsed_ns"] or row["last_ns"] - row["first_ns"])
        started[key] = min(started.get(key, row["started_wall_ns"]), row["started_wall_ns"])
    for row in rows:
        zone = row["zone"] or defaults.zone
        if zone is None:
            continue
        plan = plan_of(row["plan"])
        span = (row["first_ns"], max(row["last_ns"], row["first_ns"] + 1))
        average = plan is None or plan.signal == "average"
        yield UsePeriod(zone, "average", plan.provider if plan is not None and average else None, *span)
        if plan is None or not plan.on_forecast or plan.zone is None:
            continue
        if not average:
            yield UsePeriod(plan.zone, plan.signal, plan.provider, *span)
        run = times(row["run"])
        if not was_delayed(plan, run):
            continue
        in_array = row["array_job_id"] is not None
        start_ns = counterfactual_start(plan, run, started[row["run"], row["job_id"]], in_array=in_array)
        if start_ns is not None:
            # Sidecars may start before their job by Slurm's clock, and outlive it, by moments.
            length_ns = elapsed.pop((row["run"], row["job_id"]), 0) + BUCKET_NS
            yield UsePeriod(plan.zone, plan.signal, plan.provider, start_ns - BUCKET_NS, start_ns + length_ns)
