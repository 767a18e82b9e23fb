"""Checking the ledger: damage of the file, problems in the spools, and differences to a ledger built just now."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.accounting import accounting_changed
from hpcfrugal.ledger.agent_files import agents_changed
from hpcfrugal.ledger.clocks import skews
from hpcfrugal.ledger.clusters import clusters_changed
from hpcfrugal.ledger.due import known_defaults
from hpcfrugal.ledger.export import INTENSITIES_OF_SPOOLS, dump
from hpcfrugal.ledger.intensity_files import intensities_changed
from hpcfrugal.ledger.rollup import wrong_days
from hpcfrugal.ledger.run_listing import list_run
from hpcfrugal.ledger.run_reading import Found, look_at
from hpcfrugal.ledger.run_state import RunState
from hpcfrugal.ledger.spools import LedgerSpool, key_of, spools_of
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import fill, is_derived_now, vanished_files, vanished_runs
from hpcfrugal.ledger.unreadable_files import unreadable_in
from hpcfrugal.spool import RunDir, iter_runs
from hpcfrugal.spool.layout import ACCOUNTING_DIR, AGENTS_DIR, CLUSTERS_DIR, INTENSITY_DIR

_BESIDE_RUNS = (INTENSITY_DIR, ACCOUNTING_DIR, AGENTS_DIR, CLUSTERS_DIR)
_CHANGED = (intensities_changed, accounting_changed, agents_changed, clusters_changed)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found. ``damage`` is SQLite's own finding, ``differences`` lines of the two dumps.

    ``not_synced``: runs with files that are new or have changed since the last sync. These, and runs that are in
    ``vanished`` or have files in ``vanished_files`` or files that cannot be read now, which are in ``skipped``, are not
    compared; nor are intensities to which the same applies.
    """

    damage: tuple[str, ...]
    problems: tuple[str, ...]
    skipped: tuple[str, ...]
    vanished: tuple[str, ...]
    vanished_files: tuple[str, ...]
    not_synced: tuple[str, ...]
    differences: tuple[str, ...]


def check_ledger(spool_root: Path, ledger_path: Path, *, compare: bool = True) -> CheckResult:
    """Find damage in the file, problems in the spools' files, runs changed since the last sync and, if ``compare``,
    differences to a ledger built just now from ``spool_root`` and the other spools that this one was filled from.

    Raises ``DataError`` where the ledger cannot be read at all.
    """
    with open_ledger(ledger_path) as connection:
        damage = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
        damage += _dangling(connection)
        damage += [f"the roll-up of {day} is not the sum of its jobs" for day in wrong_days(connection)]
        problems = tuple(_problems(connection))
        spools = spools_of(ledger_path, spool_root)
        with tempfile.TemporaryDirectory(prefix="hpcfrugal-check-") as folder:
            fresh = Path(folder) / "ledger.db"
            if compare:
                fill(spools, fresh, None, defaults=known_defaults(connection))
            # Listed after the spools were read: what came or grew meanwhile counts as not synced, not as a difference.
            found, not_synced, leave_out = Found(), list[str](), set[str]()
            for spool in spools:
                _look(connection, spool, found, not_synced, leave_out)
            if compare:
                with open_ledger(fresh) as new:
                    lacks = unreadable_in(new, connection)
                for file in lacks:
                    if file.run_id not in leave_out:
                        found.skipped.append(f"{file}: cannot be read now")
                leave_out.update(file.run_id for file in lacks)
            comparable = compare and is_derived_now(connection)
            differences = _differences(ledger_path, fresh, leave_out) if comparable else []
    return CheckResult(
        tuple(damage),
        problems,
        tuple(found.skipped),
        tuple(found.vanished),
        tuple(found.vanished_files),
        tuple(not_synced),
        tuple(differences),
    )


def _dangling(connection: sqlite3.Connection) -> list[str]:
    """Rows with the key of something that is not there, as sentences."""
    rows = connection.execute('SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2')
    return [f"{number} rows of {table} refer to rows that are missing in {parent}" for table, parent, number in rows]


def _look(
    connection: sqlite3.Connection, of: LedgerSpool, found: Found, not_synced: list[str], leave_out: set[str]
) -> None:
    """Compare what is in a spool with what the ledger was filled from; ``leave_out`` gets what cannot be compared."""
    spool_root = of.path
    spool = key_of(connection, spool_root, of.user)
    runs = list(iter_runs(spool_root, lambda entry, reason: found.skipped.append(f"{entry}: {reason}")))
    vanished = vanished_runs(connection, spool, runs)
    files = vanished_files(connection, spool, runs, spool_root)
    due = _not_synced(connection, spool, runs)
    names = [file.partition("/")[0] for file in files]
    leave_out |= {INTENSITIES_OF_SPOOLS if name in _BESIDE_RUNS else name for name in (*vanished, *due, *names)}
    if of.user is None and any(changed(connection, spool, spool_root) for changed in _CHANGED):
        leave_out.add(INTENSITIES_OF_SPOOLS)
    found.vanished += vanished
    found.vanished_files += files
    not_synced += due


def _not_synced(connection: sqlite3.Connection, spool: int | None, runs: Sequence[RunDir]) -> list[str]:
    """Runs of which a sync would read files; all where another version of the program has read them."""
    if not is_derived_now(connection):
        return [run.run_id for run in runs]
    found: list[str] = []
    for one in look_at(connection, spool, runs, Found()):
        if isinstance(one, RunState):
            found += [one.listing.run_dir.run_id] if one.changed else []
            continue
        with suppress(OSError):  # one that cannot be listed is not read either
            found += [one.run_id] if list_run(one).files else []
    return found


def _differences(ledger_path: Path, fresh: Path, leave_out: Collection[str]) -> list[str]:
    old, new = set(dump(ledger_path, leave_out)), set(dump(fresh, leave_out))
    return [*(f"- {line}" for line in sorted(old - new)), *(f"+ {line}" for line in sorted(new - old))]


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    rows = connection.execute(
        "SELECT run_id, name, problems FROM files JOIN runs USING (run) WHERE problems != '[]'"
        " UNION ALL SELECT ?, name, problems FROM intensity_files WHERE problems != '[]'"
        " UNION ALL SELECT ?, name, problems FROM accounting_files WHERE problems != '[]'"
        " UNION ALL SELECT ?, name, problems FROM agent_files WHERE problems != '[]'"
        " UNION ALL SELECT ?, name, problems FROM cluster_files WHERE problems != '[]' ORDER BY 1, 2",
        _BESIDE_RUNS,
    )
    for run_id, name, problems in rows:
        for problem in json.loads(problems):
            yield f"{run_id}/{name}: {problem}"
    for skew in skews(connection):
        yield f"{skew.run_id}: {skew}"
