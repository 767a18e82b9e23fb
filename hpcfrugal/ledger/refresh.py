"""Keeping the totals of jobs up to date: those of jobs that are due are computed and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpcfrugal.accounting.footprint import EnergyPiece
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.due import DAY_NS, Defaults, known_defaults
from hpcfrugal.ledger.footprints import Intensities, intensities_of
from hpcfrugal.ledger.parts import Part, idle_power_of, not_started, parts_of, scope_of
from hpcfrugal.ledger.queries import jobs_in
from hpcfrugal.ledger.rollup import refresh_rollup
from hpcfrugal.ledger.rows import (
    JOB_DAYS,
    JOB_ENERGY,
    JOB_TOTALS,
    TOTALS_TABLES,
    CarbonPlace,
    JobDayRow,
    JobEnergyRow,
    JobRow,
    JobTotalsRow,
)
from hpcfrugal.ledger.sums import EnergySums, total_of
from hpcfrugal.ledger.totals import JobSlot, cut, pieces_of, span_of

_JOBS_PER_TRANSACTION = 500

_TOO_LARGE = "its figures add up to more than there can be"


def refresh_ledger(connection: LedgerConnection) -> None:
    """Compute all that is due, in transactions of its own."""
    while True:
        with transaction(connection):
            if not refresh_totals(connection, _JOBS_PER_TRANSACTION):
                break
    refresh_rollup(connection)


def refresh_totals(connection: LedgerConnection, most: int = -1) -> int:
    """Compute the totals of jobs that are due, at ``most`` so many; returns how many. Inside a transaction."""
    due = [job for (job,) in connection.execute("SELECT job FROM totals_due ORDER BY job LIMIT ?", (most,))]
    intensity, defaults = Intensities(connection), known_defaults(connection)
    for job in jobs_in(connection, due):
        for table in TOTALS_TABLES:
            table.delete(connection, job.job)
        connection.execute("SAVEPOINT totals")
        try:
            pieces = pieces_of(job)
            _write(connection, job, span_of(job, pieces), *compute(intensity, job, pieces, defaults))
        except OverflowError:
            connection.roll_back_to("totals")
            bare = _without_figures(job)
            _write(connection, bare, span_of(bare, ()), CarbonPlace(None, None, None, None), cut(bare, ()))
        connection.execute("RELEASE totals")
    connection.executemany("DELETE FROM totals_due WHERE job = ?", [(job,) for job in due])
    return len(due)


def compute(
    intensity: Intensities,
    job: JobRow,
    pieces: Sequence[EnergyPiece],
    defaults: Defaults,
    cuts_ns: Sequence[int] = (),
) -> tuple[CarbonPlace, list[JobSlot]]:
    """Where a job's energy, ``pieces``, counts, and what it used by UTC day and by ``cuts_ns``."""
    place, placed = intensities_of(intensity, job, pieces, defaults)
    return place, cut(job, pieces, placed, place.pue, cuts_ns)


def _without_figures(job: JobRow) -> JobRow:
    """A job of which each figure is possible, but not their sums."""
    channels = tuple(
        replace(channel, energy_uj=None, first_bucket_s=None, reason=_TOO_LARGE) for channel in job.channels
    )
    return replace(job, channels=channels, elapsed_ns=None)


def _write(
    connection: LedgerConnection, job: JobRow, span_ns: tuple[int, int], place: CarbonPlace, slots: Sequence[JobSlot]
) -> None:
    pending = not_started(job)
    parts = {(part.node, part.component): part for part in parts_of(job)}
    unknown = tuple(text for part in parts.values() for text in part.unknown)
    known = any(part.known for part in parts.values())
    first_ns, last_ns = span_ns
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
    JOB_TOTALS.insert(connection, totals, job.job)
    JOB_DAYS.insert_all(
        connection,
        (JobDayRow(slot.start_ns // DAY_NS, number == 0, slot.elapsed_ns) for number, slot in enumerate(slots)),
        job.job,
    )
    if not pending:
        JOB_ENERGY.insert_all(
            connection,
            (_energy(slot, parts[key], sums) for slot in slots for key, sums in slot.sums.items()),
            job.job,
        )


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
