"""The report on the closed energy of nodes: by node and day, and all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hpcfrugal.accounting.closure import SuspendRule
from hpcfrugal.core.format import EnergyUnit, count, percent
from hpcfrugal.core.text import plain
from hpcfrugal.core.time import from_ns
from hpcfrugal.ledger.closure import ClosedNode, NodeDay
from hpcfrugal.ledger.due import DAY_NS
from hpcfrugal.report import notation
from hpcfrugal.report.field import Field, Rows, field, rows, scale, sheet, table, to_json
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Block, Json, Notes, Sheet, named, note

CLOSURE_SCHEMA_VERSION = 1

_BAR = 20
_SHOWN = 30
_WORST = 5
_LONG_GAP_NS = 3600 * 10**9


class ClosureSums(NamedTuple):
    """Microjoules and nanoseconds of some days of nodes. ``idle_uj`` and ``could_be_off_uj`` are None where no agent
    was there. ``beside_uj`` and ``parts_uj`` are what meters and components read in the same time; None: nothing did.
    """

    days: int
    node_uj: int
    jobs_uj: int
    idle_uj: int | None
    unattributed_uj: int
    could_be_off_uj: int | None
    meter_uj: int | None
    parts_uj: int
    beside_uj: int | None
    gap_ns: int

    @classmethod
    def of(cls, days: Sequence[NodeDay], until_ns: int) -> ClosureSums:
        """Those of days; none is counted further than ``until_ns``."""
        both = [one for one in days if one.ratio is not None]
        metered = [one.meter_uj for one in days if one.meter_uj is not None]
        balances = [one.balance for one in days if one.balance is not None]
        return cls(
            days=len(days),
            node_uj=sum(one.node_uj for one in days),
            jobs_uj=sum(one.jobs_uj for one in days),
            idle_uj=sum(one.idle_uj for one in balances) if balances else None,
            unattributed_uj=sum(one.unattributed_uj for one in days),
            could_be_off_uj=sum(one.could_be_off_uj for one in balances) if balances else None,
            meter_uj=sum(metered) if metered else None,
            parts_uj=sum(one.node_uj for one in both),
            beside_uj=sum(one.beside_uj or 0 for one in both) if both else None,
            gap_ns=sum(_gap_ns(one, until_ns) for one in days),
        )

    @property
    def ratio(self) -> float | None:
        """Components over the meter."""
        return self.parts_uj / self.beside_uj if self.beside_uj else None

    @property
    def bar(self) -> str:
        """The shares of jobs, idle and the rest."""
        if self.node_uj <= 0:
            return ""
        parts = self.jobs_uj, self.idle_uj or 0
        jobs, idle = (min(_BAR, max(0, round(_BAR * part / self.node_uj))) for part in parts)
        idle = min(idle, _BAR - jobs)
        return "█" * jobs + "░" * idle + "·" * (_BAR - jobs - idle)


class _Row(NamedTuple):
    """A node, or one of its days."""

    node: str
    day: int | None
    sums: ClosureSums
    of_day: NodeDay | None = None


def _gap_ns(one: NodeDay, until_ns: int) -> int:
    whole_ns = min((one.day + 1) * DAY_NS, until_ns) - one.day * DAY_NS
    return max(0, whole_ns - one.read_ns)


def _date(day: int) -> str:
    return f"{from_ns(day * DAY_NS):%Y-%m-%d}"


def _joules(name: str) -> Field[Any]:
    return field(f"{name}_uj", notation.PLAIN, lambda one: getattr(one.sums, f"{name}_uj"), csv=True)


def _of_balance(name: str) -> Field[Any]:
    def get(one: _Row) -> int | None:
        balance = None if one.of_day is None else one.of_day.balance
        return None if balance is None else getattr(balance, name)

    return field(name, notation.PLAIN, get, csv=True)


def _text(name: str, heading: str, drop: int | None = None) -> Field[Any]:
    """In a table; the name is not that of another column."""
    return field(
        f"{name}_shown", notation.KILOWATT_HOURS, lambda one: getattr(one.sums, f"{name}_uj"), json="", heading=heading,
        drop=drop, missing="–",
    )  # fmt: skip


_RATIO: notation.Notation[float] = notation.Notation(notation.same, lambda ratio, _: f"{ratio:.2f}")
_SHOWN_FIELDS: tuple[Field[_Row], ...] = (
    field("node", notation.TEXT, lambda one: one.node, csv=True, heading="Node", key=True),
    field("day", notation.WORD, lambda one: None if one.day is None else _date(one.day), csv=True, heading="Day",
          optional=True, missing=""),
    field("share", notation.WORD, lambda one: one.sums.bar, json="", heading="Share", drop=6),
    _text("node", "Node [{energy}]"),
    _text("jobs", "Jobs"),
    _text("idle", "Idle", 7),
    _text("unattributed", "Unattributed"),
    _text("could_be_off", "Could be off", 2),
    field("meter_read", notation.KILOWATT_HOURS, lambda one: one.sums.meter_uj, json="", heading="Meter",
          drop=4, optional=True, missing="–"),
    field("ratio", _RATIO, lambda one: one.sums.ratio, csv=True, heading="Components / meter", drop=3, optional=True,
          missing="–"),
    field("gap_s", notation.SPAN, lambda one: one.sums.gap_ns, csv=True, heading="Not read", drop=1),
)  # fmt: skip
_DAY_FIELDS: tuple[Field[_Row], ...] = (
    *_SHOWN_FIELDS,
    *map(_joules, ("node", "jobs", "idle", "unattributed", "could_be_off", "meter")),
    _of_balance("system_uj"),
    _of_balance("undivided_uj"),
    field("boundary", notation.PLAIN, lambda one: None if one.of_day is None else one.of_day.boundary, csv=True),
    field("meter", notation.PLAIN, lambda one: None if one.of_day is None else one.of_day.meter, csv=True),
    field("agent", notation.PLAIN, lambda one: one.of_day is not None and one.of_day.balance is not None, csv=True),
)
_SUM_FIELDS: tuple[Field[_Row], ...] = (
    *(each for each in _SHOWN_FIELDS if each.name in ("ratio", "gap_s")),
    field("node_days", notation.COUNT, lambda one: one.sums.days),
    *map(_joules, ("node", "jobs", "idle", "unattributed", "could_be_off", "meter")),
)


@dataclass(frozen=True)
class ClosureReport:
    """Nodes over whole days. ``by_day``: the table has a row for each day of a node; ``until_ns`` is when the period
    ends, or now."""

    period: Period
    nodes: Mapping[str, ClosedNode]
    until_ns: int
    by_day: bool = False
    unit: EnergyUnit = "auto"

    @property
    def _days(self) -> list[NodeDay]:
        return [one.days[day] for one in self.nodes.values() for day in sorted(one.days)]

    @property
    def _total(self) -> _Row:
        return _Row("all", None, ClosureSums.of(self._days, self.until_ns))

    def _of_days(self, one: ClosedNode) -> list[_Row]:
        found = [one.days[day] for day in sorted(one.days)]
        return [_Row(one.node, at.day, ClosureSums.of([at], self.until_ns), at) for at in found]

    def _of_nodes(self) -> list[_Row]:
        """The nodes, those with the largest part that nothing has first."""
        every = [
            _Row(name, None, ClosureSums.of(list(one.days.values()), self.until_ns)) for name, one in self.nodes.items()
        ]
        return sorted(every, key=lambda row: (-_part(row.sums), row.node))

    def document(self) -> dict[str, Json]:
        """The totals, and each node by day; energies are integer microjoules, which add up."""
        return {
            "schema": CLOSURE_SCHEMA_VERSION,
            "period": self.period.document(),
            "totals": {"nodes": len(self.nodes), **to_json(_SUM_FIELDS, self._total)},
            "nodes": [
                {
                    "node": name,
                    "suspend_s": one.rule.suspend_s,
                    "suspend_timeout_s": one.rule.suspend_timeout_s,
                    "resume_timeout_s": one.rule.resume_timeout_s,
                    "suspend_is_set": one.has_rule,
                    "days": rows(_DAY_FIELDS).json(self._of_days(one)),
                }
                for name, one in self.nodes.items()
            ],
        }

    def sheet(self) -> Sheet:
        """One row a node and day."""
        return sheet(_DAY_FIELDS, [row for one in self.nodes.values() for row in self._of_days(one)])

    def blocks(self) -> Iterator[Block]:
        """A table of nodes, or of their days, and what to look at."""
        if not self.nodes:
            text = "No node was read in this period: the ledger has no files of agents, and no meter has samples."
            yield Notes((note(text),))
            return
        nodes = self._of_nodes()
        shown = [row for one in self.nodes.values() for row in self._of_days(one)] if self.by_day else nodes[:_SHOWN]
        parts: list[Rows[Any]] = [Rows(_SHOWN_FIELDS, shown), Rows(_SHOWN_FIELDS, [self._total], "total", apart=True)]
        units = scale(parts, self.unit)
        yield table(_SHOWN_FIELDS, parts, units)
        yield Notes(tuple(note(text, role) for text, role in self._notes(nodes, len(shown), units)))

    def _notes(self, nodes: Sequence[_Row], shown: int, units: notation.Scale) -> Iterator[tuple[str, str]]:
        sums, unit = self._total.sums, units.energy
        metered = "" if sums.meter_uj is None else f", {unit.named(sums.meter_uj)} by meters"
        idle = "" if sums.idle_uj is None else f" {unit.named(sums.idle_uj)} idle,"
        yield (
            f"{count(len(nodes), 'node')}, {count(sums.days, 'node day')}: {unit.named(sums.node_uj)}{metered};"
            f" {unit.named(sums.jobs_uj)} jobs,{idle} {unit.named(sums.unattributed_uj)} unattributed.",
            "total",
        )
        yield (
            "Share: █ jobs, ░ idle, · unattributed (system beside jobs, not divided, or without an agent).",
            "",
        )
        if not self.by_day and shown < len(nodes):
            yield f"The {shown} nodes with the largest unattributed part of {len(nodes):,}; `--json` has all.", ""
        worst = [row for row in nodes[:_WORST] if _part(row.sums) > 0]
        if worst:
            names = named([f"{plain(row.node, 40)} {percent(_part(row.sums))}" for row in worst], _WORST)
            yield f"Largest unattributed part: {names}.", ""
        gaps = sorted((row for row in nodes if row.sums.gap_ns >= _LONG_GAP_NS), key=lambda row: -row.sums.gap_ns)
        if gaps:
            names = named([f"{plain(row.node, 40)} {row.sums.gap_ns / 3.6e12:.1f} h" for row in gaps], _WORST)
            yield f"Not read on days with readings: {names}.", ""
        yield from ((text, "") for text in self._rules(units))

    def _rules(self, units: notation.Scale) -> Iterator[str]:
        """What power saving could have switched off, by which rule."""
        found: dict[tuple[SuspendRule, bool], int] = {}
        for one in self.nodes.values():
            off_uj = ClosureSums.of(list(one.days.values()), self.until_ns).could_be_off_uj
            if off_uj is not None:
                found[one.rule, one.has_rule] = found.get((one.rule, one.has_rule), 0) + off_uj
        for (rule, has_rule), off_uj in found.items():
            why = "" if has_rule else "; no SuspendTime of Slurm is known, so that is an example: `--suspend-time`"
            yield (
                f"Could be off: {units.energy.named(off_uj)} idle, in times without jobs of more than {rule.least_s} s"
                f" (SuspendTime {rule.suspend_s} s + SuspendTimeout {rule.suspend_timeout_s} s + ResumeTimeout"
                f" {rule.resume_timeout_s} s){why}."
            )


def _part(sums: ClosureSums) -> float:
    return sums.unattributed_uj / sums.node_uj if sums.node_uj > 0 else 0.0
