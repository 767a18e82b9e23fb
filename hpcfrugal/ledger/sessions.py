"""A session of the sidecar as a row: what it found when it started, how it ended, what the job used meanwhile."""

from __future__ import annotations

from hpcfrugal.core.record import assemble
from hpcfrugal.ledger.rows import SessionRow
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.sidecar_session import SidecarSession, newest
from hpcfrugal.spool.use import Use


def session_row(session: SidecarSession, node: str, number: int, facts: NodeFacts | None) -> SessionRow:
    """The row of one session of a file; columns that are named like fields of the header are these."""
    header = session.header
    ended_clock_ns = header.wall_ns if session.ended_clock_ns is None else session.ended_clock_ns
    return assemble(
        SessionRow,
        header,
        node=node,
        session=number,
        started_wall_ns=header.wall_ns,
        started_boottime_ns=header.boottime_ns,
        lasted_ns=session.elapsed_ns,
        clock_set_ns=ended_clock_ns - session.wall_of(session.ended_ns),
        records=session.records,
        end_reason=session.end_reason,
        slurm_cpus=facts.slurm_cpus if facts else None,
        gpus=len(header.gpus),
        job_cpu_us=newest(session.job_cpu_us),
        node_busy_us=newest(session.node_busy_us),
        memory_peak_b=session.memory_peak_b,
        slowed=session.slowed,
        use=Use(**session.use),
        use_sources=header.usage.sources,
        use_reasons=header.usage.reasons,
    )
