"""A life of the sidecar as a row: what it found when it began, how it ended, what the job used meanwhile."""

from __future__ import annotations

import json
from typing import Any

from hpcfrugal.ledger.readings import wall_of
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.samples import Segment
from hpcfrugal.spool.use import NO_USE, USE_FIELDS


def segment_row(segment: Segment, facts: NodeFacts | None) -> dict[str, Any]:
    """The columns of ``segment``, its key left out."""
    header, last = segment.header, segment.records[-1] if segment.records else None
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
        "ended_wall_ns": wall_of(segment, ended_boottime_ns),
        "ended_boottime_ns": ended_boottime_ns,
        "ended_clock_ns": last.wall_ns if last else header.wall_ns,
        "records": len(segment.records),
        "end_reason": segment.end_reason,
        "cpus_alloc": header.cpus_alloc,
        "cpus_node": header.cpus_node,
        "slurm_cpus": facts.slurm_cpus if facts else None,
        "cpu_model": header.cpu_model,
        "memory_node_b": header.memory_node_b,
        "memory_alloc_b": header.memory_alloc_b,
        "exclusive": header.exclusive,
        "cpu_time_source": header.cpu_time_source,
        "gpus": len(header.gpus),
        "job_cpu_us": _last(segment, "job_cpu_us"),
        "node_busy_us": _last(segment, "node_busy_us"),
        "memory_peak_b": _last(segment, "memory_peak_b"),
        "slowed": max((record.slowed for record in segment.records if record.slowed is not None), default=None),
        **_use(segment),
    }


def _last(segment: Segment, name: str) -> Any:
    """The newest known value of a field of the records."""
    values = (getattr(record, name) for record in reversed(segment.records))
    return next((value for value in values if value is not None), None)


def _use(segment: Segment) -> dict[str, Any]:
    """The newest known value of each figure of use, and the sources as JSON; NULL where the file is silent."""
    found: dict[str, Any] = {}
    told = [record.use for record in reversed(segment.records) if record.use is not NO_USE]
    for name in USE_FIELDS:
        values = (getattr(use, name) for use in told)
        found[name] = next((value for value in values if value is not None), None)
    for name, texts in (("use_sources", segment.header.usage.sources), ("use_reasons", segment.header.usage.reasons)):
        found[name] = json.dumps(texts, sort_keys=True) if texts else None
    return found
