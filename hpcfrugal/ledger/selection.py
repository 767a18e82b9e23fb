"""SQL that adds up jobs: of one shape, whether the rows are those of jobs by day or of the roll-up of days.

A selection has the columns that jobs are grouped by, then their place and scope, the component, ``COUNTS`` of jobs, the
jobs' own time, and ``EnergySums``. An empty component stands for jobs as a whole: their counts and their time.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.due import DAY_NS
from hpcfrugal.ledger.sums import SUMS, exact_sum, selected_sums

COUNTS = ("jobs", "not_started", "known", "incomplete", "with_co2e", "shared", "lacking_idle")
"""How many jobs: all; those that have not started; of which any energy is known; that ran and lack a part; that have
CO2e; that have a share of a node; and of which such a share lacks the node's idle power."""

ROLLED = ("user", "account", "partition")
"""The columns of jobs that the roll-up has."""

DAY_S = DAY_NS // 10**9


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What jobs are grouped by, as a column of ``jobs``, ``runs``, ``job_days AS d`` or ``job_energy AS e``.

    ``rolled``: the column of the roll-up; None: it has none. ``texts``: the dictionary that its integers are keys of.
    """

    column: str
    rolled: str | None = None
    texts: str | None = "texts"


def _month_of(day: str) -> str:
    """SQL for the first day of a day's month."""
    return f"CAST(strftime('%s', {day} * {DAY_S}, 'unixepoch', 'start of month') AS INTEGER) / {DAY_S}"


KEYS = {
    **{name: GroupKey(f"jobs.{name}", name) for name in ROLLED},
    "qos": GroupKey("jobs.qos"),
    "name": GroupKey("jobs.name"),
    "project": GroupKey("runs.project"),
    "phase": GroupKey("runs.phase"),
    "tags": GroupKey("jobs.tags"),
    "node": GroupKey("e.node", texts="nodes"),
    "day": GroupKey("d.day", "day", None),
    "month": GroupKey(_month_of("d.day"), _month_of("day"), None),
}
"""By name. ``component`` divides jobs too, and is a column of every selection."""


def counts_once(keys: Sequence[str], first: str, day: str, first_day: int) -> str:
    """SQL for whether a job counts on a day, so that each counts once in a group: on its first day in it.

    ``first_day`` is that of the period. By day, jobs count on each of their days.
    """
    if "day" in keys:
        return "1"
    of_month = f" OR {day} = {_month_of(day)}" if "month" in keys else ""
    return f"({first} OR {day} = {first_day}{of_month})"


_HAS_CO2E = "(t.measured_ug NOT NULL OR t.modelled_ug NOT NULL)"
_OF_JOBS = (
    *("1", "t.not_started", "t.known", "NOT t.complete AND NOT t.not_started", _HAS_CO2E),
    *("t.shared", "t.lacks_idle"),
)
_OF_PARTS = ("1", "0", "e.known", "e.lacking", f"e.known AND {_HAS_CO2E}", "e.shared", "e.lacks_idle")
"""SQL for whether a job is among each of ``COUNTS``."""

_NO_SUMS = ", ".join(["NULL"] * 2 * len(SUMS))
_ENERGY = "JOIN job_energy AS e ON e.job = d.job AND e.day = d.day"


@dataclass(frozen=True, slots=True)
class JobDays:
    """Selections of jobs by day: those for which ``condition`` holds, grouped by ``columns``.

    ``counts`` is SQL for whether a job counts on a day; ``joins`` are further tables that ``condition`` is about.
    """

    columns: Sequence[str]
    counts: str
    condition: str
    joins: str = ""

    @property
    def jobs(self) -> str:
        """Jobs as a whole."""
        numbers = ", ".join(f"sum({self.counts} AND {each})" for each in _OF_JOBS)
        return self._select(f"'', {numbers}, {exact_sum('d.elapsed_ns')}, {_NO_SUMS}", "", "")

    @property
    def jobs_of_nodes(self) -> str:
        """Jobs as a whole, where ``columns`` has the node: each on all of its nodes, and without their time."""
        return self._select(f"'', {self._distinct()}, NULL, NULL, {_NO_SUMS}", _ENERGY, "")

    def components(self, *, with_counts: bool) -> str:
        """The components of jobs, with how many jobs have them."""
        numbers = self._distinct() if with_counts else ", ".join(["0"] * len(COUNTS))
        return self._select(f"e.component, {numbers}, NULL, NULL, {selected_sums('e.')}", _ENERGY, ", e.component")

    def _distinct(self) -> str:
        return ", ".join(f"count(DISTINCT CASE WHEN {self.counts} AND {each} THEN d.job END)" for each in _OF_PARTS)

    def _select(self, values: str, energy: str, by: str) -> str:
        head = ", ".join([*self.columns, "t.place", "t.scope"])
        return (
            f"SELECT {head}, {values} FROM job_days AS d JOIN job_totals AS t ON t.job = d.job"
            f" JOIN jobs ON jobs.job = d.job LEFT JOIN runs ON runs.run = jobs.run {energy} {self.joins}"
            f" WHERE {self.condition} GROUP BY {head}{by}"
        )


def of_rollup(columns: Sequence[str], counts: str, condition: str, *, exact: bool) -> str:
    """The selection of the roll-up, of jobs and of components.

    ``exact``: also where a sum passes 64 bits; else SQLite ends such a query with an error, and it takes half the time.
    """
    numbers = ", ".join(f"sum(CASE WHEN {counts} THEN {each} ELSE 0 END)" for each in COUNTS)
    head = ", ".join([*columns, "place", "scope", "component"])
    halves = exact_sum if exact else "0, sum({})".format
    sums = ", ".join(halves(name) for name in ("job_ns", *SUMS))
    return f"SELECT {head}, {numbers}, {sums} FROM rollup WHERE {condition} GROUP BY {head}"
