"""A session of an agent as rows of the ledger, and what of these rows is needed to read it on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.core.record import assemble
from hpcfrugal.ledger.agent_rows import AgentJobRow, AgentSessionRow, ChannelKind, NodeChannelRow, SessionRows
from hpcfrugal.ledger.packed import pack_columns, unpack_columns
from hpcfrugal.ledger.readings import channel_keys, idle_power_text
from hpcfrugal.ledger.session_accounts import (
    Amounts,
    JobAccount,
    LifeName,
    SessionAccounts,
    SessionSums,
    columns_of,
    rows_of_columns,
)
from hpcfrugal.ledger.tables import AGENT_JOBS, AGENT_SESSIONS, NODE_CHANNELS
from hpcfrugal.spool.agent_records import AgentHeader, AgentJob, AgentRecord


@dataclass(slots=True)
class ReadSession:
    """A session as far as it was read now; the lines are those of its header and of its last record."""

    number: int
    header_line: bytes
    accounts: SessionAccounts
    record_line: bytes = b""


def session_rows(read: ReadSession) -> SessionRows:
    """Its rows: of jobs those of which something was read now."""
    jobs = list(_job_rows(read, read.accounts.changed))
    return SessionRows(_agent_session_row(read), list(_node_channels(read)), jobs)


def _agent_session_row(read: ReadSession) -> AgentSessionRow:
    accounts = read.accounts
    header, sums, latest = accounts.header, accounts.sums, accounts.latest
    return assemble(
        AgentSessionRow,
        header,
        session=read.number,
        started_wall_ns=header.wall_ns,
        started_boottime_ns=header.boottime_ns,
        lasted_ns=sums.last_wall_ns - header.wall_ns,
        divided=latest is None or latest.node_busy_us is not None,
        stopped=sums.stopped,
        records=sums.records,
    )


def channel_kinds(header: AgentHeader, kept: Sequence[int]) -> Iterator[ChannelKind]:
    """What the channels are, of those that are kept."""
    keys = channel_keys(header.channels)
    for at in kept:
        channel, key = header.channels[at], keys[at]
        attribution = Attribution.DEVICE if channel.component == "gpu" else Attribution.AGENT
        yield assemble(ChannelKind, key, channel, channel=str(key), attribution=attribution)


def _node_channels(read: ReadSession) -> Iterator[NodeChannelRow]:
    """The channels of the node."""
    accounts = read.accounts
    sums, latest, header = accounts.sums, accounts.latest, accounts.header
    idle_power: dict[str, str] = {one.component: idle_power_text(one.power_uw, one.source) for one in header.idle_power}
    energies, rests = (columns_of(rows, len(accounts.kept)) for rows in (sums.energy, sums.rest))
    for number, (at, kind) in enumerate(zip(accounts.kept, channel_kinds(header, accounts.kept), strict=True)):
        columns = (energies[number], rests[number], sums.missing[number])
        energy_uj, rest_uj = (sum(column.values()) for column in columns[:2])
        known = bool(energy_uj) or (latest is not None and latest.energy_uj[at] is not None)
        yield NodeChannelRow(
            session=read.number,
            number=number,
            energy_uj=energy_uj if known else None,
            rest_uj=rest_uj if known else None,
            measured_ns=0 if latest is None else latest.measured_ns[at],
            errors=0 if latest is None else latest.errors[at],
            contains=header.channels[at].contains,
            idle_power=idle_power.get(kind.component),
            kind=kind,
            packed=pack_columns(columns),
        )


def _job_rows(read: ReadSession, names: Iterable[LifeName]) -> Iterator[AgentJobRow]:
    """What jobs had in the session."""
    for name in sorted(names):
        account = read.accounts.sums.jobs[name]
        yield assemble(
            AgentJobRow,
            account.latest,
            account,
            session=read.number,
            name=name[0],
            idle_uj=_idle_uj(account.latest, read.accounts.kept),
            job=None,
            packed=pack_columns(columns_of(account.by_bucket, len(read.accounts.kept))),
        )


def _idle_uj(job: AgentJob, kept: Sequence[int]) -> str | None:
    """JSON of the idle energy in what a job had, by channel that is kept; None where it has none."""
    return json.dumps([job.idle_uj[at] for at in kept]) if job.idle_uj else None


def restored(
    connection: sqlite3.Connection,
    agent_file: int,
    session: int,
    header: AgentHeader,
    latest: AgentRecord,
    gone_uj: Sequence[int],
) -> SessionAccounts:
    """The accounts of a session, to go on after its last record. Jobs are read from their rows when a line has more."""
    of_session = ("SELECT ?", (agent_file,), f"session = {session}")
    ((_, row),) = AGENT_SESSIONS.rows_of(connection, *of_session)
    rows = [channel for _, channel in NODE_CHANNELS.rows_of(connection, *of_session)]
    columns = [_filled(unpack_columns(channel.packed), 3) for channel in rows]
    energy, rest, missing = ([column[at] for column in columns] for at in range(3))

    def known(name: LifeName, job: AgentJob) -> JobAccount | None:
        for _, found in AGENT_JOBS.rows_of(
            connection, "SELECT ?", (agent_file, session, *name), "session = ? AND agent_jobs.name = ? AND first_ns = ?"
        ):
            by_bucket = _filled(unpack_columns(found.packed), len(rows))
            taken = [sum(amounts.values()) for amounts in by_bucket]
            known_rows = rows_of_columns(by_bucket)
            return JobAccount(job, found.first_wall_ns, found.last_wall_ns, found.ended, known_rows, taken)
        return None

    of_node = rows_of_columns(rest), rows_of_columns(energy)
    sums = SessionSums(*of_node, missing, list(gone_uj), row.ended_wall_ns, row.records, row.stopped)
    return SessionAccounts(header, sums, latest, known)


def _filled(columns: list[Amounts], count: int) -> list[Amounts]:
    return columns or [{} for _ in range(count)]
