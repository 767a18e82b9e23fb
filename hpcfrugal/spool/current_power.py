"""What the nodes of a running job draw now, from the ends of its sample files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hpcfrugal.core.safe_read import UnsafeFile, open_owned
from hpcfrugal.spool import JobKey, RunDir
from hpcfrugal.spool.layout import ParsedName
from hpcfrugal.spool.sample_header import MAX_HEADER_BYTES, SampledNode
from hpcfrugal.spool.samples import SampleParser
from hpcfrugal.spool.sidecar_session import SidecarSession

_TAIL_BYTES = 64 * 1024


@dataclass(slots=True)
class Draw:
    """Power over the newest record and energy so far of all nodes of a run, as read and not attributed.

    Whatever several of its jobs (the tasks of an array, on one node) read counts once. A component of which
    nothing was read is not there.
    """

    power_w: dict[str, float] = field(default_factory=dict)
    energy_uj: dict[str, int] = field(default_factory=dict)

    @property
    def total_power_w(self) -> float | None:
        """Sum of what is known, None where nothing is."""
        return sum(self.power_w.values()) if self.power_w else None

    @property
    def total_energy_uj(self) -> int | None:
        """Sum of what is known, None where nothing is."""
        return sum(self.energy_uj.values()) if self.energy_uj else None


def read_draw(run_dir: RunDir) -> Draw:
    """Read the header and the newest records of every sample file of a run; files of others do not count."""
    owner_uid = run_dir.path.stat().st_uid
    power_w: dict[tuple[str | None, str, str], float] = {}
    energy_uj: dict[tuple[str | None, str, str], int] = {}
    for path, name in run_dir.files("samples"):
        session = _last_session(path, owner_uid, _sampled(run_dir, name))
        for index, channel in enumerate(session.header.channels if session is not None else ()):
            if session is None or not channel.counted:
                continue
            key = (name.node, channel.component, channel.domain)
            energies_uj = session.energy_uj[index]
            known = [
                (energy, measured_ns)
                for energy, measured_ns in zip(energies_uj, session.measured_ns[index], strict=True)
                if energy is not None
            ]
            # In a record without measured time, such as the first one, the energy is 0 because nothing was measured.
            if known and known[-1][1] > 0:
                energy_uj[key] = max(energy_uj.get(key, 0), known[-1][0])
            if len(known) > 1 and energies_uj[-1] is not None and session.end_reason is None:
                (old_uj, old_ns), (new_uj, new_ns) = known[-2:]
                if new_ns > old_ns and new_uj >= old_uj:
                    power_w[key] = (new_uj - old_uj) * 1000 / (new_ns - old_ns)
    draw = Draw()
    for (_, component, _), watts in power_w.items():
        draw.power_w[component] = draw.power_w.get(component, 0.0) + watts
    for (_, component, _), spent_uj in energy_uj.items():
        draw.energy_uj[component] = draw.energy_uj.get(component, 0) + spent_uj
    return draw


def sidecars_done(run_dir: RunDir) -> bool:
    """Whether every job of a run that has an end record has samples too, closed by their last record on each node."""
    try:
        owner_uid = run_dir.path.stat().st_uid
    except FileNotFoundError:
        return True  # removed: nothing more will come
    closed: dict[JobKey, bool] = {}
    for path, name in run_dir.files("samples"):
        if name.job is not None:
            session = _last_session(path, owner_uid, _sampled(run_dir, name))
            over = session is not None and session.end_reason is not None
            closed[name.job] = closed.get(name.job, True) and over
    return all(closed.get(name.job, False) for _, name in run_dir.files("end") if name.job is not None)


def _sampled(run_dir: RunDir, name: ParsedName) -> SampledNode | None:
    if name.job is None or name.node is None:
        return None
    return SampledNode(run_dir.run_id, name.job, name.node)


def _last_session(path: Path, owner_uid: int, sampled: SampledNode | None) -> SidecarSession | None:
    """The last header and the records after it, as far as the first line and the end of the file hold them."""
    if sampled is None:
        return None
    try:
        file, state = open_owned(path, owner_uid)
    except UnsafeFile:
        return None  # `ledger check` says why
    parser = SampleParser(sampled)
    with file:
        try:
            parser.feed(file.readline(MAX_HEADER_BYTES))
            file.seek(max(file.tell(), state.size - _TAIL_BYTES) - 1)
            file.readline()  # the rest of a line that begins before
            parser.feed(file.read(_TAIL_BYTES))
        except OSError:
            return None
    return parser.sessions[-1] if parser.sessions else None
