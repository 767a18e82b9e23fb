"""Emissions of making the nodes, as jobs and groups of jobs have a part of them: beside CO2e, never in it."""

from __future__ import annotations

import sqlite3

from hpcfrugal.core.format import NONE
from hpcfrugal.ledger.due import known_defaults
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.report import notation
from hpcfrugal.report.amount import bound_sign
from hpcfrugal.report.field import Field, field
from hpcfrugal.report.view import Note, named, note


def _is_whole(sums: EnergySums) -> bool | None:
    return None if sums.embodied_ug is None else not sums.embodied_lacking


EMBODIED_FIELDS: tuple[Field[EnergySums], ...] = (
    field("embodied_low_g", notation.MICROGRAMS, lambda sums: sums.embodied_low_ug, csv=True),
    field("embodied_high_g", notation.MICROGRAMS, lambda sums: sums.embodied_high_ug, csv=True),
    field("embodied_complete", notation.PLAIN, _is_whole, csv=True),
    field(
        "embodied", notation.MASS_RANGE, lambda sums: sums.embodied_ug, json="", heading="Embodied [{mass}]", drop=12,
        optional=True, missing=NONE, before=lambda sums: bound_sign(not sums.embodied_lacking),
    ),
)  # fmt: skip


def embodied_note(connection: sqlite3.Connection, sums: EnergySums) -> Note | None:
    """What the figures are and where they are from; None where there are none."""
    if sums.embodied_ug is None:
        return None
    sources = named(sorted({one.source for one in known_defaults(connection).embodied}))
    lacking = (
        " ≥: not known for all jobs (no figures of a node, or a job whose CPUs are not known)."
        if sums.embodied_lacking
        else ""
    )
    text = f"Embodied: making the nodes, by time and share of their CPUs, not in CO2e; from {sources}.{lacking}"
    return note(text, "aside")
