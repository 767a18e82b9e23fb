"""Energy and CO2e that can be added up: one record for a part of a job, a job, a day, a group and a total.

Columns are integers, so every grouping of the same rows gives the same sum. The properties divide and convert as the
views of the ledger do, in the same order and in double precision, so that JSON, CSV and SQL agree to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from hpcfrugal.accounting.footprint import LevelSource
from hpcfrugal.core.quick import dataclass

_ALL_THE_TIME = 0.995
"""A coverage that is printed as 100 %."""

_HALF = 32


@dataclass(frozen=True, slots=True)
class EnergySums:
    """Energy by quality, its time, and its CO2e. None: nothing of that is known.

    ``lacking`` is the number of parts (components of a node on a day) of which something is unknown, or was unread for
    long. ``low_uj`` to ``high_uj`` is the range in which the modelled energy is expected with 90 %, of the parts for
    which that is known, with what measured energy of uncertain edges may differ by; ``unranged`` counts the others.
    Ranges add up as if all models were wrong in the same direction, as those of like nodes are. ``covered_ns`` of
    ``elapsed_ns``, the time of each component of each node, have data.

    ``measured_ug`` and ``modelled_ug`` are micrograms of CO2e with the PUE, ``grid_ng`` nanograms without it;
    ``actual_uj``, ``estimated_uj``, ``forecast_uj`` and ``yearly_mean_uj`` the energy by the source of its intensity,
    the rest has none. The intensity of ``open_uj`` may still be revised.

    ``embodied_low_ug`` to ``embodied_high_ug`` is the job's part of the emissions of making its nodes, of the nodes of
    which that is known; ``embodied_lacking`` counts the others. It is kept with one component of a node.
    """

    lacking: int = 0
    measured_uj: int | None = None
    modelled_uj: int | None = None
    low_uj: int | None = None
    high_uj: int | None = None
    unranged: int = 0
    covered_ns: int = 0
    elapsed_ns: int = 0
    measured_ug: int | None = None
    modelled_ug: int | None = None
    grid_ng: int | None = None
    actual_uj: int = 0
    estimated_uj: int = 0
    forecast_uj: int = 0
    yearly_mean_uj: int = 0
    open_uj: int = 0
    embodied_low_ug: int | None = None
    embodied_high_ug: int | None = None
    embodied_lacking: int = 0

    @property
    def energy_uj(self) -> int | None:
        """What is known, measured and modelled together."""
        return _sum((self.measured_uj, self.modelled_uj))

    @property
    def complete(self) -> bool:
        """Whether no part is unknown. Shorter gaps only lower the coverage."""
        return not self.lacking and self.energy_uj is not None

    @property
    def coverage(self) -> float | None:
        """Share of the time that has data; None where the time is not known."""
        return float(self.covered_ns) / float(self.elapsed_ns) if self.elapsed_ns > 0 else None

    @property
    def shown_coverage(self) -> float | None:
        """The coverage for a reader: of a model that ran all the time it says nothing, least of all how good it is."""
        if self.modelled_uj is not None and self.coverage is not None and self.coverage > _ALL_THE_TIME:
            return None
        return self.coverage

    @property
    def range_uj(self) -> tuple[int, int] | None:
        """The range of ``energy_uj``; None where nothing is uncertain, or a range is not known."""
        if self.unranged or self.low_uj is None or self.high_uj is None:
            return None
        return (self.measured_uj or 0) + self.low_uj, (self.measured_uj or 0) + self.high_uj

    @property
    def co2e_ug(self) -> int | None:
        """Operational CO2e of the energy with an intensity; None if there is no such energy."""
        return _sum((self.measured_ug, self.modelled_ug))

    @property
    def co2e_range_ug(self) -> tuple[float, float] | None:
        """The range of ``co2e_ug``: of its modelled part that of the modelled energy."""
        if self.range_uj is None or self.modelled_ug is None or not self.modelled_uj:
            return None
        per_uj = float(self.modelled_ug) / float(self.modelled_uj)
        low_ug, high_ug = (per_uj * float(end_uj or 0) for end_uj in (self.low_uj, self.high_uj))
        return float(self.measured_ug or 0) + low_ug, float(self.measured_ug or 0) + high_ug

    @property
    def embodied_ug(self) -> tuple[int, int] | None:
        """Embodied emissions from one end to the other; None where nothing is known of them."""
        if self.embodied_low_ug is None or self.embodied_high_ug is None:
            return None
        return self.embodied_low_ug, self.embodied_high_ug

    @property
    def by_source_uj(self) -> dict[LevelSource, int]:
        """The energy by the source of its intensity, best first."""
        of: tuple[tuple[LevelSource, int], ...] = (
            ("actual", self.actual_uj), ("estimated", self.estimated_uj), ("forecast", self.forecast_uj),
            ("yearly-mean", self.yearly_mean_uj),
        )  # fmt: skip
        return {source: energy_uj for source, energy_uj in of if energy_uj}

    @property
    def known_uj(self) -> int:
        """The energy with an intensity."""
        return self.actual_uj + self.estimated_uj + self.forecast_uj + self.yearly_mean_uj

    @property
    def intensity_coverage(self) -> float | None:
        """The share of the energy with an intensity; None without energy."""
        return float(self.known_uj) / float(self.energy_uj) if self.energy_uj else None

    @property
    def intensity_g_per_kwh(self) -> float | None:
        """The mean intensity, weighted by energy, to a thousandth; None if no energy has one, or too little."""
        if self.grid_ng is None or self.known_uj < LEAST_WITH_INTENSITY_UJ:
            return None
        return int(float(self.grid_ng) * 3_600_000.0 / float(self.known_uj) + 0.5) / 1000.0


LEAST_WITH_INTENSITY_UJ = 3600
"""Of less energy the nanogram to which its CO2e is rounded is more than 1 g/kWh."""

SUMS = tuple(field.name for field in fields(EnergySums))
"""The columns."""


def exact_sum(column: str) -> str:
    """SQL for the sum of a column over the rows of a group, in two columns which ``in_whole`` makes one number.

    SQLite ends a query with an error where a sum passes 64 bits, as that of many numbers may which all fit.
    """
    return f"sum({column} >> {_HALF}), sum({column} & {2**_HALF - 1})"


def in_whole(high: int | None, low: int | None) -> int | None:
    """The sum of which ``exact_sum`` selected the halves; None where no row has a value."""
    return None if high is None or low is None else (high << _HALF) + low


def selected_sums(of: str = "") -> str:
    """SQL for the exact sums of these columns over the rows of a group; ``sums_in`` reads them."""
    return ", ".join(exact_sum(of + name) for name in SUMS)


def sums_in(row: Sequence[Any]) -> EnergySums:
    """The sums that ``selected_sums`` selected."""
    halves = iter(row)
    values = (in_whole(high, low) for high, low in zip(halves, halves, strict=True))
    return replace(EnergySums(), **{name: value for name, value in zip(SUMS, values, strict=True) if value is not None})


def total_of(parts: Iterable[EnergySums]) -> EnergySums:
    """The sum of several."""
    columns = zip(*map(_columns, parts), strict=True)
    return EnergySums(*[_sum(column) if None in column else sum(column) for column in columns])  # type: ignore[arg-type]


_columns = attrgetter(*SUMS)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None] if None in values else values
    return sum(known) if known else None  # type: ignore[arg-type]
