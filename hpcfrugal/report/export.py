"""The report as JSON and CSV: joules as decimals, times in ISO 8601 UTC, unknown as null or an empty field."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from hpcfrugal.core.text import plain
from hpcfrugal.ledger.rows import ChannelRow, JobRow, SessionRow
from hpcfrugal.report.co2e import CO2E_COLUMNS, Co2e, gram_cells, grams_json
from hpcfrugal.report.summary import COMPONENTS, Amount, Group, JobSummary, channel_coverage
from hpcfrugal.report.text import iso
from hpcfrugal.report.usage import usage_json, usage_of

SCHEMA_VERSION = 1

_CELL_CHARACTERS = 1000

_NO_IDLE, _WITH_IDLE = "not included", "included"
"""Whether the idle power of a shared node is in the shares of its energy; None where nothing is a share."""


def joules(energy_uj: int | None) -> float | None:
    """Microjoules as joules; the shortest decimal of the result is exact up to a gigajoule."""
    return None if energy_uj is None else energy_uj / 1_000_000


def seconds(span_ns: int | None) -> float | None:
    """Nanoseconds as seconds."""
    return None if span_ns is None else span_ns / 1_000_000_000


def _amount(amount: Amount) -> dict[str, Any]:
    return {
        "energy_j": joules(amount.energy_uj),
        "measured_j": joules(amount.measured_uj),
        "modelled_j": joules(amount.modelled_uj),
        "coverage": amount.coverage,
        "complete": amount.complete,
    }


def _energies(total: Amount, components: dict[str, Amount]) -> dict[str, float | None]:
    parts = {name: joules(components[name].energy_uj) if name in components else None for name in COMPONENTS}
    return {"total": joules(total.energy_uj), **parts}


def job_json(summary: JobSummary) -> dict[str, Any]:
    """One job with all its channels."""
    job, total = summary.job, summary.total
    return {
        "cluster": job.cluster,
        "job_id": job.job_id,
        "restart": job.restart,
        "array_job_id": job.array_job_id,
        "array_task_id": job.array_task_id,
        "run_id": job.run_id,
        "name": job.name,
        "user": job.user,
        "project": job.project,
        "phase": job.phase,
        "tags": job.tags,
        "partition": job.partition,
        "account": job.account,
        "qos": job.qos,
        "state": job.state,
        "final": job.final,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "submitted_at": iso(job.submitted_wall_ns),
        "started_at": iso(job.started_wall_ns),
        "ended_at": iso(job.ended_wall_ns),
        "elapsed_s": seconds(job.elapsed_ns),
        "elapsed_source": job.elapsed_source,
        "nodes": list(job.nodes),
        "energy_j": _energies(total, summary.components),
        "boundary": "components",
        "measured_j": joules(total.measured_uj),
        "modelled_j": joules(total.modelled_uj),
        "coverage": total.coverage,
        "complete": total.complete,
        "unknown": total.unknown,
        "idle_power": _job_idle(summary),
        **grams_json(Co2e.of(summary.footprint)),
        "components": {name: _amount(amount) for name, amount in summary.components.items()},
        "channels": [_channel(channel, job) for channel in job.channels],
        "usage": usage_json(usage_of(job)),
        "sidecar_sessions": [_session(session) for session in job.sessions],
        "missing_sensors": [
            {"node": item.node, "component": item.component, "source": item.source, "reason": item.reason}
            for item in job.missing_sensors
        ],
        "sampled": job.sampled,
        "sidecar_log": job.sidecar_log,
    }


def _job_idle(summary: JobSummary) -> str | None:
    if summary.lacks_idle:
        return _NO_IDLE
    known = "; ".join(f"{component} {text}" for component, text in summary.idle_powers.items())
    return f"known: {known}" if known else None


def _group_idle(group: Group) -> str | None:
    """Included only where it is in every share."""
    if group.lacking_idle:
        return _NO_IDLE
    return _WITH_IDLE if group.with_idle else None


def _channel(channel: ChannelRow, job: JobRow) -> dict[str, Any]:
    return {
        "node": channel.node,
        "component": channel.component,
        "domain": channel.domain,
        "source": channel.source,
        "quality": channel.quality,
        "boundary": channel.boundary,
        "attribution": channel.attribution,
        "counted": channel.counted,
        "energy_j": joules(channel.energy_uj),
        "node_energy_j": joules(channel.node_energy_uj),
        "coverage": channel_coverage(channel, job.known_elapsed_ns),
        "measured_s": seconds(channel.measured_ns),
        "max_w": channel.max_w,
        "errors": channel.errors,
        "resets": channel.resets,
        "gaps": channel.gaps,
        "first_boottime_ns": channel.first_boottime_ns,
        "last_boottime_ns": channel.last_boottime_ns,
        "first_wall_ns": channel.first_wall_ns,
        "last_wall_ns": channel.last_wall_ns,
        "gpu_uuid": channel.gpu_uuid,
        "detail": channel.detail,
        "inputs": channel.inputs,
        "idle_power": channel.idle_power,
        "idle_j": joules(channel.idle_uj),
        "reason": channel.reason,
    }


def _session(session: SessionRow) -> dict[str, Any]:
    return {
        "node": session.node,
        "session": session.session,
        "boot_id": session.boot_id,
        "started_at": iso(session.started_wall_ns),
        "last_record_at": iso(session.ended_wall_ns),
        "records": session.records,
        "end_reason": session.end_reason,
        "interval_s": session.interval_s,
        "slowed": session.slowed,
        "exclusive": session.exclusive,
        "cpus_alloc": session.cpus_alloc,
        "cpus_node": session.cpus_node,
        "slurm_cpus": session.slurm_cpus,
        "cpu_model": session.cpu_model,
        "job_cpu_s": None if session.job_cpu_us is None else session.job_cpu_us / 1e6,
        "node_busy_s": None if session.node_busy_us is None else session.node_busy_us / 1e6,
        "memory_peak_b": session.memory_peak_b,
    }


def group_json(group: Group) -> dict[str, Any]:
    """One group, or the totals."""
    total, overlapping = group.total, group.overlapping
    return {
        "key": group.key,
        "jobs": group.jobs,
        "jobs_not_started": group.not_started,
        "jobs_without_energy": group.without_energy,
        "jobs_incomplete": group.incomplete,
        "elapsed_s": seconds(group.elapsed_ns),
        "energy_j": _energies(total, group.components),
        "measured_j": joules(total.measured_uj),
        "modelled_j": joules(total.modelled_uj),
        "coverage": total.coverage,
        "complete": group.complete,
        "idle_power": _group_idle(group),
        **grams_json(group.grams),
        "overlapping_node_time": bool(overlapping),
        "overlapping_jobs": overlapping,
        "components": {name: _amount(amount) for name, amount in group.components.items()},
    }


def report_json(
    summaries: Sequence[JobSummary], totals: Group, by: str, groups: Sequence[Group], period: dict[str, str | None]
) -> dict[str, Any]:
    """The whole report."""
    return {
        "schema": SCHEMA_VERSION,
        "period": period,
        "by": by,
        "totals": {name: value for name, value in group_json(totals).items() if name != "key"},
        "groups": [group_json(group) for group in groups],
        "jobs": [job_json(summary) for summary in summaries],
    }


def _cell(text: str | None) -> str:
    """A text that no spreadsheet runs as a formula and no terminal as a command."""
    text = plain(text, _CELL_CHARACTERS)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


_ENERGY_COLUMNS = (
    "energy_j",
    *(f"{name}_j" for name in COMPONENTS),
    "measured_j",
    "modelled_j",
    "coverage",
    "complete",
    "idle_power",
)


def _energy_cells(total: Amount, components: dict[str, Amount], complete: bool, idle_power: str | None) -> list[Any]:
    energies = _energies(total, components)
    parts = [joules(total.measured_uj), joules(total.modelled_uj)]
    return [*energies.values(), *parts, total.coverage, complete, _cell(idle_power) or None]


def _gram_cells(grams: Co2e) -> list[Any]:
    return [_cell(value) if isinstance(value, str) else value for value in gram_cells(grams)]


def jobs_csv(summaries: Sequence[JobSummary]) -> str:
    """One line a job."""
    columns = (
        "cluster", "job_id", "restart", "array_job_id", "array_task_id", "run_id", "name", "user", "project", "phase",
        "state", "exit_code", "submitted_at", "started_at", "ended_at", "elapsed_s", "nodes", *_ENERGY_COLUMNS,
        *CO2E_COLUMNS,
    )  # fmt: skip
    rows = []
    for summary in summaries:
        job = summary.job
        texts = (job.cluster, job.job_id, str(job.restart), job.array_job_id, job.array_task_id, job.run_id)
        more = (job.name, job.user, job.project, job.phase, job.state)
        times = (iso(job.submitted_wall_ns), iso(job.started_wall_ns), iso(job.ended_wall_ns))
        rows.append(
            [
                *(_cell(text) for text in (*texts, *more)),
                job.exit_code,
                *times,
                seconds(job.elapsed_ns),
                _cell(" ".join(job.nodes)),
                *_energy_cells(summary.total, summary.components, summary.total.complete, _job_idle(summary)),
                *_gram_cells(Co2e.of(summary.footprint)),
            ]
        )
    return _csv(columns, rows)


def groups_csv(groups: Sequence[Group], by: str) -> str:
    """One line a group."""
    rows = [
        [
            _cell(group.key), group.jobs, group.without_energy, seconds(group.elapsed_ns), bool(group.overlapping),
            *_energy_cells(group.total, group.components, group.complete, _group_idle(group)),
            *_gram_cells(group.grams),
        ]
        for group in groups
    ]  # fmt: skip
    return _csv(
        (by, "jobs", "jobs_without_energy", "elapsed_s", "overlapping_node_time", *_ENERGY_COLUMNS, *CO2E_COLUMNS), rows
    )
