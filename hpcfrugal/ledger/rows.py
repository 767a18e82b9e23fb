"""The records of the ledger, one class for each table. A new column is a new field here, and what computes it.

Times are integer nanoseconds since the epoch (UTC), energies integer microjoules; None is unknown, never zero. What
many rows share is ``Interned``: the row has the integer key of an entry of a dictionary. Fields that are interned
together make one entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, field, replace
from typing import Annotated, Any, Literal

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import EMBEDDED, NOT_STORED
from hpcfrugal.ledger.interned import CODE, KIND, NOTE, SETUP, TEXT, UNUSED, MaybeText, Node, Text
from hpcfrugal.ledger.packed import BUCKET_S, KnownBucket, PackedBuckets, unpack
from hpcfrugal.ledger.total_rows import NO_TOTALS, JobEnergyRow, JobTotalsRow
from hpcfrugal.spool.documents import CodeState
from hpcfrugal.spool.job_names import short_job_id
from hpcfrugal.spool.use import Use

LEDGER_SCHEMA = 34
"""``PRAGMA user_version``: changes with any field of these records."""

Origin = Literal["spool", "sacct", "import"]
"""Where a job's row is from: a run directory, Slurm's accounting, or another program's records."""


@dataclass(frozen=True, slots=True)
class SpoolRow:
    """A spool that the ledger was filled from. ``user``: the one whose spool it is, where it is one of a site's users,
    of which only runs count that Slurm has as that user's jobs."""

    path: str
    user: MaybeText = None


@dataclass(frozen=True)
class RunRow:
    """A run directory, and the submission that its ``run.json`` describes.

    ``accepted``: it counts, since its ``run.json`` is sound; of one that does not, nothing more is known. ``open``: it
    is not sealed (see ``sealing``). ``zone`` is
    the grid zone in which its energy counts and ``pue`` the data centre's power usage effectiveness, both as known at
    the submission. ``sampled`` is whether its energy was to be sampled. ``plan`` is JSON for ``plans.plan_of``.
    """

    run_id: str
    accepted: bool
    open: bool
    uid: int
    created_wall_ns: int | None
    version: MaybeText
    backend: MaybeText
    host: MaybeText
    project: MaybeText
    phase: MaybeText
    zone: MaybeText
    pue: float | None
    sampled: bool | None
    plan: str | None
    code: Annotated[CodeState, EMBEDDED, CODE]

    @classmethod
    def refused(cls, run_id: str, uid: int) -> RunRow:
        """The row of a run that does not count."""
        unknown: dict[str, Any] = dict.fromkeys(cls.__dataclass_fields__)
        known = {"run_id": run_id, "accepted": False, "open": True, "uid": uid, "code": CodeState()}
        return cls(**unknown | known)


@dataclass(frozen=True)
class AttemptRow:
    """An attempt of a job: what was submitted, what Slurm and the batch script reported, what was sampled.

    ``run`` is the key of its run, where it has one. ``het_job_id`` is the first component of a heterogeneous job.
    ``final``: it is over. ``elapsed_source`` is ``slurm``, ``end`` (the batch script) or ``samples``. ``sidecar_log``
    is the last line of what the sidecar, or whatever was to start it, wrote to its log. ``tags`` are those of its run,
    and of a task of a matrix its parameters. ``own`` has what the files of its run have in the columns that Slurm's
    accounting filled or replaced.
    """

    origin: Annotated[Origin, TEXT]
    run: int | None
    cluster: Text
    job_id: str
    restart: int
    user: MaybeText = None
    name: MaybeText = None
    array_job_id: str | None = None
    array_task_id: str | None = None
    het_job_id: str | None = None
    partition: MaybeText = None
    account: MaybeText = None
    qos: MaybeText = None
    state: MaybeText = None
    final: bool = False
    exit_code: int | None = None
    signal: int | None = None
    submitted_wall_ns: int | None = None
    eligible_wall_ns: int | None = None
    started_wall_ns: int | None = None
    ended_wall_ns: int | None = None
    elapsed_ns: int | None = None
    elapsed_source: MaybeText = None
    nodes: Annotated[tuple[str, ...], TEXT] = ()
    alloc_cpus: int | None = None
    alloc_gpus: int | None = None
    sidecar_log: str | None = None
    tags: Annotated[dict[str, str], TEXT] = field(default_factory=dict)
    own: Annotated[dict[str, Any], TEXT] = field(default_factory=dict)

    @property
    def known_elapsed_ns(self) -> int | None:
        """The time that coverage is a share of; None where it is not known yet that the job ended.

        Such a job's ``elapsed_ns`` goes to its last record, of which the records cover all even when the sidecar
        died long ago.
        """
        return None if self.elapsed_source == "samples" and not self.final else self.elapsed_ns

    @property
    def is_accounted_alone(self) -> bool:
        """Whether nothing but Slurm's accounting knows of it."""
        return self.origin == "sacct"

    @property
    def label(self) -> str:
        """How users write it: 17, or 15_3 for a task of an array; of a run of this machine the end of its id."""
        if self.array_job_id is not None and self.array_task_id is not None:
            return f"{short_job_id(self.array_job_id)}_{self.array_task_id}"
        return short_job_id(self.job_id)


@dataclass(frozen=True, slots=True)
class ForgottenJobRow:
    """An attempt of a job of a forgotten run: what Slurm's accounting has of it is no job of its own."""

    cluster: Text
    job_id: str
    restart: int
    array_job_id: str | None = None
    array_task_id: str | None = None
    submitted_wall_ns: int | None = None

    def attempt(self, run: int) -> AttemptRow:
        """The attempt, as far as it is known, of the run with this key."""
        return AttemptRow("spool", run, **asdict(self))


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session of the sidecar on one node, with what the job used beside energy.

    ``session`` counts the header lines of the node's file from 0. It ``lasted_ns`` up to its last record, by the time
    since boot; the wall clock was set by ``clock_set_ns`` meanwhile. ``slowed`` is how many times further apart samples
    were at most than was asked for.
    """

    node: Node
    session: int
    cluster: Annotated[str | None, SETUP]
    array_job_id: str | None
    array_task_id: str | None
    boot_id: MaybeText
    sidecar_version: Annotated[str | None, SETUP]
    interval_s: Annotated[float | None, SETUP]
    record_s: Annotated[float | None, SETUP]
    started_wall_ns: int
    started_boottime_ns: int
    lasted_ns: int
    clock_set_ns: int
    records: int
    end_reason: MaybeText
    cpus_alloc: Annotated[int | None, SETUP]
    cpus_node: Annotated[int | None, SETUP]
    slurm_cpus: Annotated[int | None, SETUP]
    cpu_model: Annotated[str | None, SETUP]
    memory_node_b: Annotated[int | None, SETUP]
    memory_alloc_b: Annotated[int | None, SETUP]
    exclusive: Annotated[bool | None, SETUP]
    cpu_time_source: Annotated[str | None, SETUP]
    gpus: Annotated[int, SETUP]
    job_cpu_us: int | None
    node_busy_us: int | None
    memory_peak_b: int | None
    slowed: float | None
    use: Annotated[Use, EMBEDDED]
    use_sources: Annotated[dict[str, str], SETUP]
    use_reasons: Annotated[dict[str, str], SETUP]

    @property
    def ended_wall_ns(self) -> int:
        """When it ended by the clocks of the header and the time since boot."""
        return self.started_wall_ns + self.lasted_ns

    @property
    def ended_boottime_ns(self) -> int:
        return self.started_boottime_ns + self.lasted_ns

    @property
    def ended_clock_ns(self) -> int:
        """When it ended by the wall clock at the last record."""
        return self.ended_wall_ns + self.clock_set_ns


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel of one node, summed over the sessions of its file.

    ``idle_power`` says which figure is in the share, ``idle_uj`` is the job's part of the idle energy; None where none
    is included. ``sensor_gap_ns`` is how long it gave nothing, though it gave energy before or after; None where that
    was a few samples at most. ``low_uj`` and ``high_uj``: the range in which a modelled energy is expected with 90 %.
    ``max_mw`` is the highest power in milliwatts. ``packed`` has when it was read, and the energy by time. The first
    and the last reading by the time since boot follow from the sidecar's sessions, see ``with_boottimes``.
    """

    node: Node
    channel: Annotated[str, KIND]
    component: Annotated[str, KIND]
    domain: Annotated[str, KIND]
    source: Annotated[str, KIND]
    quality: Annotated[str, KIND]
    boundary: Annotated[str, KIND]
    scope: Annotated[str, KIND]
    counted: Annotated[bool, KIND]
    attribution: Annotated[Attribution, KIND]
    detail: Annotated[str | None, KIND]
    gpu_uuid: Annotated[str | None, KIND]
    inputs: Annotated[str | None, NOTE]
    idle_power: Annotated[str | None, NOTE]
    idle_uj: int | None
    reason: Annotated[str | None, NOTE]
    energy_uj: int | None
    low_uj: int | None
    high_uj: int | None
    node_energy_uj: int | None
    errors: Annotated[int, NOTE]
    max_mw: int | None
    resets: Annotated[int | None, NOTE]
    gaps: Annotated[int | None, NOTE]
    sensor_gap_ns: int | None
    packed: Annotated[PackedBuckets, EMBEDDED]
    first_boottime_ns: Annotated[int | None, NOT_STORED] = None
    last_boottime_ns: Annotated[int | None, NOT_STORED] = None

    def with_boottimes(self, sessions: Sequence[SessionRow]) -> ChannelRow:
        """The channel with the times since boot of its readings; None where no sidecar ran on the node. ``sessions``
        are those of the job, in order."""
        own = [session for session in sessions if session.node == self.node]
        return replace(
            self,
            first_boottime_ns=_boottime(own, self.first_wall_ns),
            last_boottime_ns=_boottime(own[::-1], self.last_wall_ns),
        )

    @property
    def first_wall_ns(self) -> int | None:
        """The first reading by the wall clock."""
        return self.packed.first_wall_ns

    @property
    def last_wall_ns(self) -> int | None:
        """The last reading by the wall clock."""
        return self.packed.last_wall_ns

    @property
    def measured_ns(self) -> int:
        """The time with readings."""
        return self.packed.measured_ns

    @property
    def max_w(self) -> float | None:
        """The highest power in watts."""
        return None if self.max_mw is None else self.max_mw / 1000

    @property
    def buckets(self) -> list[KnownBucket]:
        """The job's energy by time."""
        return self.buckets_of(BUCKET_S)

    def buckets_of(self, width_s: int) -> list[KnownBucket]:
        """The same in parts of ``width_s``, see ``unpack``."""
        return unpack(self.packed, self.energy_uj, width_s)

    @property
    def range_uj(self) -> tuple[int, int] | None:
        return None if self.low_uj is None or self.high_uj is None else (self.low_uj, self.high_uj)


def _boottime(sessions: Sequence[SessionRow], wall_ns: int | None) -> int | None:
    """The time since boot of a reading, by the first of the sessions in which it may have been made, else any."""
    if wall_ns is None or not sessions:
        return None
    within = (one for one in sessions if one.started_wall_ns <= wall_ns <= one.ended_wall_ns)
    session = next(within, sessions[0])
    return wall_ns - session.started_wall_ns + session.started_boottime_ns


@dataclass(frozen=True, slots=True)
class MissingSensorRow:
    """A source that was not used on a node, and why."""

    node: Node
    component: Annotated[str, UNUSED]
    source: Annotated[str, UNUSED]
    reason: Annotated[str, UNUSED]


NO_RUN = RunRow(*("", True, False, -1, None, None, None, None, None, None, None, None, None, None), code=CodeState())
"""In place of the run of a job that has none."""


@dataclass(frozen=True, slots=True)
class ClockSkewRow:
    """By how much the clock of a node of a job was ahead of Slurm's, or behind where it is negative."""

    node: Node
    skew_ns: int


@dataclass(frozen=True, slots=True)
class MetaRow:
    """The version of what is derived from a file."""

    key: str
    value: str


@dataclass(frozen=True, kw_only=True)
class JobRow(AttemptRow, RunRow):
    """An attempt of a job with its run and all that hangs on it. ``job`` is its key in the ledger."""

    job: int
    channels: tuple[ChannelRow, ...] = field(default=())
    sessions: tuple[SessionRow, ...] = field(default=())
    missing_sensors: tuple[MissingSensorRow, ...] = field(default=())
    totals: JobTotalsRow = NO_TOTALS
    energy: tuple[JobEnergyRow, ...] = field(default=())
