"""A session of the sidecar as a row: what it found when it started, how it ended, what the job used meanwhile."""

from __future__ import annotations

import json
from typing import Any

from hpcfrugal.ledger.readings import wall_of
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.samples import SidecarSession
from hpcfrugal.spool.use import NO_USE, USE_FIELDS


def session_row(session: SidecarSession, facts: NodeFacts | None) -> dict[str, Any]:
    """The columns of ``session``, its key left out."""
    header, last = session.header, session.records[-1] if session.records else None
    ended_boottime_ns = last.boottime_ns if last else header.boottime_ns
    return {
        "cluster": header.cluster,
        "array_job_id": header.array_job_id,
        "array_task_id": header.array_task_id,
        "boot_id": header.boot_id,
        "sidecar_version": header.sidecar_version,
        "interval_s": header.interval_s,
        "record_s": header.record_s,
        "started_wall_ns": header.wall_ns,
        "started_boottime_ns": header.boottime_ns,
        "ended_wall_ns": wall_of(session, ended_boottime_ns),
        "ended_boottime_ns": ended_boottime_ns,
        "ended_clock_ns": last.wall_ns if last else header.wall_ns,
        "records": len(session.records),
        "end_reason": session.end_reason,
        "cpus_alloc": header.cpus_alloc,
        "cpus_node": header.cpus_node,
        "slurm_cpus": facts.slurm_cpus if facts else None,
        "cpu_model": header.cpu_model,
        "memory_node_b": header.memory_node_b,
        "memory_alloc_b": header.memory_alloc_b,
        "exclusive": header.exclusive,
        "cpu_time_source": header.cpu_time_source,
        "gpus": len(header.gpus),
        "job_cpu_us": _last(session, "job_cpu_us"),
        "node_busy_us": _last(session, "node_busy_us"),
        "memory_peak_b": _last(session, "memory_peak_b"),
        "slowed": max((record.slowed for record in session.records if record.slowed is not None), default=None),
        **_use(session),
    }


def _last(session: SidecarSession, name: str) -> Any:
    """The newest known value of a field of the records."""
    values = (getattr(record, name) for record in reversed(session.records))
    return next((value for value in values if value is not None), None)


def _use(session: SidecarSession) -> dict[str, Any]:
    """The newest known value of each figure of use, and the sources as JSON; NULL where the file is silent."""
    found: dict[str, Any] = {}
    told = [record.use for record in reversed(session.records) if record.use is not NO_USE]
    for name in USE_FIELDS:
        values = (getattr(use, name) for use in told)
        found[name] = next((value for value in values if value is not None), None)
    for name, texts in (("use_sources", session.header.usage.sources), ("use_reasons", session.header.usage.reasons)):
        found[name] = json.dumps(texts, sort_keys=True) if texts else None
    return found
