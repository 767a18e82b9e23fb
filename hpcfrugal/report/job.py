"""The figures of a job and of its parts: channels, sidecar sessions, sensors that were not used."""

from __future__ import annotations

from typing import NamedTuple

from hpcfrugal.core.format import NONE, UNKNOWN
from hpcfrugal.ledger.rows import ChannelRow, MissingSensorRow, SessionRow
from hpcfrugal.report.energy import energy_fields
from hpcfrugal.report.field import (
    CLOCK_NS,
    COUNT,
    ENERGY,
    NUMBER,
    PLAIN,
    SHARE,
    SPAN,
    TEXT,
    TIME,
    WORD,
    Field,
    attributes,
    field,
    row,
    rows,
    variant,
)
from hpcfrugal.report.summary import JobSummary, channel_coverage
from hpcfrugal.report.usage import USAGE_FIELDS, usage_of


class ChannelOfJob(NamedTuple):
    """A channel and the time of its job."""

    channel: ChannelRow
    elapsed_ns: int | None


def channels(summary: JobSummary) -> list[ChannelOfJob]:
    """The channels of a job."""
    return [ChannelOfJob(channel, summary.job.known_elapsed_ns) for channel in summary.job.channels]


CHANNEL_FIELDS: tuple[Field[ChannelOfJob], ...] = (
    field("node", WORD, lambda one: one.channel.node, heading="Node"),
    field("component", WORD, lambda one: one.channel.component, heading="Component"),
    field("domain", TEXT, lambda one: one.channel.domain, heading="Domain"),
    field("source", WORD, lambda one: one.channel.source, heading="Source"),
    field(
        "quality", WORD, lambda one: one.channel.quality, heading="Quality", role=lambda one: one.channel.quality
    ),
    field(
        "attribution", WORD, lambda one: one.channel.attribution, heading="Share", drop=4,
        after=lambda one: "" if one.channel.counted else ", not added",
    ),
    *attributes(PLAIN, "boundary", "counted", of="channel"),
    field("energy_j", ENERGY, lambda one: one.channel.energy_uj, heading="Energy [{energy}]", missing=NONE),
    field(
        "node_energy_j", ENERGY, lambda one: one.channel.node_energy_uj, heading="Node [{energy}]", drop=3, missing=NONE
    ),
    field("max_w", NUMBER, lambda one: one.channel.max_w, heading="Peak W", drop=6, missing=NONE),
    field("coverage", SHARE, lambda one: channel_coverage(one.channel, one.elapsed_ns), heading="Coverage"),
    field("errors", COUNT, lambda one: one.channel.errors, heading="Errors", drop=5),
    field("measured_s", SPAN, lambda one: one.channel.measured_ns),
    *attributes(PLAIN, "resets", "gaps", "first_boottime_ns", "last_boottime_ns", of="channel"),
    field("first_wall_ns", CLOCK_NS, lambda one: one.channel.first_wall_ns, heading="From (UTC)", drop=2, missing=""),
    field("last_wall_ns", CLOCK_NS, lambda one: one.channel.last_wall_ns, heading="To", drop=1, missing=""),
    *attributes(PLAIN, "gpu_uuid", "detail", "inputs", "idle_power", of="channel"),
    field("idle_j", ENERGY, lambda one: one.channel.idle_uj),
    *attributes(PLAIN, "reason", of="channel"),
)  # fmt: skip

_SESSION_FIELDS: tuple[Field[SessionRow], ...] = (
    *attributes(PLAIN, "node", "session", "boot_id"),
    field("started_at", TIME, lambda one: one.started_wall_ns),
    field("last_record_at", TIME, lambda one: one.ended_wall_ns),
    *attributes(
        PLAIN, "records", "end_reason", "interval_s", "slowed", "exclusive", "cpus_alloc", "cpus_node", "slurm_cpus",
        "cpu_model",
    ),
    field("job_cpu_s", PLAIN, lambda one: None if one.job_cpu_us is None else one.job_cpu_us / 1e6),
    field("node_busy_s", PLAIN, lambda one: None if one.node_busy_us is None else one.node_busy_us / 1e6),
    *attributes(PLAIN, "memory_peak_b"),
)  # fmt: skip

_MISSING_SENSOR_FIELDS: tuple[Field[MissingSensorRow], ...] = attributes(PLAIN, "node", "component", "source", "reason")


def _label(summary: JobSummary) -> str:
    return summary.job.label + (f" r{summary.job.restart}" if summary.job.restart else "")


def _state_role(summary: JobSummary) -> str:
    job = summary.job
    if job.state in ("COMPLETED", "RUNNING", "PENDING"):
        return job.state.lower()
    return "failed" if job.final else ""


def _missing(summary: JobSummary) -> str:
    return NONE if summary.not_started else UNKNOWN


_COMPONENT_COLUMNS = ("cpu_j", "dram_j", "gpu_j")

JOB_FIELDS: tuple[Field[JobSummary], ...] = (
    field("job", WORD, _label, json="", heading="Job"),
    *attributes(
        PLAIN, "cluster", "job_id", "restart", "array_job_id", "array_task_id", "run_id", of="job", csv=True
    ),
    field("name", TEXT, lambda one: one.job.name, csv=True, heading="Name", missing=""),
    field("user", WORD, lambda one: one.job.user, csv=True, heading="User", drop=2, missing=""),
    *attributes(PLAIN, "project", "phase", of="job", csv=True),
    *attributes(PLAIN, "tags", "partition", "account", "qos", of="job"),
    field("state", WORD, lambda one: one.job.state, csv=True, heading="State", drop=4, role=_state_role),
    *attributes(PLAIN, "final", "signal", of="job"),
    *attributes(PLAIN, "exit_code", of="job", csv=True),
    field("submitted_at", TIME, lambda one: one.job.submitted_wall_ns, csv=True),
    field(
        "started_at", TIME, lambda one: one.job.started_wall_ns, csv=True, heading="Started (UTC)", drop=1, missing=""
    ),
    field("ended_at", TIME, lambda one: one.job.ended_wall_ns, csv=True),
    field("elapsed_s", SPAN, lambda one: one.job.elapsed_ns, csv=True, heading="Elapsed", drop=3, missing=_missing),
    *attributes(PLAIN, "elapsed_source", of="job"),
    field("nodes", PLAIN, lambda one: list(one.job.nodes), csv=True),
    *(
        variant(each, heading="") if each.name in _COMPONENT_COLUMNS else each
        for each in energy_fields(_missing)
    ),
    field("boundary", PLAIN, lambda one: "components"),
    field("unknown", PLAIN, lambda one: one.total.unknown),
    field("channels", rows(CHANNEL_FIELDS), channels),
    field("usage", row(USAGE_FIELDS), lambda one: usage_of(one.job)),
    field("sidecar_sessions", rows(_SESSION_FIELDS), lambda one: one.job.sessions),
    field("missing_sensors", rows(_MISSING_SENSOR_FIELDS), lambda one: one.job.missing_sensors),
    *attributes(PLAIN, "sampled", "sidecar_log", of="job"),
)  # fmt: skip
