"""The grams of jobs in the ledger: their energy by time, in their zone, against the best intensity that is known.

For each instant that is the actual intensity, else the forecast that the job's plan was made on, else the yearly mean
of the zone's country. Actual figures of a job are those of one provider: the one that made the forecast where it has
them, else the one that knows most of the job's time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from hpcfrugal.accounting.buckets import BUCKET_NS
from hpcfrugal.accounting.footprint import (
    EnergyPiece,
    IntensityLevel,
    Levels,
    layered,
)
from hpcfrugal.accounting.tables.electricity import yearly_mean
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.carbon.use_period import UsePeriod
from hpcfrugal.core.pue import Pue, single_pue
from hpcfrugal.core.time import instant_us
from hpcfrugal.ledger.due import DAY_NS, Defaults
from hpcfrugal.ledger.intensity import intensities, intensity_providers, settled_gaps
from hpcfrugal.ledger.plans import PlanRow, counterfactual_start, plan_of, run_times, was_delayed
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.total_rows import CarbonPlace

_HOUR_NS = 3600 * 10**9


def levels_of(series: CarbonSeries) -> Levels:
    """A forecast for accounting; gaps, and what a model put after its end, are left out."""
    edges = series.edges_us
    last_us = edges[-1] if series.assumed_from is None else instant_us(series.assumed_from)
    return Levels(
        [
            IntensityLevel(edges[index] * 1000, min(edges[index + 1], last_us) * 1000, value, False, "forecast")
            for index, value in enumerate(series.values)
            if value is not None and edges[index] < last_us
        ]
    )


@dataclass(slots=True)
class Intensities:
    """What the ledger knows of the grid's intensity, each provider's figures read once."""

    connection: sqlite3.Connection
    _levels: dict[tuple[str, str, str], Levels] = field(default_factory=dict)
    _providers: dict[str, list[str]] = field(default_factory=dict)

    def actual(self, zone: str, signal: str, provider: str) -> Levels:
        """The figures of one provider; empty where it has none."""
        key = (zone, signal, provider)
        if key not in self._levels:
            self._levels[key] = Levels(intensities(self.connection, *key))
        return self._levels[key]

    def providers(self, zone: str) -> list[str]:
        """Those with average figures of a zone."""
        if zone not in self._providers:
            self._providers[zone] = intensity_providers(self.connection, zone, "average")
        return self._providers[zone]

    def never_ns(self, zone: str, signal: str, provider: str, spans: Sequence[tuple[int, int]]) -> int:
        """How much of ``spans`` one provider has no figure of and will have none."""
        gaps = settled_gaps(self.connection, zone, signal, provider)
        return sum(
            max(0, min(gap_end_ns, end_ns) - max(gap_start_ns, start_ns))
            for start_ns, end_ns in spans
            for gap_start_ns, gap_end_ns in gaps
        )

    def best_provider(self, zone: str, preferred: str | None, spans: Sequence[tuple[int, int]]) -> str | None:
        """Whose actual average figures to use: those of ``preferred`` where there are any, else the most.

        Estimates of a provider count where no other has more that it did not estimate.
        """
        known = {provider: self._known_ns(zone, provider, spans) for provider in self.providers(zone)}
        known = {provider: amount for provider, amount in known.items() if any(amount)}
        if preferred in known:
            return preferred
        return max(sorted(known), key=lambda provider: known[provider], default=None)

    def _known_ns(self, zone: str, provider: str, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """How much of ``spans`` has actual average figures of a provider that it did not estimate, and that it did."""
        levels = [level for span in spans for level in self.actual(zone, "average", provider).within(*span)]
        actual_ns, estimated_ns = (
            sum(level.end_ns - level.start_ns for level in levels if level.source == source)
            for source in ("actual", "estimated")
        )
        return actual_ns, estimated_ns


def pue_of(job: JobRow, defaults: Defaults) -> Pue | None:
    """The PUE of a job over time: its run's own, else that of the settings."""
    return job.pue or defaults.pue


def _place_of(job: JobRow, defaults: Defaults, start_ns: int, end_ns: int) -> CarbonPlace:
    """Zone and PUE of a job whose energy is of that time; whose intensities to use is not decided yet."""
    zone, zone_source = (job.zone, "run") if job.zone else (defaults.zone, "settings" if defaults.zone else None)
    pue = single_pue(pue_of(job, defaults), start_ns, end_ns)
    return CarbonPlace(zone, zone_source, pue, "run" if job.pue else "settings" if defaults.pue else None)


def intensities_of(
    intensity: Intensities | None, job: JobRow, pieces: Sequence[EnergyPiece], defaults: Defaults
) -> tuple[CarbonPlace, list[IntensityLevel]]:
    """Where the energy of a job, ``pieces``, counts, and the best known intensities at its times there.

    ``intensity`` None: as if none had been published.
    """
    start_ns = min([piece.start_ns for piece in pieces], default=job.started_wall_ns or 0)
    end_ns = max([piece.span[1] for piece in pieces], default=start_ns)
    place = _place_of(job, defaults, start_ns, end_ns)
    zone = place.zone
    if zone is None or not pieces:
        return place, []
    plan = plan_of(job.plan)
    if plan is not None and (plan.signal != "average" or plan.zone != zone):
        plan = None
    provider = None
    if intensity is not None:
        provider = intensity.best_provider(zone, plan.provider if plan else None, [(start_ns, end_ns)])
    layers = _layers(intensity, zone, provider, plan, start_ns, end_ns)
    return replace(place, provider=provider) if provider else place, layered(layers, start_ns, end_ns)


def _layers(
    intensity: Intensities | None, zone: str, provider: str | None, plan: PlanRow | None, start_ns: int, end_ns: int
) -> Iterator[Levels]:
    if intensity is not None and provider is not None:
        actual = intensity.actual(zone, "average", provider)
        yield actual
        if actual.known_ns(start_ns, end_ns) == end_ns - start_ns:
            return
    forecast = plan.forecast if plan is not None else None
    if forecast is not None:
        yield levels_of(forecast)
    mean = yearly_mean(zone)
    if mean is not None:
        # It is not revised, but the hour's own figure may still come.
        yield Levels([IntensityLevel(start_ns, end_ns, mean.g_per_kwh, False, "yearly-mean")])


def times_used(connection: sqlite3.Connection, defaults: Defaults, since_ns: int) -> Iterator[UsePeriod]:
    """When jobs that ran since ``since_ns`` used energy whose intensity is not known for good, and when delayed ones
    would have without the delay."""
    for zone, first_ns, last_ns in connection.execute(_UNPLANNED, (since_ns // DAY_NS, since_ns)):
        wanted = zone or defaults.zone
        if wanted is not None:
            yield UsePeriod(wanted, "average", None, first_ns, last_ns + 1)
    yield from _times_of_planned(connection, defaults, since_ns)


_PLANNED_RUNS = "SELECT run FROM runs WHERE plan IS NOT NULL"

_UNPLANNED = f"""
SELECT zone, min(first_ns), max(last_ns) FROM job_totals JOIN places USING (place)
WHERE job IN (SELECT job FROM job_days WHERE day >= ?) AND first_ns >= ? AND known
    AND (open_uj > 0 OR coalesce(measured_uj, 0) + coalesce(modelled_uj, 0)
        > actual_uj + estimated_uj + forecast_uj + yearly_mean_uj)
    AND job NOT IN (SELECT job FROM jobs WHERE run IN ({_PLANNED_RUNS}))
GROUP BY place, first_ns / {_HOUR_NS}
"""
"""Jobs of one zone that began in the same hour are one period. No bucket of energy goes over the end of an hour."""


def _times_of_planned(connection: sqlite3.Connection, defaults: Defaults, since_ns: int) -> Iterator[UsePeriod]:
    rows = connection.execute(
        "SELECT jobs.run, job_id, array_job_id, started_wall_ns, zones.name AS zone, runs.plan, elapsed_ns,"
        " min(first_wall_ns) AS first_ns, max(first_wall_ns + lasted_ns) AS last_ns"
        " FROM runs JOIN jobs USING (run) JOIN channels USING (job) JOIN channel_kinds USING (kind)"
        " LEFT JOIN texts AS zones ON zones.text = runs.zone"
        f" WHERE run IN ({_PLANNED_RUNS}) AND started_wall_ns >= ?"
        " AND counted AND lasted_ns NOT NULL GROUP BY job ORDER BY run, job_id, restart",
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
