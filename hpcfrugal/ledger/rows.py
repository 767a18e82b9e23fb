"""The records of the ledger, one class for each table. A new column is a new field here, and what computes it.

Times are integer nanoseconds since the epoch (UTC), energies integer microjoules; None is unknown, never zero. Rows of
nodes belong to an ``AttemptKey``. An attempt's own key is (cluster, job id, restart), with the run id behind it because
Slurm counts from 1 again where a cluster lost its state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.core.record import EMBEDDED
from hpcfrugal.ledger.table import AttemptKey, LedgerTable
from hpcfrugal.spool.intensity import IntensitySource, KnownIntensity
from hpcfrugal.spool.use import Use

LEDGER_SCHEMA = 8
"""``PRAGMA user_version``: changes with any field of these records."""


@dataclass(frozen=True)
class RunRow:
    """A submission, as its ``run.json`` describes it.

    ``zone`` is the grid zone in which its energy counts and ``pue`` the data centre's power usage effectiveness, both
    as known at the submission. ``sampled`` is whether its energy was to be sampled. ``plan`` is JSON for
    ``plans.plan_of``.
    """

    run_id: str
    user: str | None
    uid: int
    created_wall_ns: int | None
    version: str | None
    backend: str | None
    host: str | None
    name: str | None
    project: str | None
    phase: str | None
    tags: dict[str, str]
    zone: str | None
    pue: float | None
    sampled: bool | None
    plan: str | None


@dataclass(frozen=True)
class AttemptRow:
    """An attempt of a job: what was submitted, what Slurm and the batch script reported, what was sampled.

    ``final``: it is over. ``elapsed_source`` is ``slurm``, ``end`` (the batch script) or ``samples``.
    """

    cluster: str
    job_id: str
    restart: int
    run_id: str
    array_job_id: str | None
    array_task_id: str | None
    partition: str | None
    account: str | None
    qos: str | None
    state: str | None
    final: bool
    exit_code: int | None
    signal: int | None
    submitted_wall_ns: int | None
    started_wall_ns: int | None
    ended_wall_ns: int | None
    elapsed_ns: int | None
    elapsed_source: str | None
    nodes: tuple[str, ...]
    alloc_cpus: int | None

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(self.run_id, self.job_id, self.restart)

    @property
    def known_elapsed_ns(self) -> int | None:
        """The time that coverage is a share of; None where it is not known yet that the job ended.

        Such a job's ``elapsed_ns`` goes to its last record, of which the records cover all even when the sidecar
        died long ago.
        """
        return None if self.elapsed_source == "samples" and not self.final else self.elapsed_ns

    @property
    def label(self) -> str:
        """How Slurm's users write it: 17, or 15_3 for a task of an array."""
        if self.array_job_id is not None and self.array_task_id is not None:
            return f"{self.array_job_id}_{self.array_task_id}"
        return self.job_id


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session of the sidecar on one node, with what the job used beside energy.

    ``session`` counts the header lines of the node's file from 0. ``ended_wall_ns`` is by the clocks of the header and
    the time since boot, ``ended_clock_ns`` by the wall clock at the last record. ``slowed`` is how many times further
    apart samples were at most than was asked for.
    """

    node: str
    session: int
    cluster: str | None
    array_job_id: str | None
    array_task_id: str | None
    boot_id: str | None
    sidecar_version: str | None
    interval_s: float | None
    record_s: float | None
    started_wall_ns: int
    started_boottime_ns: int
    ended_wall_ns: int
    ended_boottime_ns: int
    ended_clock_ns: int
    records: int
    end_reason: str | None
    cpus_alloc: int | None
    cpus_node: int | None
    slurm_cpus: int | None
    cpu_model: str | None
    memory_node_b: int | None
    memory_alloc_b: int | None
    exclusive: bool | None
    cpu_time_source: str | None
    gpus: int
    job_cpu_us: int | None
    node_busy_us: int | None
    memory_peak_b: int | None
    slowed: float | None
    use: Annotated[Use, EMBEDDED]
    use_sources: dict[str, str]
    use_reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel of one node, summed over the sessions of its file.

    ``idle_power`` says which figure is in the share, ``idle_uj`` is the job's part of the idle energy; None where none
    is included. ``sensor_gap_ns`` is how long it gave nothing, though it gave energy before or after; None where that
    was a few samples at most. ``low_uj`` and ``high_uj``: the range in which a modelled energy is expected with 90 %.
    """

    node: str
    channel: str
    component: str
    domain: str
    source: str
    quality: str
    boundary: str
    scope: str
    counted: bool
    attribution: Attribution
    detail: str | None
    gpu_uuid: str | None
    inputs: str | None
    idle_power: str | None
    idle_uj: int | None
    reason: str | None
    energy_uj: int | None
    low_uj: int | None
    high_uj: int | None
    node_energy_uj: int | None
    measured_ns: int
    errors: int
    first_boottime_ns: int | None
    last_boottime_ns: int | None
    first_wall_ns: int | None
    last_wall_ns: int | None
    max_w: float | None
    resets: int | None
    gaps: int | None
    sensor_gap_ns: int | None

    @property
    def range_uj(self) -> tuple[int, int] | None:
        return None if self.low_uj is None or self.high_uj is None else (self.low_uj, self.high_uj)


@dataclass(frozen=True, slots=True)
class BucketRow:
    """300 s of a channel: energy of the job, energy as read of the node, and the time with readings behind it."""

    node: str
    channel: str
    bucket_start_s: int
    energy_uj: int | None
    node_energy_uj: int | None
    measured_ns: int


@dataclass(frozen=True, slots=True)
class MissingSensorRow:
    """A source that was not used on a node, and why."""

    node: str
    component: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of the spool, whether it counts, its problems, and of a document its content as JSON.

    Files of intensities have the run id ``intensity``.
    """

    run_id: str
    name: str
    kind: str
    job_id: str | None = None
    restart: int | None = None
    node: str | None = None
    accepted: bool = False
    problems: tuple[str, ...] = ()
    content: str | None = None


@dataclass(frozen=True, slots=True)
class FileStateRow:
    """Size, modification time and inode of a file when it was read."""

    run_id: str
    name: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class IntensityRow:
    """What the grid's carbon intensity was in an interval, and the file that it is from."""

    source: Annotated[IntensitySource, EMBEDDED]
    known: Annotated[KnownIntensity, EMBEDDED]
    file: str


@dataclass(frozen=True, slots=True)
class MetaRow:
    """The version of what is derived from a file."""

    key: str
    value: str


RUNS = LedgerTable("runs", RunRow, ["run_id"])
JOBS = LedgerTable(
    "jobs",
    AttemptRow,
    ["cluster", "job_id", "restart", "run_id"],
    more=["UNIQUE (run_id, job_id, restart)", "FOREIGN KEY (run_id) REFERENCES runs"],
    indexes=["started_wall_ns"],
)
SESSIONS = LedgerTable("sidecar_sessions", SessionRow, ["node", "session"], of_attempt=True)
CHANNELS = LedgerTable("channels", ChannelRow, ["node", "channel"], of_attempt=True)
ENERGY_BUCKETS = LedgerTable("energy", BucketRow, ["node", "channel", "bucket_start_s"], of_attempt=True)
MISSING_SENSORS = LedgerTable(
    "missing_sensors", MissingSensorRow, ["node", "component", "source", "reason"], of_attempt=True
)
FILES = LedgerTable("files", FileRow, ["run_id", "name"])
FILE_STATES = LedgerTable("file_states", FileStateRow, ["run_id", "name"])
INTENSITIES = LedgerTable("intensity", IntensityRow, ["zone", "signal", "provider", "start_ns"], indexes=["file"])
META = LedgerTable("meta", MetaRow, ["key"])

NODE_TABLES: tuple[LedgerTable[Any], ...] = (SESSIONS, CHANNELS, ENERGY_BUCKETS, MISSING_SENSORS)
"""What the sample files and meter files of a node determine."""

TABLES_OF_RUNS: tuple[LedgerTable[Any], ...] = (RUNS, JOBS, *NODE_TABLES, FILES, FILE_STATES)

LEDGER_TABLES: tuple[LedgerTable[Any], ...] = (*TABLES_OF_RUNS, INTENSITIES, META)

CONTENT_TABLES = tuple(table for table in LEDGER_TABLES if table is not FILE_STATES)
"""What the spool determines. ``file_states`` is not among them: it changes when the spool is copied."""


@dataclass(frozen=True)
class JobRow(AttemptRow, RunRow):
    """An attempt of a job with its run and all that hangs on it.

    ``sidecar_log`` is the last line of what the sidecar, or whatever was to start it, wrote to its log.
    """

    channels: tuple[ChannelRow, ...] = field(default=())
    sessions: tuple[SessionRow, ...] = field(default=())
    missing_sensors: tuple[MissingSensorRow, ...] = field(default=())
    sidecar_log: str | None = None
