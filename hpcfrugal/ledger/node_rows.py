"""What a sample file, or a meter's file, becomes: the rows of one node of a job.

They are made in memory, so that a file which does not count leaves nothing behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcfrugal.accounting import tables
from hpcfrugal.core.record import MAX_INT
from hpcfrugal.core.safe_read import FileState, UnsafeFile
from hpcfrugal.ledger.channel_totals import NodeTotals
from hpcfrugal.ledger.channels import channel_rows
from hpcfrugal.ledger.derive import derive, derive_meter
from hpcfrugal.ledger.read_on import ReadOn, place_to_read_on
from hpcfrugal.ledger.rows import ChannelRow, MissingSensorRow, SessionRow
from hpcfrugal.ledger.sessions import session_row
from hpcfrugal.ledger.table import TableRow
from hpcfrugal.ledger.tables import CHANNELS, MISSING_SENSORS, NODE_TABLES, SESSIONS
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.layout import METER_DOMAIN, JobKey
from hpcfrugal.spool.sample_header import Header
from hpcfrugal.spool.samples import SampleFile

_METERED = {
    CHANNELS.name: ("kind", "SELECT kind FROM channel_kinds WHERE domain {} ?"),
    MISSING_SENSORS.name: ("sensor", "SELECT sensor FROM unused_sensors WHERE source {} ?"),
}
"""By which column, and which entries of its dictionary, the rows of a meter differ from the sidecar's."""

_MOST_BUCKETS = 20_000
_BYTES_A_BUCKET = 8
"""A file may have buckets of energy between its readings in proportion to its size, and these beside them. A record
takes at least 20 bytes for each channel and follows within 300 s, so a file of the sidecar has less than half as many;
while the machine sleeps, however long, a node of twenty channels has 6000."""


@dataclass(slots=True)
class NodeRows:
    """The rows of a node of a job by one file: the sidecar's, or that of a meter; none where it does not count.

    ``rows`` have a table and the values of its columns each; ``problems`` are those of the file, ``place`` is where it
    is to be read on from.
    """

    job: JobKey
    node: str
    meter: str | None = None
    sessions: list[SessionRow] = field(default_factory=list)
    channels: list[ChannelRow] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    place: str | None = None

    def take_samples(self, found: ReadOn, facts: NodeFacts | None) -> None:
        """Take the sidecar's file. Raises ``UnsafeFile`` where it does not count, ``OverflowError`` where it holds a
        number that no row can have."""
        samples = found.samples
        headers = [session.header for session in samples.sessions]
        names = [channel.domain for header in headers for channel in header.channels]
        names += [sensor.source for header in headers for sensor in header.absent]
        # They would be taken for rows of a meter's file.
        if any(name.startswith(METER_DOMAIN) for name in names):
            raise UnsafeFile(f"names a domain or source with {METER_DOMAIN!r}, which only a meter's file may")
        totals = derive(samples.sessions, tables.cpu_tdp(), tables.gpu_tdp(), facts, found.before)
        self._take(samples, totals, headers)
        self.sessions = [
            session_row(session, self.node, number, facts) for number, session in enumerate(samples.sessions)
        ]
        self.rows += [(SESSIONS, SESSIONS.values_of(session)) for session in self.sessions]
        self.place = place_to_read_on(samples, totals) if facts is None else None

    def take_meter(self, samples: SampleFile, facts: NodeFacts | None) -> None:
        """Take a meter's file: its channels and missing sensors are beside what the sidecar's file of the node has.

        Raises as ``take_samples``.
        """
        headers, domain = [session.header for session in samples.sessions], f"{METER_DOMAIN}{self.meter}"
        channels = [channel for header in headers for channel in header.channels]
        sources = {sensor.source for header in headers for sensor in header.absent}
        # Another domain would be the sidecar's or another meter's, whose rows are not this file's to write.
        if sources - {domain} or any(
            (channel.component, channel.domain, channel.counted) != ("node", domain, False) for channel in channels
        ):
            raise UnsafeFile("holds something else than what its meter read of the node")
        self._take(samples, derive_meter(samples.sessions, facts), headers)

    def _take(self, samples: SampleFile, totals: NodeTotals, headers: Sequence[Header]) -> None:
        _check_bounds(totals, samples.state)
        unusable = [] if samples.sessions else ["no usable header"]
        self.problems = [*samples.problems, *unusable, *totals.problems]
        self.channels = channel_rows(self.node, totals)
        self.rows = [(CHANNELS, CHANNELS.values_of(row)) for row in self.channels]
        absent = {
            MissingSensorRow(self.node, sensor.component, sensor.source, sensor.reason)
            for header in headers
            for sensor in header.absent
        }
        self.rows += [(MISSING_SENSORS, MISSING_SENSORS.values_of(row)) for row in absent]

    def clear_old(self, connection: sqlite3.Connection, job: int) -> None:
        """Remove the rows by an earlier state of the file."""
        for table in NODE_TABLES:
            where = "job = ? AND node = (SELECT node FROM nodes WHERE name = ?)"
            values: list[int | str] = [job, self.node]
            if table.name in _METERED:
                column, entries = _METERED[table.name]
                where += f" AND {column} IN ({entries.format('NOT GLOB' if self.meter is None else '=')})"
                values.append(f"{METER_DOMAIN}{'*' if self.meter is None else self.meter}")
            elif self.meter is not None:
                continue
            connection.execute(f"DELETE FROM {table.name} WHERE {where}", values)


def _check_bounds(totals: NodeTotals, state: FileState) -> None:
    """Raise ``UnsafeFile`` where sums are impossible though each record is possible, or where a few records span so
    much time that they would fill the ledger: each row of energy takes a hundred bytes.
    """
    for channel in totals.channels:
        sums = (channel.energy_uj, channel.node_energy_uj, channel.idle_uj, channel.measured_ns, channel.sensor_gap_ns)
        counts = (channel.errors, channel.resets, channel.gaps)
        if max(filter(None, (*sums, *counts)), default=0) > MAX_INT:
            raise UnsafeFile(f"has impossible sums of {str(channel.key)[:80]}")
    # What two neighbouring readings add to the rows that each of them has anyway.
    between = sum(channel.job.parted for channel in totals.channels)
    if between > _MOST_BUCKETS + state.size // _BYTES_A_BUCKET:
        raise UnsafeFile("records are too far apart")
