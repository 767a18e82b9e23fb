"""Grams of CO2e of jobs and groups, with what they are: scope, boundary, PUE, and whose intensity is behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hpcfrugal.accounting.footprint import Tally
from hpcfrugal.core.text import MASS_UNITS_UG, UNKNOWN
from hpcfrugal.ledger.footprints import JobFootprint
from hpcfrugal.report.text import count, percent

NO_ZONE = 'CO2e is not known: no grid zone is set. Put zone = "FR" (yours) under [carbon], or set HPCFRUGAL_ZONE.'

CO2E_COLUMNS = ("operational_g", "intensity_g_per_kwh", "intensity_source", "zone", "pue")


@dataclass(slots=True)
class Co2e:
    """The footprints of some jobs. ``zoneless`` ran in no known zone, ``assumed_zone`` in that of the settings now."""

    tally: Tally = field(default_factory=Tally)
    zones: set[str] = field(default_factory=set)
    pues: set[float | None] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    assumed_zones: set[str] = field(default_factory=set)
    zoneless: int = 0
    assumed_zone: int = 0
    assumed_pue: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, footprint: JobFootprint | None) -> Co2e:
        """Those of one job."""
        made = cls()
        made.add(footprint)
        return made

    def add(self, footprint: JobFootprint | None) -> None:
        """Count a job in that ran; None: its footprint was not worked out."""
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
        """Whether there are any grams."""
        return self.tally.operational_g is not None

    @property
    def complete(self) -> bool:
        """Whether all energy that is known of these jobs has an intensity."""
        return self.known and self.tally.coverage == 1 and not self.unknown and not self.zoneless

    @property
    def source(self) -> str | None:
        """``actual``, ``forecast``, ``yearly-mean``, or several with a plus between."""
        return "+".join(self.tally.sources) or None

    @property
    def zone(self) -> str | None:
        """The zone of all; None where there are several or none."""
        return next(iter(self.zones)) if len(self.zones) == 1 else None

    @property
    def pue(self) -> float | None:
        """The PUE that is in all; None where it is in none, or they differ."""
        return next(iter(self.pues)) if len(self.pues) == 1 else None

    @property
    def label(self) -> str:
        """What the grams are."""
        if len(self.pues) > 1:
            pue = "PUE of each run" if None not in self.pues else "PUE not included in all"
        else:
            pue = "PUE not included" if self.pue is None else f"PUE {self.pue:g}"
        return f"operational, location-based, components boundary, {pue}"


def number(value: Fraction | None) -> float | None:
    """An exact figure as JSON has it."""
    return None if value is None else float(value)


def gram_cells(grams: Co2e) -> list[Any]:
    """The values of ``CO2E_COLUMNS``."""
    tally = grams.tally
    return [
        number(tally.operational_g), number(tally.intensity_g_per_kwh), grams.source, grams.zone,
        grams.pue if grams.known else None,
    ]  # fmt: skip


def grams_json(grams: Co2e) -> dict[str, Any]:
    """The grams in a JSON object of a job or a group."""
    tally = grams.tally
    return {
        **dict(zip(CO2E_COLUMNS, gram_cells(grams), strict=True)),
        "footprint": {
            "label": grams.label,
            "scope": "operational",
            "method": "location-based",
            "boundary": "components",
            "signal": "average",
            "complete": grams.complete,
            "settled": tally.open_uj == 0 if grams.known else None,
            "measured_g": number(tally.grams.get("measured")),
            "modelled_g": number(tally.grams.get("modelled")),
            "intensity_coverage": number(tally.coverage),
            "intensity_shares": {source: float(share) for source, share in tally.shares.items()},
            "providers": sorted(grams.providers),
            "zones": sorted(grams.zones),
            "jobs_without_zone": grams.zoneless,
            "jobs_without_grams": grams.unknown,
            "jobs_with_zone_of_settings": grams.assumed_zone,
            "jobs_with_pue_of_settings": grams.assumed_pue,
        },
    }


class MassUnit:
    """One unit for a whole table, so that its figures can be compared by eye."""

    def __init__(self, values_g: Iterable[Fraction | None]) -> None:
        largest_ug = max((abs(value) * 10**6 for value in values_g if value is not None), default=Fraction(0))
        units = MASS_UNITS_UG if largest_ug else [unit for unit in MASS_UNITS_UG if unit[1] == "g"]
        factor_ug, self.name = next((unit for unit in units if largest_ug >= unit[0]), units[-1])
        self.factor_g = Fraction(factor_ug, 10**6)

    def show(self, value_g: Fraction | None) -> str:
        """The figure without its unit, three digits behind the point. What rounds to 0 and is not is no 0."""
        if value_g is None:
            return UNKNOWN
        text = f"{float(value_g / self.factor_g):,.3f}"
        if value_g and text in ("0.000", "-0.000"):
            return "<0.001" if value_g > 0 else ">-0.001"
        return text


def gram_notes(grams: Co2e) -> Iterator[str]:
    """What the reader must know about grams, or why there are none."""
    if grams.known:
        shares = [f"{source} {percent(float(share))}" for source, share in grams.tally.shares.items()]
        whose = f" ({', '.join(sorted(grams.providers))})" if grams.providers else ""
        yield f"CO2e: {grams.label}; intensity: {', '.join(shares)}{whose}."
        if grams.tally.sources != ["actual"]:
            yield "~: not all of it by what the intensity was."
        coverage = grams.tally.coverage
        if coverage is not None and coverage != 1:
            yield f"Of {percent(float(1 - coverage))} of that energy no intensity is known."
        if grams.tally.open_uj:
            yield "Intensities may still be revised; the grams follow at the next sync."
    if grams.unknown:
        yield f"{count(grams.unknown, 'job')} without grams: no energy, or no intensity of their zone, is known."
    if grams.assumed_zone:
        zone = ", ".join(sorted(grams.assumed_zones))
        yield f"{count(grams.assumed_zone, 'job')} kept no grid zone: that of the settings now ({zone}) is taken."
    if grams.zoneless and not grams.zones:
        yield NO_ZONE
    elif grams.zoneless:
        yield f"{count(grams.zoneless, 'job')} without grams: no grid zone is known."
