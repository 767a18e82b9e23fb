"""The energy of a command on this machine in both scopes: the whole machine, and the command's share by CPU time.

Both come from the same samples, so they can be compared whichever the command was run with.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.ledger.parts import is_lacking
from hpcfrugal.spool.documents import NodeFacts, read_nodes
from hpcfrugal.spool.layout import JobKey, RunDir

if TYPE_CHECKING:
    from hpcfrugal.ledger.channel_totals import NodeTotals
    from hpcfrugal.spool.sidecar_session import SidecarSession

ALONE = 0.9
"""A command with at least this part of the machine's busy CPU time is taken to have had it to itself."""


@dataclass(frozen=True, slots=True)
class ScopeEnergy:
    """Energy in one scope; None where nothing is known. ``complete``: no part of it is unknown. ``range_uj``: the 90 %
    range of one that is modelled in part, or whose edges are uncertain; None where nothing is, or where that is not
    known."""

    energy_uj: int | None
    complete: bool
    range_uj: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class BothScopes:
    """The energy in each scope, and ``cpu_part``, the command's part of the machine's busy CPU time, from 0 to 1."""

    machine: ScopeEnergy
    share: ScopeEnergy
    cpu_part: float | None

    @property
    def had_it_alone(self) -> bool:
        """Whether next to no other work ran on the machine, so that all of its energy is the command's."""
        return self.cpu_part is not None and self.cpu_part >= ALONE


def both_scopes(run: RunDir, node: str) -> BothScopes | None:
    """The energy of a run of `hpcfrugal run` on this node; None where there are no samples that can be used."""
    from hpcfrugal.spool.sample_header import SampledNode
    from hpcfrugal.spool.samples import read_samples

    job = JobKey(run.run_id, 0)
    path = run.samples(job.job_id, job.restart, node)
    try:
        owner_uid = os.lstat(run.folder).st_uid
        sessions = read_samples(path, owner_uid, SampledNode(run.run_id, job, node)).sessions
    except (OSError, UnsafeFile):
        return None
    facts = _facts(run, owner_uid, job, node)
    return BothScopes(
        _energy(sessions, facts, exclusive=True), _energy(sessions, facts, exclusive=False), _part(sessions)
    )


def _facts(run: RunDir, owner_uid: int, job: JobKey, node: str) -> NodeFacts | None:
    try:
        document, _, _ = read_nodes(run.nodes_json(job.job_id, job.restart), owner_uid, job)
    except (OSError, UnsafeFile):
        return None  # no idle power is configured, or it could not be stored
    return next((facts for facts in document.nodes if facts.node == node), None)


def _energy(sessions: tuple[SidecarSession, ...], facts: NodeFacts | None, *, exclusive: bool) -> ScopeEnergy:
    # A report of many jobs needs none of it.
    from hpcfrugal.accounting import tables
    from hpcfrugal.ledger.derive import derive

    held = [replace(session, header=replace(session.header, exclusive=exclusive)) for session in sessions]
    return _sum(derive(held, tables.cpu_tdp(), tables.gpu_tdp(), facts))


def _sum(totals: NodeTotals) -> ScopeEnergy:
    counted = [channel for channel in totals.channels if channel.counted]
    known = [(channel, channel.energy_uj) for channel in counted if channel.energy_uj is not None]
    complete = bool(counted) and not any(map(is_lacking, counted))
    low_uj = high_uj = 0
    uncertain = [channel for channel, _ in known if channel.quality == "modelled" or channel.high_uj is not None]
    for channel, energy_uj in known:
        ends_uj = (channel.low_uj, channel.high_uj) if channel in uncertain else (energy_uj, energy_uj)
        low_uj, high_uj = low_uj + (ends_uj[0] or 0), high_uj + (ends_uj[1] or 0)
    has_range = bool(uncertain) and all(channel.high_uj is not None for channel in uncertain)
    return ScopeEnergy(
        sum(energy_uj for _, energy_uj in known) if known else None,
        complete,
        (low_uj, high_uj) if has_range else None,
    )


def _part(sessions: tuple[SidecarSession, ...]) -> float | None:
    job_us, busy_us = 0, 0
    for session in sessions:
        if not len(session):
            continue
        last_us, last_busy_us = session.job_cpu_us[-1], session.node_busy_us[-1]
        if last_us is None or last_busy_us is None:
            return None
        job_us, busy_us = job_us + last_us, busy_us + last_busy_us
    return min(1.0, job_us / busy_us) if busy_us else None
