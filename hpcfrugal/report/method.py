"""The report by a named method: what another way to count makes of the jobs that Slurm's accounting knows."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hpcfrugal.accounting.green_algorithms import (
    METHOD,
    METHOD_VERSION,
    GreenAlgorithmsPower,
    HeldResources,
    green_algorithms_kwh,
)
from hpcfrugal.core.format import EnergyUnit, count
from hpcfrugal.core.pue import Pue
from hpcfrugal.ledger.accounted_use import held_resources
from hpcfrugal.ledger.queries import JobFilter, iter_jobs
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.totals import run_span_ns
from hpcfrugal.report import notation
from hpcfrugal.report.amount import bounded, is_unknown, sum_of_all
from hpcfrugal.report.field import Field, Rows, attributes, field, scale, sheet, table, to_json
from hpcfrugal.report.jobs import LATEST
from hpcfrugal.report.method_settings import GreenAlgorithmsSettings
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Block, Json, Notes, Sheet, Stream, note

METHOD_SCHEMA_VERSION = 1

_UJ_PER_KWH = 3.6e12


@dataclass(frozen=True, slots=True)
class JobByMethod:
    """A job, what it held, and its energy and CO2e by the method, with its PUE; None: a figure is missing."""

    job: JobRow
    power: GreenAlgorithmsPower
    kwh: float | None
    cpu_h: float | None
    gpu_h: float | None

    @classmethod
    def of(cls, job: JobRow, power: GreenAlgorithmsPower, held: list[HeldResources]) -> JobByMethod:
        energies = [green_algorithms_kwh(part, power) for part in held]
        return cls(
            job,
            power,
            sum_of_all(energies),
            sum_of_all([_hours(part.elapsed_s, part.cpus) for part in held]),
            sum_of_all([_hours(part.elapsed_s, part.gpus) for part in held]),
        )

    @property
    def energy_uj(self) -> int | None:
        return None if self.kwh is None else round(self.kwh * _UJ_PER_KWH)

    @property
    def grams(self) -> Fraction | None:
        known = self.kwh is not None and self.power.g_per_kwh is not None
        return Fraction(self.kwh or 0) * Fraction(self.power.g_per_kwh or 0) if known else None


def _hours(elapsed_s: int | None, number: int | None) -> float | None:
    return None if elapsed_s is None or number is None else elapsed_s * number / 3600


_FIELDS: tuple[Field[JobByMethod], ...] = (
    field("job", notation.WORD, lambda one: one.job.label, json="", heading="Job", drop=6, key=True),
    *attributes(notation.PLAIN, "cluster", "job_id", "restart", of="job", csv=True),
    field("name", notation.TEXT, lambda one: one.job.name, csv=True, heading="Name", missing=""),
    field("user", notation.WORD, lambda one: one.job.user, csv=True, heading="User", drop=2, missing=""),
    field("partition", notation.WORD, lambda one: one.job.partition, csv=True, heading="Partition", drop=5, missing=""),
    field("started_at", notation.TIME, lambda one: one.job.started_wall_ns, csv=True, heading="Started (UTC)", drop=1),
    field("cpu_h", notation.NUMBER, lambda one: one.cpu_h, csv=True, heading="CPU h", drop=3),
    field("gpu_h", notation.NUMBER, lambda one: one.gpu_h, csv=True, heading="GPU h", drop=4, optional=True),
    field("energy_kwh", notation.KILOWATT_HOURS, lambda one: one.energy_uj, csv=True, heading="Energy [{energy}]"),
    field("co2e_g", notation.MASS, lambda one: one.grams, csv=True, heading="CO2e [{mass}]"),
    field("pue", notation.PLAIN, lambda one: one.power.pue, csv=True),
    field("g_per_kwh", notation.PLAIN, lambda one: one.power.g_per_kwh, csv=True),
)


@dataclass(slots=True)
class _Totals:
    """Jobs by the method, counted and summed as they are read: there may be too many to be held."""

    jobs: int = 0
    without_energy: int = 0
    without_grams: int = 0
    without_pue: int = 0
    kwh: float = 0.0
    energy_uj: int = 0
    grams: Fraction = Fraction(0)

    def add(self, one: JobByMethod) -> None:
        self.jobs += 1
        self.without_energy += one.kwh is None
        self.without_grams += one.grams is None
        self.without_pue += one.power.pue is None
        self.kwh += one.kwh or 0
        self.energy_uj += one.energy_uj or 0
        self.grams += one.grams or 0


@dataclass(frozen=True)
class MethodReport:
    """The jobs of a period by the method. ``pue`` is that of the settings, where the method has none of its own.

    The ledger has to be open while it is written.
    """

    connection: sqlite3.Connection
    period: Period
    wanted: JobFilter
    settings: GreenAlgorithmsSettings
    pue: Pue | None
    every: bool = False
    unit: EnergyUnit = "auto"

    def _jobs(self) -> Iterator[JobByMethod]:
        jobs = iter_jobs(self.connection, self.wanted, details=False)
        for job, held in held_resources(self.connection, jobs):
            if job.started_wall_ns is not None:
                power = self.settings.power(job.partition, self.pue, *run_span_ns(job))
                yield JobByMethod.of(job, power, list(held))

    def document(self) -> dict[str, Json]:
        """The totals and each job."""
        totals = _Totals()
        for one in self._jobs():
            totals.add(one)
        return {
            "schema": METHOD_SCHEMA_VERSION,
            "method": METHOD,
            "method_version": METHOD_VERSION,
            "period": self.period.document(),
            "totals": {
                "jobs": totals.jobs,
                "jobs_unknown": totals.without_energy,
                "energy_kwh": totals.kwh if totals.without_energy < totals.jobs else None,
                "co2e_g": float(totals.grams) if totals.without_grams < totals.jobs else None,
                "complete": totals.without_energy == 0,
                "co2e_complete": totals.without_grams == 0,
            },
            "jobs": Stream(to_json(_FIELDS, one) for one in self._jobs()),
        }

    def sheet(self) -> Sheet:
        """One row a job."""
        return sheet(_FIELDS, self._jobs())

    def blocks(self) -> Iterator[Block]:
        """A table of jobs, and their sums."""
        totals = _Totals()
        shown: deque[JobByMethod] = deque(maxlen=None if self.every else LATEST)
        for one in self._jobs():
            totals.add(one)
            shown.append(one)
        if not shown:
            yield Notes((note("No jobs in this period."),))
            return
        parts: list[Rows[Any]] = [Rows(_FIELDS, list(shown))]
        units = scale(parts, self.unit)
        yield table(_FIELDS, parts, units)
        yield Notes(tuple(note(text, role) for text, role in _notes(totals, units, len(shown))))


def _notes(totals: _Totals, units: notation.Scale, shown: int) -> Iterator[tuple[str, Any]]:
    lacking, without_grams = totals.without_energy, totals.without_grams
    energy = "energy unknown"
    if not is_unknown(totals.energy_uj, not lacking):
        energy = bounded(totals.energy_uj, units.energy, not lacking)
    some_grams = without_grams < totals.jobs
    grams = ""
    if some_grams and not is_unknown(totals.grams, not without_grams):
        grams = f", {bounded(totals.grams, units.mass, not without_grams)} CO2e"
    yield f"{count(totals.jobs, 'job')}: {energy}{grams}", "total"
    if shown < totals.jobs:
        yield f"The latest {shown} of {totals.jobs:,} jobs; `--all` lists them all.", ""
    if lacking:
        yield (
            f"Of {count(lacking, 'job')} a figure is missing: CPUs, memory or GPUs in Slurm's accounting"
            " (`hpcfrugal ledger import sacct`), or gpu_power_w in the settings.",
            "",
        )
    if some_grams and without_grams > lacking:
        yield (
            f"Of {count(without_grams - lacking, 'job')} the CO2e is missing: their partition has no g_per_kwh.",
            "",
        )
    yield (
        f"Method {METHOD} ({METHOD_VERSION}): from what jobs held, {_pue_note(totals)}; not measured, nor our own"
        " model.",
        "",
    )


def _pue_note(totals: _Totals) -> str:
    if not totals.without_pue:
        return "with the PUE"
    if totals.without_pue == totals.jobs:
        return "without a PUE"
    return f"with the PUE, but for {count(totals.without_pue, 'job')}"
