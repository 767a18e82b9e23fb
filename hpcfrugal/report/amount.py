"""Energy by quality as reports show it: measured, modelled and unknown stay apart in every sum."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TypeVar

from hpcfrugal.core.format import AT_LEAST, MODEL_ALONE, NONE, UNKNOWN, AmountUnit, at_least
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.report import notation
from hpcfrugal.report.field import Field, field
from hpcfrugal.report.view import note

PARTLY_UNKNOWN = note(
    f"{AT_LEAST.strip()}: a part is unknown and not included; `hpcfrugal report JOB` shows which and why."
)
"""What the sign of ``bound_sign`` means."""

N = TypeVar("N", int, float)


def bound_sign(complete: bool) -> str:
    """The sign before a sum that lacks a part."""
    return "" if complete else AT_LEAST


def sum_of_all(values: Sequence[N | None]) -> N | None:
    """The sum; None where there is none, or a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(values) else None


def is_unknown(amount: float | Fraction | None, complete: bool) -> bool:
    """Whether nothing is known of an amount: "at least 0" is no figure."""
    return not amount and not complete


def bounded(amount: float | Fraction, unit: AmountUnit, complete: bool) -> str:
    """A known amount with its unit, as a lower bound where it lacks a part."""
    return unit.named(amount) if complete else at_least(unit.for_bounds().named(amount))


def without_coverage(sums: EnergySums, unknown: str = UNKNOWN) -> str:
    """The text in place of a coverage that is not shown."""
    if sums.coverage is None:
        return unknown
    return MODEL_ALONE if sums.measured_uj is None else NONE


AMOUNT_FIELDS: tuple[Field[EnergySums], ...] = (
    field("energy_kwh", notation.KILOWATT_HOURS, lambda sums: sums.energy_uj, json="", csv=True),
    field("energy_wh", notation.WATT_HOURS, lambda sums: sums.energy_uj, json="", csv=True),
    field(
        "energy_j", notation.ENERGY, lambda sums: sums.energy_uj, csv=True, heading="Energy [{energy}]",
        before=lambda sums: bound_sign(sums.complete),
    ),
    field("energy_low_j", notation.ENERGY, lambda sums: sums.range_uj and sums.range_uj[0], csv=True),
    field("energy_high_j", notation.ENERGY, lambda sums: sums.range_uj and sums.range_uj[1], csv=True),
    field(
        "range", notation.ENERGY_RANGE, lambda sums: sums.range_uj, json="", heading="90 % range", drop=9,
        optional=True, missing=NONE,
    ),
    field(
        "measured_j", notation.ENERGY, lambda sums: sums.measured_uj, csv=True, heading="Measured", drop=6,
        optional=True,
        missing=NONE,
    ),
    field(
        "modelled_j", notation.ENERGY, lambda sums: sums.modelled_uj, csv=True, heading="Modelled", drop=11,
        optional=True,
        missing=NONE,
    ),
    field("coverage", notation.SHARE, lambda sums: sums.coverage, csv=True),
    field(
        "time_measured", notation.SHARE, lambda sums: sums.shown_coverage, json="", heading="Time covered", drop=5,
        optional=True,
        missing=without_coverage,
    ),
    field("complete", notation.PLAIN, lambda sums: sums.complete, csv=True),
)  # fmt: skip
