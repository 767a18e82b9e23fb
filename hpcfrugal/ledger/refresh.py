"""Keeping the totals of jobs up to date: those of jobs that are due are computed and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.due import DAY_NS, Defaults, known_defaults
from hpcfrugal.ledger.embodied import embodied_of
from hpcfrugal.ledger.footprints import Intensities, intensities_of, pue_of
from hpcfrugal.ledger.garbage import paused_collection
from hpcfrugal.ledger.parts import Part, idle_power_of, not_started, scope_of
from hpcfrugal.ledger.queries import jobs_in
from hpcfrugal.ledger.rollup import refresh_rollup
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.sums import EnergySums, total_of
from hpcfrugal.ledger.table import RowBatch, TableRow
from hpcfrugal.ledger.tables import JOB_DAYS, JOB_ENERGY, JOB_TOTALS, TOTALS_TABLES
from hpcfrugal.ledger.total_rows import CarbonPlace, JobDayRow, JobEnergyRow, JobTotalsRow
from hpcfrugal.ledger.totals import JobEnergy, JobSlot

_JOBS_PER_TRANSACTION = 500

_TOO_LARGE = "its figures add up to more than there can be"


def refresh_ledger(connection: LedgerConnection) -> None:
    """Compute all that is due, in transactions of its own."""
    while True:
        with transaction(connection):
            if not refresh_totals(connection, _JOBS_PER_TRANSACTION):
                break
    refresh_rollup(connection)


@paused_collection()
def refresh_totals(connection: LedgerConnection, most: int = -1) -> int:
    """Compute the totals of jobs that are due, at ``most`` so many; returns how many. Inside a transaction."""
    due = [job for (job,) in connection.execute("SELECT job FROM totals_due ORDER BY job LIMIT ?", (most,))]
    if not due:
        return 0
    intensity, defaults = Intensities(connection), known_defaults(connection)
    for table in TOTALS_TABLES:
        connection.executemany(f"DELETE FROM {table.name} WHERE job = ?", [(job,) for job in due])
    batch = RowBatch()
    for job in jobs_in(connection, due):
        batch.add_all(totals_of(job, intensity, defaults)[1], job.job)
    batch.write(connection)
    connection.executemany("DELETE FROM totals_due WHERE job = ?", [(job,) for job in due])
    return len(due)


def totals_of(job: JobRow, intensity: Intensities | None, defaults: Defaults) -> tuple[CarbonPlace, list[TableRow]]:
    """Where a job's energy counts, and the rows of its totals; ``intensity`` as in ``intensities_of``."""
    try:
        energy = JobEnergy(job, of_days=True)
        place, slots = compute(intensity, energy, defaults)
        return place, _rows(energy, place, slots)
    except OverflowError:
        bare, nowhere = JobEnergy(_without_figures(job)), CarbonPlace(None, None, None, None)
        return nowhere, _rows(bare, nowhere, bare.cut())


def compute(
    intensity: Intensities | None, energy: JobEnergy, defaults: Defaults, cuts_ns: Sequence[int] = ()
) -> tuple[CarbonPlace, list[JobSlot]]:
    """Where a job's energy counts, and what it used by UTC day and by ``cuts_ns``."""
    place, placed = intensities_of(intensity, energy.job, energy.pieces, defaults)
    embodied = embodied_of(energy.job, defaults.embodied)
    return place, energy.cut(None if place.zone is None else placed, pue_of(energy.job, defaults), cuts_ns, embodied)


def _without_figures(job: JobRow) -> JobRow:
    """A job of which each figure is possible, but not their sums."""
    channels = tuple(replace(channel, energy_uj=None, reason=_TOO_LARGE) for channel in job.channels)
    return replace(job, channels=channels, elapsed_ns=None)


def _rows(energy: JobEnergy, place: CarbonPlace, slots: Sequence[JobSlot]) -> list[TableRow]:
    """The rows of a job's totals, as tables and values. Raises ``OverflowError`` for a sum that no row can have."""
    job = energy.job
    pending = not_started(job)
    parts = {(part.node, part.component): part for part in energy.parts}
    unknown = tuple(text for part in parts.values() for text in part.unknown)
    known = any(part.known for part in parts.values())
    first_ns, last_ns = energy.span_ns
    totals = JobTotalsRow(
        first_ns=first_ns,
        last_ns=last_ns,
        not_started=pending,
        known=known,
        complete=known and not unknown,
        unknown=unknown or None,
        scope=scope_of(job),
        idle_power=idle_power_of(list(parts.values())),
        shared=any(part.shares for part in parts.values()),
        lacks_idle=any(part.lacks_idle for part in parts.values()),
        gpus=_gpus(job),
        place=place,
        sums=EnergySums() if pending else total_of(sums for slot in slots for sums in slot.sums.values()),
    )
    days = [JobDayRow(slot.start_ns // DAY_NS, number == 0, slot.elapsed_ns) for number, slot in enumerate(slots)]
    rows: list[TableRow] = [(JOB_TOTALS, JOB_TOTALS.values_of(totals))]
    rows += [(JOB_DAYS, JOB_DAYS.values_of(day)) for day in days]
    if not pending:
        used = [_energy(slot, parts[key], sums) for slot in slots for key, sums in slot.sums.items()]
        rows += [(JOB_ENERGY, JOB_ENERGY.values_of(row)) for row in used]
    return rows


def _energy(slot: JobSlot, part: Part, sums: EnergySums) -> JobEnergyRow:
    return JobEnergyRow(
        day=slot.start_ns // DAY_NS,
        node=part.node,
        component=part.component,
        known=part.known,
        shared=bool(part.shares),
        lacks_idle=part.lacks_idle,
        sums=sums,
    )


def _gpus(job: JobRow) -> int | None:
    """How many GPUs a job held on all of its nodes; where a node was not sampled, as many as Slurm gave it."""
    by_node: dict[str, int] = {}
    for session in job.sessions:
        by_node[session.node] = max(by_node.get(session.node, 0), session.gpus)
    return sum(by_node.values()) if job.nodes and by_node.keys() >= set(job.nodes) else job.alloc_gpus
