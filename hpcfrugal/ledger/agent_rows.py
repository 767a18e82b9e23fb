"""The records of the ledger for the files of node agents: what was read of a node by time, and what each job had of it.

Energies are integer microjoules. In each bucket of 300 s the energy of a channel is that of all jobs and the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import EMBEDDED
from hpcfrugal.ledger.file_rows import NOT_READ, ReadState
from hpcfrugal.ledger.interned import KIND, MaybeText, Node
from hpcfrugal.ledger.packed import NO_COLUMNS, PackedColumns


@dataclass(frozen=True, slots=True)
class AgentFileRow:
    """A file of an agent, ``<node>/<YYYY-MM-DD>.jsonl``. ``place`` is where it is to be read on from, see
    ``agent_files``."""

    name: str
    node: Node
    read: Annotated[ReadState, EMBEDDED] = NOT_READ
    place: str | None = None


@dataclass(frozen=True, slots=True)
class AgentSessionRow:
    """What follows a header of an agent, up to ``lasted_ns`` after it; ``session`` counts the headers of a file from 0.

    ``divided``: CPU times of the node were known, so that its energy could be divided; else all of it is the rest.
    ``stopped``: the agent was stopped in order.
    """

    session: int
    boot_id: MaybeText
    started_wall_ns: int
    started_boottime_ns: int
    lasted_ns: int
    interval_s: float | None
    record_s: float | None
    cpus_node: int | None
    cores_node: int | None
    cpu_model: MaybeText
    memory_node_b: int | None
    cpu_time_source: MaybeText
    divided: bool
    stopped: bool
    records: int

    @property
    def ended_wall_ns(self) -> int:
        return self.started_wall_ns + self.lasted_ns


@dataclass(frozen=True, slots=True)
class ChannelKind:
    """What a channel reads and how, as in ``ChannelRow``."""

    channel: str
    component: str
    domain: str
    source: str
    quality: str
    boundary: str
    scope: str
    counted: bool
    attribution: Attribution
    detail: str | None
    gpu_uuid: str | None


_NO_KIND = ChannelKind(
    "", "", "", "", "", "", "", counted=False, attribution=Attribution.NONE, detail=None, gpu_uuid=None
)


@dataclass(frozen=True, slots=True)
class NodeChannelRow:
    """A channel of a node in a session: its energy, and the rest of it that no job had.

    Only measured channels are kept, and of these those that are in sums, or read the whole node. ``number`` counts
    them. ``contains`` as in ``ChannelInfo``. ``idle_power`` is the figure that was divided by CPUs, in
    words, None where none was known. The last columns are the energy by time, see ``packed``:
    the lists of ``bucket_values`` are energy, rest, and the nanoseconds of the session that lack readings.
    """

    session: int
    number: int
    energy_uj: int | None
    rest_uj: int | None
    measured_ns: int
    errors: int
    contains: tuple[str, ...]
    idle_power: MaybeText = None
    kind: Annotated[ChannelKind, EMBEDDED, KIND] = _NO_KIND
    packed: Annotated[PackedColumns, EMBEDDED] = NO_COLUMNS


@dataclass(frozen=True, slots=True)
class AgentJobRow:
    """What a job had of a node in a session. ``name`` and ``first_ns`` are as in ``JobLife``, ``cpu_us`` as in
    ``AgentJob``. ``ended``: the agent saw it end, at ``last_wall_ns``; else that is when it was last seen.
    ``cpus`` are those by which it got its part of the idle energy, ``idle_uj`` is that part by channel, as JSON.

    ``job`` is the job of the ledger that it is, None while that is not known. The lists of ``bucket_values`` are those
    of the session's channels in the order of their numbers; null: all zeros.
    """

    session: int
    name: str
    first_ns: int
    job_id: str | None
    sluid: str | None
    uid: int | None
    cpus: int | None
    cpu_us: int
    ended: bool
    first_wall_ns: int
    last_wall_ns: int
    idle_uj: str | None = None
    job: int | None = None
    packed: Annotated[PackedColumns, EMBEDDED] = NO_COLUMNS


class SessionRows(NamedTuple):
    """The rows of a session, or what has come to them."""

    session: AgentSessionRow
    channels: Sequence[NodeChannelRow]
    jobs: Sequence[AgentJobRow]


class AgentFileRows(NamedTuple):
    """The row of a file, and those of its sessions."""

    file: AgentFileRow
    sessions: Sequence[SessionRows]
