"""The ledger's schema, as numbered steps. ``PRAGMA user_version`` holds the number of the last one applied.

Times are integer nanoseconds since the epoch (UTC), energies integer microjoules; NULL is unknown, never
zero. Tables of nodes hang on (run_id, job_id, restart, node). A job's own key is (cluster, job_id,
restart), with the run id behind it because Slurm counts from 1 again where a cluster lost its state.
A change of what is derived from a file bumps ``DERIVATION`` in ``sync``: the next sync then reads everything.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("hpcfrugal")


def _step(db: Database, number: int, statements: str) -> None:
    for statement in statements.split(";"):
        if statement.strip():
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {number}")


@migrations(name="1 runs, jobs, nodes and energy")
def _first(db: Database) -> None:
    _step(db, 1, _FIRST)


@migrations(name="2 peaks, resets, gaps, what documents say")
def _second(db: Database) -> None:
    _step(db, 2, _SECOND)


@migrations(name="3 use of memory, storage, GPUs and counters")
def _third(db: Database) -> None:
    _step(db, 3, _THIRD)


@migrations(name="4 idle power of nodes, Slurm's count of their CPUs")
def _fourth(db: Database) -> None:
    _step(db, 4, _FOURTH)


@migrations(name="5 carbon intensity, zone, PUE and plan of a run")
def _fifth(db: Database) -> None:
    _step(db, 5, _FIFTH)


@migrations(name="6 the wall clock at the last record, time without readings")
def _sixth(db: Database) -> None:
    _step(db, 6, _SIXTH)


_SIXTH = """
ALTER TABLE sidecar_sessions ADD COLUMN ended_clock_ns INTEGER;
ALTER TABLE channels ADD COLUMN unread_ns INTEGER;
ALTER TABLE runs ADD COLUMN sampled INTEGER
"""

_FIFTH = """
ALTER TABLE runs ADD COLUMN zone TEXT;
ALTER TABLE runs ADD COLUMN pue REAL;
ALTER TABLE runs ADD COLUMN plan TEXT;
CREATE TABLE intensity (
    zone TEXT NOT NULL, signal TEXT NOT NULL, provider TEXT NOT NULL,
    start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, g_per_kwh REAL,
    fetched_ns INTEGER NOT NULL, issued_ns INTEGER, settled INTEGER NOT NULL, file TEXT NOT NULL,
    PRIMARY KEY (zone, signal, provider, start_ns)
) WITHOUT ROWID;
CREATE INDEX intensity_by_file ON intensity (file)
"""

_FOURTH = """
ALTER TABLE channels ADD COLUMN idle_power TEXT;
ALTER TABLE channels ADD COLUMN idle_uj INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN slurm_cpus INTEGER
"""

_THIRD = """
ALTER TABLE sidecar_sessions ADD COLUMN memory_kib_s INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN memory_ns INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN page_faults_minor INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN page_faults_major INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN io_read_b INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN io_write_b INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN io_partial INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN gpu_busy_us INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN gpu_seen_us INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN instructions INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN cycles INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN cache_references INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN cache_misses INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN counters_enabled_ns INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN counters_running_ns INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN counters_cpu_us INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN use_sources TEXT;
ALTER TABLE sidecar_sessions ADD COLUMN use_reasons TEXT
"""

_SECOND = """
ALTER TABLE channels ADD COLUMN max_w REAL;
ALTER TABLE channels ADD COLUMN resets INTEGER;
ALTER TABLE channels ADD COLUMN gaps INTEGER;
ALTER TABLE sidecar_sessions ADD COLUMN slowed REAL;
ALTER TABLE files ADD COLUMN content TEXT
"""

_FIRST = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, user TEXT, uid INTEGER NOT NULL, created_wall_ns INTEGER, version TEXT,
    backend TEXT, host TEXT, name TEXT, project TEXT, phase TEXT, tags TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE jobs (
    cluster TEXT NOT NULL, job_id TEXT NOT NULL, restart INTEGER NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs,
    array_job_id TEXT, array_task_id TEXT, partition TEXT, account TEXT, qos TEXT,
    state TEXT, final INTEGER, exit_code INTEGER, signal INTEGER,
    submitted_wall_ns INTEGER, started_wall_ns INTEGER, ended_wall_ns INTEGER,
    elapsed_ns INTEGER, elapsed_source TEXT, nodes TEXT NOT NULL, alloc_cpus INTEGER,
    PRIMARY KEY (cluster, job_id, restart, run_id), UNIQUE (run_id, job_id, restart)
) WITHOUT ROWID;
CREATE INDEX jobs_by_start ON jobs (started_wall_ns);
CREATE TABLE sidecar_sessions (
    run_id TEXT NOT NULL, job_id TEXT NOT NULL, restart INTEGER NOT NULL, node TEXT NOT NULL,
    session INTEGER NOT NULL,
    cluster TEXT, array_job_id TEXT, array_task_id TEXT,
    boot_id TEXT, sidecar_version TEXT, interval_s REAL, record_s REAL,
    started_wall_ns INTEGER NOT NULL, started_boottime_ns INTEGER NOT NULL,
    ended_wall_ns INTEGER NOT NULL, ended_boottime_ns INTEGER NOT NULL,
    records INTEGER NOT NULL, end_reason TEXT,
    cpus_alloc INTEGER, cpus_node INTEGER, cpu_model TEXT, memory_node_b INTEGER, memory_alloc_b INTEGER,
    exclusive INTEGER, cpu_time_source TEXT, gpus INTEGER NOT NULL,
    job_cpu_us INTEGER, node_busy_us INTEGER, memory_peak_b INTEGER,
    PRIMARY KEY (run_id, job_id, restart, node, session)
) WITHOUT ROWID;
CREATE TABLE channels (
    run_id TEXT NOT NULL, job_id TEXT NOT NULL, restart INTEGER NOT NULL, node TEXT NOT NULL,
    channel TEXT NOT NULL,
    component TEXT NOT NULL, domain TEXT NOT NULL, source TEXT NOT NULL, quality TEXT NOT NULL,
    boundary TEXT NOT NULL, scope TEXT NOT NULL, counted INTEGER NOT NULL, attribution TEXT NOT NULL,
    detail TEXT, gpu_uuid TEXT, inputs TEXT, reason TEXT,
    energy_uj INTEGER, node_energy_uj INTEGER, measured_ns INTEGER NOT NULL, errors INTEGER NOT NULL,
    first_boottime_ns INTEGER, last_boottime_ns INTEGER, first_wall_ns INTEGER, last_wall_ns INTEGER,
    PRIMARY KEY (run_id, job_id, restart, node, channel)
) WITHOUT ROWID;
CREATE TABLE energy (
    run_id TEXT NOT NULL, job_id TEXT NOT NULL, restart INTEGER NOT NULL, node TEXT NOT NULL,
    channel TEXT NOT NULL, bucket_start_s INTEGER NOT NULL,
    energy_uj INTEGER, node_energy_uj INTEGER, measured_ns INTEGER NOT NULL,
    PRIMARY KEY (run_id, job_id, restart, node, channel, bucket_start_s)
) WITHOUT ROWID;
CREATE TABLE absent (
    run_id TEXT NOT NULL, job_id TEXT NOT NULL, restart INTEGER NOT NULL, node TEXT NOT NULL,
    component TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (run_id, job_id, restart, node, component, source, reason)
) WITHOUT ROWID;
CREATE TABLE files (
    run_id TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, job_id TEXT, restart INTEGER, node TEXT,
    accepted INTEGER NOT NULL, problems TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) WITHOUT ROWID;
CREATE TABLE file_states (
    run_id TEXT NOT NULL, name TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    PRIMARY KEY (run_id, name)
) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID
"""
