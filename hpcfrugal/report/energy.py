"""Energy and CO2e as jobs and groups of jobs have them, in one list of fields for both."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Protocol, TypeVar

from hpcfrugal.core.format import NONE
from hpcfrugal.report import kind
from hpcfrugal.report.amount import AMOUNT_FIELDS, Amount, at_least
from hpcfrugal.report.co2e import CO2E_FIELDS, FOOTPRINT_FIELDS, Co2e
from hpcfrugal.report.field import Field, by_name, field, on, row, variant
from hpcfrugal.report.summary import COMPONENTS


class Accounted(Protocol):
    """A job or a group of jobs."""

    @property
    def components(self) -> dict[str, Amount]: ...

    @property
    def total(self) -> Amount: ...

    @property
    def complete(self) -> bool: ...

    @property
    def idle_power(self) -> str | None: ...

    @property
    def co2e(self) -> Co2e: ...


A = TypeVar("A", bound=Accounted)


def _range_g(record: Accounted) -> tuple[Fraction, Fraction] | None:
    """The range of the grams: of its modelled part that of the modelled energy. None where nothing is modelled."""
    amount, grams = record.total, record.co2e.tally.grams
    modelled_g = grams.get("modelled")
    if modelled_g is None or amount.modelled_range_uj is None or not amount.modelled_uj:
        return None
    measured_g = grams.get("measured") or 0
    low_uj, high_uj = amount.modelled_range_uj
    per_uj = Fraction(modelled_g) / amount.modelled_uj
    return measured_g + per_uj * low_uj, measured_g + per_uj * high_uj


_DROPPED_AT = {"cpu": 3, "dram": 2, "gpu": 1}


def energy_fields(missing: Callable[[A], str]) -> tuple[Field[A], ...]:
    """The fields. ``missing`` is the text of an energy or coverage that is not known."""

    def component(name: str) -> Field[A]:
        return field(
            f"{name}_j",
            kind.ENERGY,
            lambda record: record.components[name].energy_uj if name in record.components else None,
            json=f"energy_j.{name}",
            csv=True,
            heading=name.upper(),
            drop=_DROPPED_AT[name],
            missing=NONE,
        )

    def total(record: A) -> Amount:
        return record.total

    def co2e(record: A) -> Co2e:
        return record.co2e

    energy, low, high, ends, measured, modelled, coverage, time_covered, _ = on(AMOUNT_FIELDS, total)
    operational, *more = on(CO2E_FIELDS, co2e)
    return (
        variant(energy, path=("energy_j", "total"), missing=missing),
        low,
        high,
        ends,
        *(component(name) for name in COMPONENTS),
        measured,
        modelled,
        coverage,
        variant(time_covered, missing=lambda record: missing(record) if record.total.coverage is None else NONE),
        field("complete", kind.PLAIN, lambda record: record.complete, csv=True),
        field("idle_power", kind.PLAIN, lambda record: record.idle_power, csv=True),
        variant(operational, before=lambda record: at_least(record.total.complete and record.co2e.complete)),
        field("operational_low_g", kind.MASS, lambda record: (ends := _range_g(record)) and ends[0], csv=True),
        field("operational_high_g", kind.MASS, lambda record: (ends := _range_g(record)) and ends[1], csv=True),
        *more,
        field("footprint", row(FOOTPRINT_FIELDS), co2e),
        field("components", by_name(AMOUNT_FIELDS), lambda record: record.components),
    )
