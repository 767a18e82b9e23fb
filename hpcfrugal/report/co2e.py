"""CO2e of jobs and groups, with its scope, boundary, PUE and the source of the carbon intensity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from hpcfrugal.accounting.footprint import LevelSource
from hpcfrugal.core.format import NONE, count, percent
from hpcfrugal.ledger.job_groups import JobCounts
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.ledger.total_rows import CarbonPlace, JobTotalsRow
from hpcfrugal.report import notation
from hpcfrugal.report.amount import bound_sign
from hpcfrugal.report.field import Field, field

T = TypeVar("T")

_NO_ZONE = (
    'CO2e is not known: no grid zone is set. Put zone = "FR" (yours) under [carbon] in the settings, '
    "or set HPCFRUGAL_ZONE."
)


@dataclass(frozen=True)
class Co2e:
    """The CO2e of some jobs. ``places``: where their energy counts, and how many jobs that are; ``boundary`` is that of
    the energy, see ``boundary_of``."""

    sums: EnergySums
    places: Mapping[CarbonPlace, JobCounts]
    boundary: str

    @classmethod
    def of(cls, totals: JobTotalsRow, boundary: str) -> Co2e:
        """That of one job."""
        known = int(totals.sums.co2e_ug is not None)
        return cls(totals.sums, {totals.place: JobCounts(jobs=1, with_co2e=known)}, boundary)

    def _count(self, which: Callable[[CarbonPlace], bool]) -> int:
        """How many jobs that ran are in such places."""
        return sum(counts.jobs - counts.not_started for place, counts in self.places.items() if which(place))

    def _of_known(self, get: Callable[[CarbonPlace], T]) -> set[T]:
        """What is true of places in which CO2e is known."""
        return {get(place) for place, counts in self.places.items() if counts.with_co2e}

    @property
    def zoneless(self) -> int:
        """Jobs of which no grid zone is known."""
        return self._count(lambda place: place.zone is None)

    @property
    def assumed_zone(self) -> int:
        """Jobs that count in the zone of the settings."""
        return self._count(lambda place: place.zone_source == "settings")

    @property
    def assumed_pue(self) -> int:
        """Jobs with CO2e that count with the PUE of the settings."""
        return sum(counts.with_co2e for place, counts in self.places.items() if place.pue_source == "settings")

    @property
    def unknown(self) -> int:
        """Jobs in a known zone without CO2e."""
        with_co2e = sum(counts.with_co2e for place, counts in self.places.items() if place.zone is not None)
        return self._count(lambda place: place.zone is not None) - with_co2e

    @property
    def zones(self) -> set[str]:
        """The grid zones that are known."""
        return {place.zone for place, counts in self.places.items() if place.zone is not None and counts.jobs}

    @property
    def providers(self) -> set[str]:
        """Whose actual intensities were used."""
        return {provider for provider in self._of_known(lambda place: place.provider) if provider is not None}

    @property
    def pues(self) -> set[float | None]:
        """The PUEs that are included; None: of some, none is, or it differs by month."""
        return self._of_known(lambda place: place.pue)

    @property
    def known(self) -> bool:
        """Whether any CO2e is known."""
        return self.sums.co2e_ug is not None

    @property
    def complete(self) -> bool:
        """Whether all known energy of these jobs has an intensity."""
        return self.known and self.sums.intensity_coverage in (1, None) and not self.unknown and not self.zoneless

    @property
    def source(self) -> str | None:
        """``actual``, ``estimated``, ``forecast``, ``yearly-mean``, or several with a plus between."""
        return "+".join(self.sums.by_source_uj) or None

    @property
    def shares(self) -> dict[LevelSource, float]:
        """The share of the energy by the source of its intensity."""
        energy_uj = self.sums.energy_uj
        return {source: uj / energy_uj for source, uj in self.sums.by_source_uj.items()} if energy_uj else {}

    @property
    def zone(self) -> str | None:
        """The zone of all jobs; None where there are several or none."""
        return next(iter(self.zones)) if len(self.zones) == 1 else None

    @property
    def pue(self) -> float | None:
        """The PUE of all jobs; None where none has one, or they differ."""
        return next(iter(self.pues)) if len(self.pues) == 1 else None

    @property
    def label(self) -> str:
        """Scope, method, boundary and PUE of the figure."""
        included = self._of_known(lambda place: place.pue_source is not None)
        if True not in included:
            pue = "PUE not included"
        elif False in included:
            pue = "PUE not included in all"
        elif None in self.pues:
            pue = "PUE of each month"
        else:
            pue = "PUE of each run" if self.pue is None else f"PUE {self.pue:g}"
        return f"operational, location-based, {self.boundary} boundary, {pue}"

    def notes(self) -> Iterator[str]:
        """What the reader must know about the CO2e, or why it is not known."""
        if self.known:
            shares = [f"{source} {percent(share)}" for source, share in self.shares.items()]
            providers = f" ({', '.join(sorted(self.providers))})" if self.providers else ""
            yield f"CO2e: {self.label}{'; intensity: ' if shares else ''}{', '.join(shares)}{providers}."
            if self.estimated:
                later = self.shares.keys() & {"forecast", "yearly-mean"}
                why = "no actual intensity yet" if later else "the provider has no measured intensity"
                yield f"~ {'partly ' if 'actual' in self.shares else ''}estimated: {why}."
            coverage = self.sums.intensity_coverage
            if coverage is not None and coverage != 1:
                yield f"No carbon intensity is known for {percent(1 - coverage)} of the energy."
            if self.sums.open_uj:
                yield "Intensities may still be revised; the next sync updates the CO2e."
        if self.unknown:
            yield f"{count(self.unknown, 'job')} without CO2e: energy or carbon intensity unknown."
        if self.assumed_zone:
            assumed = {
                place.zone for place in self.places if place.zone is not None and place.zone_source == "settings"
            }
            zones = ", ".join(sorted(assumed))
            jobs = count(self.assumed_zone, "job")
            yield f"{jobs} without a recorded grid zone: the zone of the present settings is used ({zones})."
        if self.zoneless and not self.zones:
            yield _NO_ZONE
        elif self.zoneless:
            yield f"{count(self.zoneless, 'job')} without CO2e: grid zone unknown."

    @property
    def estimated(self) -> bool:
        """Whether not all of it is by actual intensities."""
        return self.sums.by_source_uj.keys() not in (set(), {"actual"})


CO2E_FIELDS: tuple[Field[Co2e], ...] = (
    field(
        "co2e_g", notation.MICROGRAMS, lambda co2e: co2e.sums.co2e_ug, csv=True, heading="CO2e [{mass}]",
        drop=10, optional=True, missing=NONE, before=lambda co2e: bound_sign(co2e.complete),
    ),
    field(
        "intensity_g_per_kwh", notation.INTENSITY, lambda co2e: co2e.sums.intensity_g_per_kwh, csv=True,
        heading="g/kWh",
        drop=4, optional=True, missing="", before=lambda co2e: "~" if co2e.estimated else "",
    ),
    field("intensity_source", notation.PLAIN, lambda co2e: co2e.source, csv=True),
    field("zone", notation.PLAIN, lambda co2e: co2e.zone, csv=True),
    field("pue", notation.PLAIN, lambda co2e: co2e.pue if co2e.known else None, csv=True),
)  # fmt: skip
"""The main figures."""

FOOTPRINT_FIELDS: tuple[Field[Co2e], ...] = (
    field("label", notation.PLAIN, lambda co2e: co2e.label),
    field("scope", notation.PLAIN, lambda co2e: "operational"),
    field("method", notation.PLAIN, lambda co2e: "location-based"),
    field("boundary", notation.PLAIN, lambda co2e: co2e.boundary),
    field("signal", notation.PLAIN, lambda co2e: "average"),
    field("complete", notation.PLAIN, lambda co2e: co2e.complete),
    field("settled", notation.PLAIN, lambda co2e: co2e.sums.open_uj == 0 if co2e.known else None),
    field("measured_g", notation.MICROGRAMS, lambda co2e: co2e.sums.measured_ug),
    field("modelled_g", notation.MICROGRAMS, lambda co2e: co2e.sums.modelled_ug),
    field("intensity_coverage", notation.SHARE, lambda co2e: co2e.sums.intensity_coverage),
    field("intensity_shares", notation.PLAIN, lambda co2e: co2e.shares),
    field("providers", notation.PLAIN, lambda co2e: sorted(co2e.providers)),
    field("zones", notation.PLAIN, lambda co2e: sorted(co2e.zones)),
    field("jobs_without_zone", notation.COUNT, lambda co2e: co2e.zoneless),
    field("jobs_without_grams", notation.COUNT, lambda co2e: co2e.unknown),
    field("jobs_with_zone_of_settings", notation.COUNT, lambda co2e: co2e.assumed_zone),
    field("jobs_with_pue_of_settings", notation.COUNT, lambda co2e: co2e.assumed_pue),
)
"""What the main figures are, and what is missing in them."""
