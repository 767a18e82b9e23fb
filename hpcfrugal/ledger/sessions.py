"""A session of the sidecar as a row: what it found when it started, how it ended, what the job used meanwhile."""

from __future__ import annotations

from typing import Any

from hpcfrugal.core.record import assemble
from hpcfrugal.ledger.readings import wall_of
from hpcfrugal.ledger.rows import SessionRow
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.samples import SidecarSession
from hpcfrugal.spool.use import NO_USE, USE_FIELDS, Use


def session_row(session: SidecarSession, node: str, number: int, facts: NodeFacts | None) -> SessionRow:
    """The row of one session of a file; columns that are named like fields of the header are these."""
    header, last = session.header, session.records[-1] if session.records else None
    ended_boottime_ns = last.boottime_ns if last else header.boottime_ns
    return assemble(
        SessionRow,
        header,
        node=node,
        session=number,
        started_wall_ns=header.wall_ns,
        started_boottime_ns=header.boottime_ns,
        ended_wall_ns=wall_of(session, ended_boottime_ns),
        ended_boottime_ns=ended_boottime_ns,
        ended_clock_ns=last.wall_ns if last else header.wall_ns,
        records=len(session.records),
        end_reason=session.end_reason,
        slurm_cpus=facts.slurm_cpus if facts else None,
        gpus=len(header.gpus),
        job_cpu_us=_newest(session.records, "job_cpu_us"),
        node_busy_us=_newest(session.records, "node_busy_us"),
        memory_peak_b=_newest(session.records, "memory_peak_b"),
        slowed=max((record.slowed for record in session.records if record.slowed is not None), default=None),
        use=_use(session),
        use_sources=header.usage.sources,
        use_reasons=header.usage.reasons,
    )


def _newest(records: list[Any], name: str) -> Any:
    """The newest known value of a field of the records."""
    values = (getattr(record, name) for record in reversed(records))
    return next((value for value in values if value is not None), None)


def _use(session: SidecarSession) -> Use:
    """The newest known value of each figure."""
    known = [record.use for record in session.records if record.use is not NO_USE]
    return Use(**{name: _newest(known, name) for name in USE_FIELDS}) if known else NO_USE
