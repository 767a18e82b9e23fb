"""Sample files that grow: a sync reads on where the last one stopped, instead of all of them again.

What is kept for that is the session's last record and the sums up to it. It is kept only of a session in which nothing
is open that a later record could change in what was before: every channel was read at each record, CPU times are known
and rise, records came in time, and the facts of the node, which change the shares, are not there yet. Every other file
is read whole, and so is each once its session has ended.
"""

from __future__ import annotations

import json
from operator import le

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import codec
from hpcfrugal.core.safe_read import StrPath
from hpcfrugal.ledger.channel_totals import NodeTotals, SumsBefore
from hpcfrugal.ledger.readings import channel_keys
from hpcfrugal.ledger.stops import was_stopped
from hpcfrugal.spool.sample_header import Header, SampledNode
from hpcfrugal.spool.samples import SampleFile, SampleParser, open_samples
from hpcfrugal.spool.sidecar_session import SidecarSession


@dataclass(frozen=True, slots=True)
class ReadOn:
    """A file of which the one session begins with the last record that was read before, and the sums up to that; or,
    without these, a whole file."""

    samples: SampleFile
    before: SumsBefore | None = None


def place_to_read_on(samples: SampleFile, totals: NodeTotals) -> str | None:
    """What ``read_on`` needs to read the file from its end on, as JSON; None where it is to be read whole."""
    if len(samples.sessions) != 1 or totals.problems or not _is_closed(samples.sessions[0]):
        return None
    (session,) = samples.sessions
    sums = {str(channel.key): channel for channel in totals.channels}
    own = [sums[str(key)] for key in channel_keys(session.header.channels)]
    modelled = [channel for channel in totals.channels if channel.attribution.is_modelled]
    # A model of a GPU takes its use over all of the time, and what was not read yet may still be replaced by a model.
    if any(channel.key.component == "gpu" for channel in modelled) or not all(
        channel.node_energy_uj is not None and channel.energy_uj is not None for channel in own
    ):
        return None
    return json.dumps(
        {
            "inode": samples.state.inode,
            "size": samples.size,
            "last_line": samples.last_line.decode("latin-1"),
            "bad": samples.bad,
            "header": codec(Header).write(session.header),
            "session": session.to_json(),
            "channels": {str(channel.key): channel.to_json() for channel in (*own, *modelled)},
            "busy_ns": totals.busy_ns,
        }
    )


def read_on(path: StrPath, owner_uid: int, sampled: SampledNode, place: str) -> ReadOn | None:
    """What has come to a sample file since ``place``; None where it is to be read whole.

    Raises ``UnsafeFile`` where the file as a whole does not count.
    """
    known = json.loads(place)
    last_line = known["last_line"].encode("latin-1") + b"\n"
    with open_samples(path, owner_uid) as (file, state):
        file.seek(known["size"] - len(last_line))
        if state.inode != known["inode"] or file.read(len(last_line)) != last_line:
            return None
        session = SidecarSession.from_json(codec(Header).read(known["header"], []), known["session"])
        parser = SampleParser(sampled, session, known["bad"])
        parser.last_line = last_line[:-1]
        samples = parser.read(file.read, state, known["size"])
    if len(samples.sessions) != 1 or not _is_closed(session):
        return None
    return ReadOn(samples, SumsBefore(known["channels"], known["busy_ns"]))


def _is_closed(session: SidecarSession) -> bool:
    """Whether nothing of what was read can still change. Slurm's part of memory is known, so no record's counts."""
    columns = (session.job_cpu_us, session.node_busy_us, *session.energy_uj)
    return (
        session.end_reason is None
        and session.elapsed_ns > 0
        and session.header.memory_alloc_b is not None
        and not session.read_ns
        and not was_stopped(session)
        and not any(None in column for column in columns)
        and all(all(map(le, column, column[1:])) for column in columns)  # type: ignore[arg-type]
    )
