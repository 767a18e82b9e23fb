"""CO2e of jobs and groups, with its scope, boundary, PUE and the source of the carbon intensity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as default

from hpcfrugal.accounting.footprint import Tally
from hpcfrugal.core.format import NONE, count, percent
from hpcfrugal.ledger.footprints import JobFootprint
from hpcfrugal.report import kind
from hpcfrugal.report.amount import at_least
from hpcfrugal.report.field import Field, field

_NO_ZONE = 'CO2e is not known: no grid zone is set. Put zone = "FR" (yours) under [carbon], or set HPCFRUGAL_ZONE.'


@dataclass(slots=True)
class Co2e:
    """The footprints of some jobs.

    ``zoneless`` jobs have no known grid zone, ``assumed_zone`` jobs that of the present settings, ``unknown`` jobs no
    CO2e.
    """

    tally: Tally = default(default_factory=Tally)
    zones: set[str] = default(default_factory=set)
    pues: set[float | None] = default(default_factory=set)
    providers: set[str] = default(default_factory=set)
    assumed_zones: set[str] = default(default_factory=set)
    zoneless: int = 0
    assumed_zone: int = 0
    assumed_pue: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, footprint: JobFootprint | None) -> Co2e:
        """The footprint of one job."""
        made = cls()
        made.add(footprint)
        return made

    def add(self, footprint: JobFootprint | None) -> None:
        """Add a job that ran; None: its footprint was not computed."""
        if footprint is None:
            return
        if footprint.zone is None:
            self.zoneless += 1
            return
        tally = footprint.total
        self.zones.add(footprint.zone)
        if footprint.zone_source == "settings":
            self.assumed_zone += 1
            self.assumed_zones.add(footprint.zone)
        self.unknown += tally.operational_g is None
        if tally.operational_g is not None:
            self.tally.add(tally)
            self.pues.add(footprint.pue)
            self.assumed_pue += footprint.pue_source == "settings"
            if footprint.provider is not None:
                self.providers.add(footprint.provider)

    @property
    def known(self) -> bool:
        """Whether any CO2e is known."""
        return self.tally.operational_g is not None

    @property
    def complete(self) -> bool:
        """Whether all known energy of these jobs has an intensity."""
        return self.known and self.tally.coverage == 1 and not self.unknown and not self.zoneless

    @property
    def source(self) -> str | None:
        """``actual``, ``forecast``, ``yearly-mean``, or several with a plus between."""
        return "+".join(self.tally.sources) or None

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
        if len(self.pues) > 1:
            pue = "PUE of each run" if None not in self.pues else "PUE not included in all"
        else:
            pue = "PUE not included" if self.pue is None else f"PUE {self.pue:g}"
        return f"operational, location-based, components boundary, {pue}"

    def notes(self) -> Iterator[str]:
        """What the reader must know about the CO2e, or why it is not known."""
        if self.known:
            shares = [f"{source} {percent(float(share))}" for source, share in self.tally.shares.items()]
            providers = f" ({', '.join(sorted(self.providers))})" if self.providers else ""
            yield f"CO2e: {self.label}; intensity: {', '.join(shares)}{providers}."
            if self.estimated:
                yield "~ partly estimated: no actual intensity yet."
            coverage = self.tally.coverage
            if coverage is not None and coverage != 1:
                yield f"No carbon intensity is known for {percent(float(1 - coverage))} of the energy."
            if self.tally.open_uj:
                yield "Intensities may still be revised; the next sync updates the CO2e."
        if self.unknown:
            yield f"{count(self.unknown, 'job')} without CO2e: energy or carbon intensity unknown."
        if self.assumed_zone:
            zones = ", ".join(sorted(self.assumed_zones))
            jobs = count(self.assumed_zone, "job")
            yield f"{jobs} without a recorded grid zone: the zone of the present settings is used ({zones})."
        if self.zoneless and not self.zones:
            yield _NO_ZONE
        elif self.zoneless:
            yield f"{count(self.zoneless, 'job')} without CO2e: grid zone unknown."

    @property
    def estimated(self) -> bool:
        """Whether not all of it is by actual intensities."""
        return self.tally.sources != ["actual"]


CO2E_FIELDS: tuple[Field[Co2e], ...] = (
    field(
        "operational_g", kind.MASS, lambda co2e: co2e.tally.operational_g, csv=True, heading="CO2e [{mass}]",
        optional=True, missing=NONE, before=lambda co2e: at_least(co2e.complete),
    ),
    field(
        "intensity_g_per_kwh", kind.INTENSITY, lambda co2e: co2e.tally.intensity_g_per_kwh, csv=True, heading="g/kWh",
        drop=2, optional=True, missing="", before=lambda co2e: "~" if co2e.estimated else "",
    ),
    field("intensity_source", kind.PLAIN, lambda co2e: co2e.source, csv=True),
    field("zone", kind.PLAIN, lambda co2e: co2e.zone, csv=True),
    field("pue", kind.PLAIN, lambda co2e: co2e.pue if co2e.known else None, csv=True),
)  # fmt: skip
"""The main figures."""

FOOTPRINT_FIELDS: tuple[Field[Co2e], ...] = (
    field("label", kind.PLAIN, lambda co2e: co2e.label),
    field("scope", kind.PLAIN, lambda co2e: "operational"),
    field("method", kind.PLAIN, lambda co2e: "location-based"),
    field("boundary", kind.PLAIN, lambda co2e: "components"),
    field("signal", kind.PLAIN, lambda co2e: "average"),
    field("complete", kind.PLAIN, lambda co2e: co2e.complete),
    field("settled", kind.PLAIN, lambda co2e: co2e.tally.open_uj == 0 if co2e.known else None),
    field("measured_g", kind.MASS, lambda co2e: co2e.tally.grams.get("measured")),
    field("modelled_g", kind.MASS, lambda co2e: co2e.tally.grams.get("modelled")),
    field("intensity_coverage", kind.SHARE, lambda co2e: co2e.tally.coverage),
    field(
        "intensity_shares",
        kind.PLAIN,
        lambda co2e: {source: float(share) for source, share in co2e.tally.shares.items()},
    ),
    field("providers", kind.PLAIN, lambda co2e: sorted(co2e.providers)),
    field("zones", kind.PLAIN, lambda co2e: sorted(co2e.zones)),
    field("jobs_without_zone", kind.COUNT, lambda co2e: co2e.zoneless),
    field("jobs_without_grams", kind.COUNT, lambda co2e: co2e.unknown),
    field("jobs_with_zone_of_settings", kind.COUNT, lambda co2e: co2e.assumed_zone),
    field("jobs_with_pue_of_settings", kind.COUNT, lambda co2e: co2e.assumed_pue),
)
"""What the main figures are, and what is missing in them."""
