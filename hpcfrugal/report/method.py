"""The report by a named method: what another way to count makes of the jobs that Slurm's accounting knows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
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
from hpcfrugal.report.amount import bounded, is_unknown
from hpcfrugal.report.field import Field, Rows, attributes, field, scale, sheet, table, to_json
from hpcfrugal.report.jobs import LATEST
from hpcfrugal.report.method_settings import GreenAlgorithmsSettings
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Block, Json, Notes, Sheet, note

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
            _sum(energies),
            _sum([_hours(part.elapsed_s, part.cpus) for part in held]),
            _sum([_hours(part.elapsed_s, part.gpus) for part in held]),
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


def _sum(values: list[float | None]) -> float | None:
    """The sum; None where there is none, or a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


_FIELDS: tuple[Field[JobByMethod], ...] = (
    field("job", notation.WORD, lambda one: one.job.label, json="", heading="Job", drop=6),
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


@dataclass(frozen=True)
class MethodReport:
    """The jobs of a period by the method. ``pue`` is that of the settings, where the method has none of its own."""

    connection: sqlite3.Connection
    period: Period
    wanted: JobFilter
    settings: GreenAlgorithmsSettings
    pue: Pue | None
    every: bool = False
    unit: EnergyUnit = "auto"

    @cached_property
    def _jobs(self) -> list[JobByMethod]:
        jobs = iter_jobs(self.connection, self.wanted, details=False)
        return [
            JobByMethod.of(job, self.settings.power(job.partition, self.pue, *run_span_ns(job)), list(held))
            for job, held in held_resources(self.connection, jobs)
            if job.started_wall_ns is not None
        ]

    @property
    def _known(self) -> list[JobByMethod]:
        return [one for one in self._jobs if one.kwh is not None]

    @property
    def _grams(self) -> Fraction | None:
        grams = [one.grams for one in self._known if one.grams is not None]
        return sum(grams, Fraction(0)) if grams else None

    @property
    def _lacking_grams(self) -> int:
        return sum(one.grams is None for one in self._jobs)

    def document(self) -> dict[str, Json]:
        """The totals and each job."""
        known = self._known
        return {
            "schema": METHOD_SCHEMA_VERSION,
            "method": METHOD,
            "method_version": METHOD_VERSION,
            "period": self.period.document(),
            "totals": {
                "jobs": len(self._jobs),
                "jobs_unknown": len(self._jobs) - len(known),
                "energy_kwh": sum(one.kwh or 0 for one in known) if known else None,
                "co2e_g": None if self._grams is None else float(self._grams),
                "complete": len(known) == len(self._jobs),
                "co2e_complete": self._lacking_grams == 0,
            },
            "jobs": [to_json(_FIELDS, one) for one in self._jobs],
        }

    def sheet(self) -> Sheet:
        """One row a job."""
        return sheet(_FIELDS, self._jobs)

    def blocks(self) -> Iterator[Block]:
        """A table of jobs, and their sums."""
        shown = self._jobs if self.every else self._jobs[-LATEST:]
        if not shown:
            yield Notes((note("No jobs in this period."),))
            return
        parts: list[Rows[Any]] = [Rows(_FIELDS, shown)]
        units = scale(parts, self.unit)
        yield table(_FIELDS, parts, units)
        yield Notes(tuple(note(text, role) for text, role in self._notes(units, len(shown))))

    def _notes(self, units: notation.Scale, shown: int) -> Iterator[tuple[str, Any]]:
        known, lacking = self._known, len(self._jobs) - len(self._known)
        without_grams = self._lacking_grams
        energy_uj = sum(one.energy_uj or 0 for one in known)
        energy = (
            "energy unknown" if is_unknown(energy_uj, not lacking) else bounded(energy_uj, units.energy, not lacking)
        )
        grams = ""
        if self._grams is not None and not is_unknown(self._grams, not without_grams):
            grams = f", {bounded(self._grams, units.mass, not without_grams)} CO2e"
        yield f"{count(len(self._jobs), 'job')}: {energy}{grams}", "total"
        if shown < len(self._jobs):
            yield f"The latest {shown} of {len(self._jobs):,} jobs; `--all` lists them all.", ""
        if lacking:
            yield (
                f"Of {count(lacking, 'job')} a figure is missing: CPUs, memory or GPUs in Slurm's accounting"
                " (`hpcfrugal ledger import sacct`), or gpu_power_w in the settings.",
                "",
            )
        if self._grams is not None and without_grams > lacking:
            yield (
                f"Of {count(without_grams - lacking, 'job')} the CO2e is missing: their partition has no g_per_kwh.",
                "",
            )
        yield (
            f"Method {METHOD} ({METHOD_VERSION}): from what jobs held, {self._pue_note()}; not measured, nor our own"
            " model.",
            "",
        )

    def _pue_note(self) -> str:
        without = sum(one.power.pue is None for one in self._jobs)
        if not without:
            return "with the PUE"
        return "without a PUE" if without == len(self._jobs) else f"with the PUE, but for {count(without, 'job')}"
