"""The figures of a job and of its parts: channels, sidecar sessions, sensors that were not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from hpcfrugal.core.format import MODEL_ALONE, NONE, UNKNOWN, second
from hpcfrugal.core.record import codec
from hpcfrugal.ledger.parts import COMPONENTS, boundary_of
from hpcfrugal.ledger.rows import ChannelRow, JobRow, MissingSensorRow, SessionRow
from hpcfrugal.ledger.sums import EnergySums, total_of
from hpcfrugal.report import notation
from hpcfrugal.report.co2e import Co2e
from hpcfrugal.report.energy import energy_fields
from hpcfrugal.report.field import Field, attributes, field, row, rows, variant
from hpcfrugal.report.other_work import OTHER_WORK_FIELDS, other_work
from hpcfrugal.report.usage import USAGE_FIELDS, usage_of
from hpcfrugal.report.view import note
from hpcfrugal.spool.documents import CodeState


@dataclass(frozen=True)
class ReportedJob:
    """A job with its totals as reports show them."""

    job: JobRow

    @cached_property
    def components(self) -> dict[str, EnergySums]:
        """What each component used; one that the job does not have is left out."""
        parts: dict[str, list[EnergySums]] = {}
        for part in self.job.energy:
            parts.setdefault(part.component, []).append(part.sums)
        return {name: total_of(parts[name]) for name in COMPONENTS if name in parts}

    @property
    def sums(self) -> EnergySums:
        """All components together."""
        return self.job.totals.sums

    @property
    def complete(self) -> bool:
        """Whether no part of the job's energy is unknown."""
        return self.job.totals.complete

    @property
    def unknown(self) -> list[str]:
        """The parts without a known energy, or unread for long, each with its reason."""
        return list(self.job.totals.unknown or ())

    @property
    def idle_power(self) -> str | None:
        """Which idle power is in the shares of nodes."""
        return self.job.totals.idle_power

    @cached_property
    def co2e(self) -> Co2e:
        """The job's CO2e."""
        return Co2e.of(self.job.totals, boundary_of(self.components))

    @property
    def channels(self) -> list[ChannelOfJob]:
        """The channels with the job's time."""
        return [ChannelOfJob(channel, self.job.known_elapsed_ns) for channel in self.job.channels]


class ChannelOfJob(NamedTuple):
    """A channel and the time of its job."""

    channel: ChannelRow
    elapsed_ns: int | None

    @property
    def coverage(self) -> float | None:
        """Measured time over the job's elapsed time, at most 1 (the sidecar may outlive the job by a moment)."""
        if not self.elapsed_ns:
            return None
        return min(self.channel.measured_ns, self.elapsed_ns) / self.elapsed_ns


def _measured_time(one: ChannelOfJob) -> float | None:
    """The coverage of what was measured; a model has its range instead."""
    return None if one.channel.quality == "modelled" else one.coverage


def _day(channel: ChannelRow, wall_ns: int | None) -> str:
    """The date before a time of day, where the first and the last reading are not of the same day."""
    first, last, day = (second(ns).partition(" ")[0] for ns in (channel.first_wall_ns, channel.last_wall_ns, wall_ns))
    return f"{day} " if first and last and first != last else ""


COMPONENT_OF_CHANNEL: Field[Any] = field(
    "component", notation.WORD, lambda one: one.channel.component, csv=True, heading="Component", key=True,
    before=lambda one: "" if one.channel.counted else "(", after=lambda one: "" if one.channel.counted else ")",
)  # fmt: skip
"""Of a record with a channel."""
NOT_ADDED = note("In brackets: not added, since other rows contain this energy.")

CHANNEL_FIELDS: tuple[Field[ChannelOfJob], ...] = (
    field("node", notation.TEXT, lambda one: one.channel.node, heading="Node", key=True),
    COMPONENT_OF_CHANNEL,
    field("domain", notation.TEXT, lambda one: one.channel.domain, heading="Domain", drop=8, key=True),
    field("source", notation.WORD, lambda one: one.channel.source, heading="Source", drop=10),
    field(
        "quality", notation.WORD, lambda one: one.channel.quality, heading="Quality",
        role=lambda one: one.channel.quality
    ),
    field("attribution", notation.WORD, lambda one: one.channel.attribution, heading="Share", drop=4),
    *attributes(notation.PLAIN, "boundary", "counted", of="channel"),
    field("energy_j", notation.ENERGY, lambda one: one.channel.energy_uj, heading="Energy [{energy}]", missing=NONE),
    field("low_j", notation.ENERGY, lambda one: one.channel.low_uj),
    field("high_j", notation.ENERGY, lambda one: one.channel.high_uj),
    field(
        "range", notation.ENERGY_RANGE, lambda one: one.channel.range_uj, json="", heading="90 % range", drop=9,
        optional=True, missing=NONE
    ),
    field(
        "node_energy_j", notation.ENERGY, lambda one: one.channel.node_energy_uj, heading="Node [{energy}]", drop=3,
        optional=True, missing=NONE
    ),
    field(
        "max_w", notation.NUMBER, lambda one: one.channel.max_w, heading="Peak W", drop=6, optional=True, missing=NONE
    ),
    field("coverage", notation.SHARE, lambda one: one.coverage),
    field(
        "time_measured", notation.SHARE, _measured_time, json="", heading="Time covered", drop=7, optional=True,
        missing=lambda one: MODEL_ALONE if one.channel.quality == "modelled" else UNKNOWN,
    ),
    field("errors", notation.COUNT, lambda one: one.channel.errors, heading="Errors", drop=5),
    field("measured_s", notation.SPAN, lambda one: one.channel.measured_ns),
    *attributes(notation.PLAIN, "resets", "gaps", "first_boottime_ns", "last_boottime_ns", of="channel"),
    field(
        "first_wall_ns", notation.CLOCK_NS, lambda one: one.channel.first_wall_ns, heading="From (UTC)", drop=2,
        missing="", before=lambda one: _day(one.channel, one.channel.first_wall_ns)
    ),
    field(
        "last_wall_ns", notation.CLOCK_NS, lambda one: one.channel.last_wall_ns, heading="To", drop=1, missing="",
        before=lambda one: _day(one.channel, one.channel.last_wall_ns)
    ),
    *attributes(notation.PLAIN, "gpu_uuid", "detail", "inputs", "idle_power", of="channel"),
    field("idle_j", notation.ENERGY, lambda one: one.channel.idle_uj),
    *attributes(notation.PLAIN, "reason", of="channel"),
)  # fmt: skip

_SESSION_FIELDS: tuple[Field[SessionRow], ...] = (
    *attributes(notation.PLAIN, "node", "session", "boot_id"),
    field("started_at", notation.TIME, lambda one: one.started_wall_ns),
    field("last_record_at", notation.TIME, lambda one: one.ended_wall_ns),
    *attributes(
        notation.PLAIN, "records", "end_reason", "interval_s", "slowed", "exclusive", "cpus_alloc", "cpus_node",
        "slurm_cpus", "cpu_model",
    ),
    field("job_cpu_s", notation.PLAIN, lambda one: None if one.job_cpu_us is None else one.job_cpu_us / 1e6),
    field("node_busy_s", notation.PLAIN, lambda one: None if one.node_busy_us is None else one.node_busy_us / 1e6),
    *attributes(notation.PLAIN, "memory_peak_b"),
)  # fmt: skip

_MISSING_SENSOR_FIELDS: tuple[Field[MissingSensorRow], ...] = attributes(
    notation.PLAIN, "node", "component", "source", "reason"
)


def _label(record: ReportedJob) -> str:
    return record.job.label + (f" r{record.job.restart}" if record.job.restart else "")


def _state_role(record: ReportedJob) -> str:
    job = record.job
    if job.state in ("COMPLETED", "RUNNING", "PENDING"):
        return job.state.lower()
    return "failed" if job.final else ""


def _missing(record: ReportedJob) -> str:
    return NONE if record.job.totals.not_started else UNKNOWN


_CODE_FIELDS: tuple[Field[ReportedJob], ...] = tuple(
    variant(each, path=("code", each.name))
    for each in attributes(notation.PLAIN, *codec(CodeState).columns, of="job.code", csv=True)
)

_USERS_DROPPED_AT = 10
"""After what can be read from other columns: that of users, in a list of jobs of several."""

_COMPONENT_COLUMNS = ("cpu_j", "dram_j", "gpu_j", "node_j")

JOB_FIELDS: tuple[Field[ReportedJob], ...] = (
    field("job", notation.WORD, _label, json="", heading="Job", drop=12, key=True),
    *attributes(notation.PLAIN, "cluster", "job_id", "restart", "array_job_id", "array_task_id", of="job", csv=True),
    *attributes(notation.PLAIN, "het_job_id", of="job", csv=True),
    field("run_id", notation.PLAIN, lambda one: one.job.run_id or None, csv=True),
    *attributes(notation.PLAIN, "origin", of="job"),
    field("name", notation.TEXT, lambda one: one.job.name, csv=True, heading="Name", missing=""),
    field("user", notation.WORD, lambda one: one.job.user, csv=True, heading="User", drop=1, missing=""),
    *attributes(notation.PLAIN, "project", "phase", of="job", csv=True),
    *attributes(notation.PLAIN, "tags", "partition", "account", "qos", of="job"),
    field("state", notation.WORD, lambda one: one.job.state, csv=True, heading="State", drop=8, role=_state_role),
    *attributes(notation.PLAIN, "final", "signal", of="job"),
    *attributes(notation.PLAIN, "exit_code", of="job", csv=True),
    field("submitted_at", notation.TIME, lambda one: one.job.submitted_wall_ns, csv=True),
    field(
        "started_at", notation.TIME, lambda one: one.job.started_wall_ns, csv=True, heading="Started (UTC)", drop=6,
        missing=""
    ),
    field("ended_at", notation.TIME, lambda one: one.job.ended_wall_ns, csv=True),
    field(
        "elapsed_s", notation.SPAN, lambda one: one.job.elapsed_ns, csv=True, heading="Elapsed", drop=7,
        missing=_missing
    ),
    *attributes(notation.PLAIN, "elapsed_source", of="job"),
    field("nodes", notation.PLAIN, lambda one: list(one.job.nodes), csv=True),
    *(
        variant(each, heading="") if each.name in _COMPONENT_COLUMNS else each
        for each in energy_fields(_missing)
    ),
    field("boundary", notation.PLAIN, lambda one: boundary_of(one.components)),
    field("scope", notation.PLAIN, lambda one: one.job.totals.scope, csv=True),
    field("unknown", notation.PLAIN, lambda one: one.unknown),
    field("channels", rows(CHANNEL_FIELDS), lambda one: one.channels),
    field("usage", row(USAGE_FIELDS), lambda one: usage_of(one.job)),
    field("other_work", rows(OTHER_WORK_FIELDS), lambda one: other_work(one.job)),
    field("sidecar_sessions", rows(_SESSION_FIELDS), lambda one: one.job.sessions),
    field("missing_sensors", rows(_MISSING_SENSOR_FIELDS), lambda one: one.job.missing_sensors),
    *attributes(notation.PLAIN, "sampled", "sidecar_log", of="job"),
    *_CODE_FIELDS,
)  # fmt: skip


def tag_field(key: str) -> Field[ReportedJob]:
    """A tag as a column of CSV."""
    return field(f"tag:{key}", notation.PLAIN, lambda one: one.job.tags.get(key), json="", csv=True)


def listed_fields(jobs: Sequence[ReportedJob]) -> tuple[Field[ReportedJob], ...]:
    """The fields for a table of these jobs: whose each is matters where they are not one user's."""
    several = len({one.job.user for one in jobs}) > 1
    return tuple(
        variant(each, drop=_USERS_DROPPED_AT) if several and each.name == "user" else each for each in JOB_FIELDS
    )
