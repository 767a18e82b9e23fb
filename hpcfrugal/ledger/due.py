"""What is to be computed again: totals of jobs, and roll-ups of days.

A job is due when its row was written, which is what reading any of its files ends with; when the intensity at its time
was revised; and when a setting that it depends on has changed. A day is due when the totals of a job on it were
written. Triggers of the ledger see to both.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from typing import TYPE_CHECKING

from hpcfrugal.accounting.embodied import YEAR_S, EmbodiedNodes
from hpcfrugal.core.pue import MonthlyPue, Pue
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.rows import MetaRow
from hpcfrugal.ledger.tables import META

if TYPE_CHECKING:
    from hpcfrugal.settings.config import Config

DAY_NS = 86_400 * 10**9


def _mark(table: str, column: str, row: str) -> str:
    """SQL of a trigger. The statement that it belongs to would decide what becomes of ``OR IGNORE``."""
    same = f"SELECT 1 FROM {table} WHERE {column} = {row}.{column}"
    return f"BEGIN INSERT INTO {table} SELECT {row}.{column} WHERE NOT EXISTS ({same}); END"


DUE_SCHEMA = (
    "CREATE TABLE totals_due (job INTEGER PRIMARY KEY)",
    f"CREATE TRIGGER job_was_made AFTER INSERT ON jobs {_mark('totals_due', 'job', 'NEW')}",
    f"CREATE TRIGGER job_was_written AFTER UPDATE ON jobs {_mark('totals_due', 'job', 'NEW')}",
    "CREATE TRIGGER job_was_deleted AFTER DELETE ON jobs BEGIN DELETE FROM totals_due WHERE job = OLD.job; END",
    "CREATE TABLE days_due (day INTEGER PRIMARY KEY)",
    f"CREATE TRIGGER day_was_written AFTER INSERT ON job_days {_mark('days_due', 'day', 'NEW')}",
    f"CREATE TRIGGER day_was_deleted AFTER DELETE ON job_days {_mark('days_due', 'day', 'OLD')}",
)

_DEFAULTS = "defaults"
"""The entry of ``meta`` with the settings by which the totals were computed, as JSON."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the settings say of runs that do not say it themselves."""

    zone: str | None = None
    pue: Pue | None = None
    embodied: tuple[EmbodiedNodes, ...] = ()

    @classmethod
    def of_settings(cls, config: Config) -> Defaults:
        """Raises InputError for invalid tables of nodes."""
        return cls(config.carbon.zone, config.carbon.pue, _embodied(config))

    def as_json(self) -> str:
        pue = dict(self.pue.months) if isinstance(self.pue, MonthlyPue) else self.pue
        return json.dumps({"zone": self.zone, "pue": pue, "embodied": [asdict(one) for one in self.embodied]})

    @classmethod
    def of_json(cls, text: str) -> Defaults:
        values = json.loads(text)
        pue = values["pue"]
        return cls(
            values["zone"],
            MonthlyPue(tuple(pue.items())) if isinstance(pue, dict) else pue,
            tuple(EmbodiedNodes(**one) for one in values["embodied"]),
        )


def _embodied(config: Config) -> tuple[EmbodiedNodes, ...]:
    if not (tables := config.tables("nodes")):
        return ()
    from hpcfrugal.settings.idle_power import read_node_tables

    found = []
    for table, one in read_node_tables(tables):
        if one.embodied_kg is not None:
            low_g, high_g = (round(kg * 1000) for kg in one.embodied_kg)
            lifetime_s = round((one.lifetime_years or 0) * YEAR_S)
            source = one.embodied_source or ""
            found.append(EmbodiedNodes(table.name, one.cpus or 1, low_g, high_g, lifetime_s, source))
    return tuple(found)


def known_defaults(connection: sqlite3.Connection) -> Defaults:
    """The settings by which the totals were computed."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_DEFAULTS,)).fetchone()
    return Defaults() if row is None else Defaults.of_json(row[0])


def use_defaults(connection: LedgerConnection, defaults: Defaults) -> None:
    """Make all jobs due that depend on a setting which has changed, inside the caller's transaction."""
    before = known_defaults(connection)
    if before == defaults:
        return
    if before.embodied != defaults.embodied:
        connection.execute("INSERT OR IGNORE INTO totals_due SELECT job FROM job_totals")
    connection.execute(
        "INSERT OR IGNORE INTO totals_due SELECT job FROM job_totals JOIN places USING (place)"
        " WHERE zone_source IS NOT 'run' OR pue_source IS NOT 'run'"
    )
    connection.execute("DELETE FROM meta WHERE key = ?", (_DEFAULTS,))
    if defaults != Defaults():
        META.insert(connection, MetaRow(_DEFAULTS, defaults.as_json()))


def mark_revised(connection: sqlite3.Connection, zone: str, start_ns: int, end_ns: int) -> None:
    """Make the jobs due that used energy in a zone in ``[start_ns, end_ns)``."""
    connection.execute(
        "INSERT OR IGNORE INTO totals_due SELECT job FROM job_days JOIN job_totals USING (job)"
        " JOIN places USING (place) WHERE day BETWEEN ? AND ? AND first_ns < ? AND last_ns >= ? AND zone = ?",
        (start_ns // DAY_NS, end_ns // DAY_NS, end_ns, start_ns, zone),
    )
