"""A ledger of very many jobs, made from one that was read from a spool: the same rows with other keys."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ledger_spool import JOBS_A_DAY, started_at, write_spool

from hpcfrugal.accounting.buckets import BUCKET_NS, EnergyByTime
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.file_rows import SealedRunRow
from hpcfrugal.ledger.packed import pack
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.refresh import refresh_ledger
from hpcfrugal.ledger.rows import AttemptRow, ChannelRow, JobRow, RunRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.ledger.tables import (
    CHANNELS,
    JOB_DAYS,
    JOB_ENERGY,
    JOB_TOTALS,
    JOBS,
    MISSING_SENSORS,
    RUNS,
    SEALED_RUNS,
    SESSIONS,
)
from hpcfrugal.spool import RunDir

JOB_S = 3600
DAY_S = 86_400
_NS = 10**9
_INSTANTS = ("_wall_ns", "_boottime_ns", "mtime_ns", "first_ns", "last_ns")
"""How the names of columns end that are times of a job."""

_TIMES = ("started_wall_ns", "started_boottime_ns")
_FILES = (
    '{"*.NODE.jsonl":null,"*.end.json":null,"*.nodes.json":{"nodes":[{"idle_power_source":"wattmeter 2026-03",'
    '"idle_power_uw":{"cpu":60000000},"node":"NODE","oversubscribed":false,"slurm_cpus":128,"tdp_uw":null}]},'
    '"*.slurm.json":null,"run.json":null,"submitted.json":null}'
)
"""What a sealed run of this kind has of its files, as ``hpcfrugal.ledger.sealing`` folds them."""


def make_ledger(folder: Path, ledger: Path, jobs: int, users: int) -> None:
    """Fill ``ledger`` with ``jobs`` jobs of ``users`` users: one node, one hour, four channels.

    Those of the first day are made one by one, and copied to the days after it.
    """
    write_spool(folder / "spool", 1, JOB_S)
    sync(folder / "spool", ledger)
    with open_ledger(ledger, write=True) as connection:
        (like,) = find_jobs(connection, JobFilter())
        spool = connection.execute("SELECT spool FROM spools").fetchone()[0]
        numbers = random.Random(11)
        with transaction(connection):
            for number in range(1, min(JOBS_A_DAY, jobs)):
                _insert(connection, spool, like, number, users, numbers)
        refresh_ledger(connection)
        for day in range(1, jobs // JOBS_A_DAY):
            with transaction(connection):
                _copy(connection, day)
        refresh_ledger(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(connection: LedgerConnection, day: int) -> None:
    """Copy the jobs of the first day, with all of their rows, to another one."""
    by = f"{day * JOBS_A_DAY}"
    shifted = {
        "run": f"run + {by}",
        "job": f"job + {by}",
        "job_id": f"CAST(job_id + {by} AS TEXT)",
        "day": f"day + {day}",
        "first_bucket_s": f"first_bucket_s + {day * DAY_S}",
        "run_id": f"strftime('%Y%m%dT%H%M%SZ', created_wall_ns / {_NS} + 60 + {day * DAY_S}, 'unixepoch') || '-' ||"
        f" printf('%08x', run + {by})",
    }
    for table in (RUNS, JOBS, SEALED_RUNS, SESSIONS, CHANNELS, MISSING_SENSORS, JOB_TOTALS, JOB_DAYS, JOB_ENERGY):
        keys = [table.row_key] if table.row_key else []
        columns = [*keys, *table.columns]
        values = [
            shifted.get(name, f"{name} + {day * DAY_S * _NS}" if name.endswith(_INSTANTS) else name) for name in columns
        ]
        owner = table.owner if table.owner in ("run", "job") else table.row_key
        connection.execute(
            f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table.name}"
            f" WHERE {owner} <= {JOBS_A_DAY}"
        )
    connection.execute("DELETE FROM totals_due")  # they are copied too


def make_directories(ledger: Path, spool: Path) -> None:
    """Make the directories of all runs of a ledger, empty and with the times that these had when they were sealed.

    So a sync of the spool finds nothing new, since it looks into none of them.
    """
    with open_ledger(ledger) as connection:
        rows = connection.execute("SELECT run_id, mtime_ns FROM runs JOIN sealed_runs USING (run)").fetchall()
    months = set()
    for run_id, mtime_ns in rows:
        folder = RunDir.of(spool, run_id).path
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder, ns=(mtime_ns, mtime_ns))
        months.add(folder.parent)
    for month in months:
        os.utime(month, ns=(rows[0][1], rows[0][1]))


def _insert(
    connection: LedgerConnection, spool: int, like: JobRow, number: int, users: int, numbers: random.Random
) -> None:
    at = started_at(number)
    start_ns = int(at.timestamp()) * _NS
    by_ns, node = start_ns - (like.started_wall_ns or 0), f"n{number % 400:04d}"
    user = numbers.randrange(users)
    run = RUNS.insert(
        connection,
        replace(
            _part(RunRow, like),
            run_id=f"{at:%Y%m%dT%H%M%SZ}-{number:08x}",
            open=False,
            created_wall_ns=start_ns - 60 * _NS,
            project=f"p{user % 50}",
        ),
        spool,
    )
    job = JOBS.insert(
        connection,
        replace(
            _part(AttemptRow, like),
            run=run,
            job_id=str(1_000_000 + number),
            user=f"u{user:03d}",
            name=f"train{numbers.randrange(7)}",
            account=f"acc{user % 50}",
            partition=f"part{number % 4}",
            submitted_wall_ns=start_ns - 60 * _NS,
            eligible_wall_ns=start_ns - 60 * _NS,
            started_wall_ns=start_ns,
            ended_wall_ns=start_ns + JOB_S * _NS,
            nodes=(node,),
            tags={"project": f"p{user % 50}", "phase": "training"},
        ),
    )
    files = _FILES.replace("NODE", node)
    SEALED_RUNS.insert(connection, SealedRunRow(start_ns + (JOB_S + 5) * _NS, files), run)
    for session in like.sessions:
        moved = {name: getattr(session, name) + by_ns for name in _TIMES}
        SESSIONS.insert(
            connection, replace(session, node=node, boot_id=f"{number % 400:08d}-1111-2222-3333", **moved), job
        )
    for channel in like.channels:
        CHANNELS.insert(connection, _channel(channel, node, by_ns, numbers), job)
    for sensor in like.missing_sensors:
        MISSING_SENSORS.insert(connection, replace(sensor, node=node), job)


def _channel(like: ChannelRow, node: str, by_ns: int, numbers: random.Random) -> ChannelRow:
    """The channel at another time, with other joules in each of its buckets."""
    first_ns, last_ns = (like.first_wall_ns or 0) + by_ns, (like.last_wall_ns or 0) + by_ns
    power_uw = numbers.uniform(0.6, 1.4) * (like.energy_uj or 0) / (like.measured_ns or 1) * 1e9
    energies_uj, measured_ns = {}, {}
    for start_ns in range(first_ns - first_ns % BUCKET_NS, last_ns, BUCKET_NS):
        measured_ns[start_ns] = min(start_ns + BUCKET_NS, last_ns) - max(start_ns, first_ns)
        energies_uj[start_ns] = int(power_uw * numbers.uniform(0.97, 1.03) * measured_ns[start_ns] / 1e9)
    energy_uj = sum(energies_uj.values())
    energy = EnergyByTime(energy_uj, sum(measured_ns.values()), 0, energies_uj, measured_ns)
    return replace(
        like,
        node=node,
        energy_uj=energy_uj,
        node_energy_uj=energy_uj * 3,
        idle_uj=None if like.idle_uj is None else energy_uj // 5,
        max_mw=round(power_uw / 1e3 * 1.3),
        packed=pack(energy, energy.measured_ns, first_ns, last_ns),
    )


def _part(record: type, of: JobRow):  # type: ignore[no-untyped-def]
    return record(**{name: getattr(of, name) for name in record.__dataclass_fields__})


def bytes_by_table(connection: LedgerConnection) -> Iterator[tuple[str, int]]:
    """The bytes of each table and index, largest first."""
    yield from connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC")
