"""Energy and CO2e as jobs and groups of jobs have them, in one list of fields for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from hpcfrugal.core.format import NONE
from hpcfrugal.ledger.parts import COMPONENTS
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.report import notation
from hpcfrugal.report.amount import AMOUNT_FIELDS, bound_sign, without_coverage
from hpcfrugal.report.co2e import CO2E_FIELDS, FOOTPRINT_FIELDS, Co2e
from hpcfrugal.report.embodied import EMBODIED_FIELDS
from hpcfrugal.report.field import Field, by_name, field, on, row, variant


class Accounted(Protocol):
    """A job or a group of jobs."""

    @property
    def components(self) -> dict[str, EnergySums]: ...

    @property
    def sums(self) -> EnergySums: ...

    @property
    def complete(self) -> bool: ...

    @property
    def idle_power(self) -> str | None: ...

    @property
    def co2e(self) -> Co2e: ...


A = TypeVar("A", bound=Accounted)

_DROPPED_AT = {"cpu": 3, "dram": 2, "gpu": 1, "node": 4}


def energy_fields(missing: Callable[[A], str]) -> tuple[Field[A], ...]:
    """The fields. ``missing`` is the text of an energy or coverage that is not known."""

    def component(name: str) -> Field[A]:
        return field(
            f"{name}_j",
            notation.ENERGY,
            lambda record: record.components[name].energy_uj if name in record.components else None,
            json=f"energy_j.{name}",
            csv=True,
            heading=name.upper(),
            drop=_DROPPED_AT[name],
            optional=True,
            missing=NONE,
        )

    def total(record: A) -> EnergySums:
        return record.sums

    def co2e(record: A) -> Co2e:
        return record.co2e

    def range_end(name: str, end: int) -> Field[A]:
        return field(name, notation.MICROGRAMS, lambda record: (ug := record.sums.co2e_range_ug) and ug[end], csv=True)

    amounts = {each.name: each for each in on(AMOUNT_FIELDS, total) if each.name != "complete"}
    amounts["energy_j"] = variant(amounts["energy_j"], path=("energy_j", "total"), missing=missing)
    amounts["time_measured"] = variant(
        amounts["time_measured"], missing=lambda record: without_coverage(record.sums, missing(record))
    )
    before_components = list(amounts).index("range") + 1
    listed = list(amounts.values())
    grams, *more = on(CO2E_FIELDS, co2e)
    return (
        *listed[:before_components],
        *(component(name) for name in COMPONENTS),
        *listed[before_components:],
        field("complete", notation.PLAIN, lambda record: record.complete, csv=True),
        field("idle_power", notation.PLAIN, lambda record: record.idle_power, csv=True),
        variant(grams, before=lambda record: bound_sign(record.sums.complete and record.co2e.complete)),
        range_end("co2e_low_g", 0),
        range_end("co2e_high_g", 1),
        *more,
        *on(EMBODIED_FIELDS, total),
        field("footprint", row(FOOTPRINT_FIELDS), co2e),
        field("components", by_name(AMOUNT_FIELDS), lambda record: record.components),
    )
