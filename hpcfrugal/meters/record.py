"""The samples of a meter for one job on one node, in the format of the sidecar's file.

On an exclusive node it is one session from the job's start to its end. On a shared node there is a session for each of
the sidecar, with a record at the time of each of its records and with its CPU times, from which the job's share of the
node follows. Without records of the sidecar the node's energy is stored and the job's share is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hpcfrugal.core.record import codec
from hpcfrugal.meters.base import SECOND_NS, Meter
from hpcfrugal.meters.integrate import Curve, grid
from hpcfrugal.spool import JobKey
from hpcfrugal.spool.layout import METER_DOMAIN, SPOOL_SCHEMA
from hpcfrugal.spool.sample_header import ChannelInfo, Header, MissingSensor
from hpcfrugal.spool.sidecar_session import SidecarSession

_CpuTimes = tuple[int | None, int | None]
"""Of the job and of the node, in us."""

RECORD_NS = 60 * SECOND_NS
"""Distance of two records without those of the sidecar; the ledger's buckets are a multiple of it."""


@dataclass(frozen=True, slots=True)
class JobOnNode:
    """A job on one of its nodes, from ``start_ns`` to ``end_ns`` of wall time, with the sidecar's sessions there."""

    run_id: str
    job: JobKey
    node: str
    start_ns: int
    end_ns: int
    sampled: Sequence[SidecarSession] = ()
    cluster: str | None = None

    @property
    def exclusive(self) -> bool:
        return bool(self.sampled) and all(session.header.exclusive for session in self.sampled)


def lines_of(part: JobOnNode, meter: Meter, curve: Curve | None, absent: str | None = None) -> bytes:
    """The file's content. Without a curve it gives the reason, ``absent``."""
    out: list[dict[str, Any]] = []
    if curve is None:
        out.append(_header(part, meter, *_clocks(part), absent or "no reason given"))
    elif not part.exclusive and any(len(session) for session in part.sampled):
        for session in part.sampled:
            if len(session):
                out.extend(_beside(part, meter, curve, session))
    else:
        out.extend(_alone(part, meter, curve))
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in out)


def _clocks(part: JobOnNode) -> tuple[Header | None, int, int]:
    """The sidecar's first header, and a wall time with its time since boot (from 0 if unknown)."""
    if not part.sampled:
        return None, part.start_ns, 0
    header = part.sampled[0].header
    # Never negative: the clock may have been set back since the job's start.
    boottime_ns = max(0, header.boottime_ns - (header.wall_ns - part.start_ns))
    return header, part.start_ns, boottime_ns


def _alone(part: JobOnNode, meter: Meter, curve: Curve) -> Iterator[dict[str, Any]]:
    header, wall_ns, boottime_ns = _clocks(part)
    yield _header(part, meter, header, wall_ns, boottime_ns)
    instants = [(at_ns, at_ns - wall_ns + boottime_ns, None) for at_ns in grid(part.start_ns, part.end_ns, RECORD_NS)]
    yield from _records(curve, instants)


def _beside(part: JobOnNode, meter: Meter, curve: Curve, session: SidecarSession) -> Iterator[dict[str, Any]]:
    header = session.header
    yield _header(part, meter, header, header.wall_ns, header.boottime_ns)
    instants = [
        (session.wall_of(at_ns), at_ns, (job_us, busy_us))
        for at_ns, job_us, busy_us in zip(session.boottime_ns, session.job_cpu_us, session.node_busy_us, strict=True)
    ]
    yield from _records(curve, [(header.wall_ns, header.boottime_ns, None), *instants])


def _records(curve: Curve, instants: Sequence[tuple[int, int, _CpuTimes | None]]) -> Iterator[dict[str, Any]]:
    """Cumulative records at (wall time, time since boot, CPU times); counting starts at the first instant."""
    before_ns = instants[0][0]
    zero = curve.at(before_ns)
    for number, (wall_ns, boottime_ns, cpu_us) in enumerate(instants):
        now = curve.at(wall_ns)
        line: dict[str, Any] = {
            "kind": "record" if number + 1 < len(instants) else "end",
            "boottime_ns": boottime_ns,
            "wall_ns": wall_ns,
            "energy_uj": [now.energy_uj_since(zero)],
            "measured_ns": [now.measured_ns - zero.measured_ns],
            "errors": [now.errors - zero.errors],
            "resets": [now.resets - zero.resets],
            "gaps": [now.gaps - zero.gaps],
            "max_w": [curve.peak_w(before_ns, wall_ns)],
        }
        if number == 0:
            line |= {"job_cpu_us": 0, "node_busy_us": 0} if len(instants) > 1 and instants[1][2] is not None else {}
        elif cpu_us is not None:
            line |= {"job_cpu_us": cpu_us[0], "node_busy_us": cpu_us[1]}
        if line["kind"] == "end":
            line["reason"] = "collected"
        yield line
        before_ns = wall_ns


def _header(
    part: JobOnNode, meter: Meter, sampled: Header | None, wall_ns: int, boottime_ns: int, absent: str | None = None
) -> dict[str, Any]:
    """The header line, with what the sidecar's header has of the job on the node; no channel where the meter is
    ``absent``."""
    name = f"{METER_DOMAIN}{meter.name}"
    channel = ChannelInfo(
        "node", name, meter.source, "measured", "node", "node", counted=False, detail=meter.detail, gpu_uuid=None
    )
    header = Header(
        run_id=part.run_id,
        cluster=None,
        job_id=part.job.job_id,
        restart=part.job.restart,
        node=part.node,
        array_job_id=None,
        array_task_id=None,
        boot_id=None if sampled is None else sampled.boot_id,
        wall_ns=wall_ns,
        boottime_ns=boottime_ns,
        sidecar_version=None,
        interval_s=meter.terms.step_ns / SECOND_NS,
        record_s=RECORD_NS / SECOND_NS,
        cpus_alloc=None if sampled is None else sampled.cpus_alloc,
        cpus_node=None if sampled is None else sampled.cpus_node,
        cpu_model=None,
        memory_node_b=None,
        memory_alloc_b=None,
        exclusive=None if sampled is None else sampled.exclusive,
        cpu_time_source=None,
        channels=(channel,) if absent is None else (),
        absent=() if absent is None else (MissingSensor("node", name, absent),),
    )
    return {"kind": "header", "schema": SPOOL_SCHEMA, **codec(Header).write(header)}
