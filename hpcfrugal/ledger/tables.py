"""The tables of the ledger: which records they hold, what tells rows apart, and by what else rows are looked up."""

from __future__ import annotations

from typing import Any

from hpcfrugal.ledger.agent_rows import AgentFileRow, AgentJobRow, AgentSessionRow, NodeChannelRow
from hpcfrugal.ledger.file_rows import (
    AccountingFileRow,
    ClusterFileRow,
    FileRow,
    IntensityFileRow,
    IntensityRow,
    MonthRow,
    SealedRunRow,
    SetAsideRow,
)
from hpcfrugal.ledger.rows import (
    AttemptRow,
    ChannelRow,
    ClockSkewRow,
    ForgottenJobRow,
    MetaRow,
    MissingSensorRow,
    RunRow,
    SessionRow,
    SpoolRow,
)
from hpcfrugal.ledger.table import LedgerTable
from hpcfrugal.ledger.total_rows import JobDayRow, JobEnergyRow, JobTotalsRow
from hpcfrugal.slurm.sacct_jobs import SacctJob

_STATE = ("size", "mtime_ns", "inode")

SPOOLS = LedgerTable("spools", SpoolRow, ["path"], row_key="spool", aside=["path"])
RUNS = LedgerTable(
    "runs",
    RunRow,
    ["run_id"],
    owner="spool",
    row_key="run",
    aside=["open"],
    indexes={"runs_open": "(spool, run_id) WHERE open", "runs_planned": "(run) WHERE plan IS NOT NULL"},
)
JOBS = LedgerTable(
    "jobs",
    AttemptRow,
    ["job_id", "run", "restart"],
    row_key="job",
    aside=["run"],
    more=["FOREIGN KEY (run) REFERENCES runs"],
    indexes={
        "jobs_by_run": "(run)",
        "jobs_by_array": "(array_job_id) WHERE array_job_id IS NOT NULL",
        "jobs_by_het_job": "(het_job_id) WHERE het_job_id IS NOT NULL",
        "jobs_by_time": "(coalesce(started_wall_ns, submitted_wall_ns))",
        "jobs_by_user": "(user, coalesce(started_wall_ns, submitted_wall_ns))",
        "jobs_by_name": "(user, name, state, coalesce(ended_wall_ns, started_wall_ns))",
        "jobs_without_run": "UNIQUE (origin, cluster, job_id, submitted_wall_ns, restart) WHERE run IS NULL",
    },
)
SESSIONS = LedgerTable("sidecar_sessions", SessionRow, ["node", "session"], owner="job")
CHANNELS = LedgerTable("channels", ChannelRow, ["node", "kind"], owner="job")
MISSING_SENSORS = LedgerTable("missing_sensors", MissingSensorRow, ["node", "sensor"], owner="job")
JOB_TOTALS = LedgerTable("job_totals", JobTotalsRow, [], owner="job")
JOB_DAYS = LedgerTable("job_days", JobDayRow, ["day"], owner="job", indexes={"job_days_by_day": "(day)"})
JOB_ENERGY = LedgerTable("job_energy", JobEnergyRow, ["day", "node", "component"], owner="job")
CLOCK_SKEWS = LedgerTable("clock_skews", ClockSkewRow, ["node"], owner="job")
FILES = LedgerTable("files", FileRow, ["name"], owner="run", aside=[*_STATE, "content"])
FORGOTTEN_JOBS = LedgerTable(
    "forgotten_jobs",
    ForgottenJobRow,
    ["job_id", "restart"],
    owner="run",
    indexes={"forgotten_jobs_by_job": "(coalesce(array_job_id, job_id))"},
)
SEALED_RUNS = LedgerTable("sealed_runs", SealedRunRow, [], owner="run", aside=["mtime_ns", "files"])
MONTHS = LedgerTable("months", MonthRow, ["month"], owner="spool", aside=["month", "mtime_ns", "runs"])
INTENSITY_FILES = LedgerTable(
    "intensity_files", IntensityFileRow, ["name"], owner="spool", row_key="file", aside=_STATE
)
INTENSITIES = LedgerTable(
    "intensity",
    IntensityRow,
    ["start_ns"],
    owner="file",
    indexes={"intensity_by_time": "(zone, signal, provider, start_ns)"},
)
ACCOUNTING_FILES = LedgerTable(
    "accounting_files", AccountingFileRow, ["name"], owner="spool", row_key="accounting", aside=_STATE
)
ACCOUNTED_JOBS = LedgerTable(
    "accounted_jobs",
    SacctJob,
    ["job_id", "cluster", "submit_s", "start_s"],
    owner="accounting",
    wide=True,
    indexes={
        "accounted_jobs_by_job": "(coalesce(array_job_id, job_id), cluster)",
        "accounted_jobs_by_task": "(job_id) WHERE array_job_id IS NOT NULL",
        "accounted_jobs_by_sluid": "(sluid) WHERE sluid IS NOT NULL",
        "accounted_jobs_with_sluid": "(job_id, sluid) WHERE sluid IS NOT NULL",
    },
)
CLUSTER_FILES = LedgerTable("cluster_files", ClusterFileRow, ["name"], owner="spool", aside=_STATE)
SET_ASIDE = LedgerTable("set_aside", SetAsideRow, ["number"], owner="accounting")
AGENT_FILES = LedgerTable(
    "agent_files",
    AgentFileRow,
    ["name"],
    owner="spool",
    row_key="agent_file",
    aside=[*_STATE, "place"],
    indexes={"agent_files_by_node": "(node, name)"},
)
AGENT_SESSIONS = LedgerTable("agent_sessions", AgentSessionRow, ["session"], owner="agent_file")
NODE_CHANNELS = LedgerTable("node_channels", NodeChannelRow, ["session", "number"], owner="agent_file", wide=True)
AGENT_JOBS = LedgerTable(
    "agent_jobs",
    AgentJobRow,
    ["session", "name", "first_ns"],
    owner="agent_file",
    wide=True,
    aside=["job"],
    indexes={
        "agent_jobs_by_id": "(job_id) WHERE job_id IS NOT NULL",
        "agent_jobs_by_sluid": "(sluid) WHERE job_id IS NULL",
        "agent_jobs_by_job": "(job) WHERE job IS NOT NULL",
    },
)
META = LedgerTable("meta", MetaRow, ["key"])

TABLES_OF_AGENTS: tuple[LedgerTable[Any], ...] = (AGENT_SESSIONS, NODE_CHANNELS, AGENT_JOBS)
"""What a file of an agent determines."""

NODE_TABLES: tuple[LedgerTable[Any], ...] = (SESSIONS, CHANNELS, MISSING_SENSORS)
"""What the sample files and meter files of a node determine."""

TOTALS_TABLES: tuple[LedgerTable[Any], ...] = (JOB_TOTALS, JOB_DAYS, JOB_ENERGY)
"""What is computed of a job from its other rows, the intensities and the settings."""

TABLES_OF_JOBS: tuple[LedgerTable[Any], ...] = (*NODE_TABLES, CLOCK_SKEWS, *TOTALS_TABLES)

_TABLES_OF_FILES: tuple[LedgerTable[Any], ...] = (
    FILES,
    FORGOTTEN_JOBS,
    SEALED_RUNS,
    MONTHS,
    INTENSITY_FILES,
    INTENSITIES,
    ACCOUNTING_FILES,
    ACCOUNTED_JOBS,
    SET_ASIDE,
    AGENT_FILES,
    AGENT_SESSIONS,
    NODE_CHANNELS,
    AGENT_JOBS,
    CLUSTER_FILES,
)

LEDGER_TABLES: tuple[LedgerTable[Any], ...] = (SPOOLS, RUNS, JOBS, *TABLES_OF_JOBS, *_TABLES_OF_FILES, META)
