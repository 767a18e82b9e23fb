"""What a running job draws now, from the newest records of its sample files."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcfrugal.spool import JobKey, RunDir
from hpcfrugal.spool.reading import Refused
from hpcfrugal.spool.samples import Segment, read_samples


@dataclass(slots=True)
class Draw:
    """Power over the newest record and energy so far, as read, of all nodes of a job together.

    ``cpu`` and ``dram`` are those of the whole nodes, ``gpu`` that of the job's own devices. A component of
    which nothing was read is not there. ``newest_wall_ns`` is the node's newest record that is oldest.
    """

    power_w: dict[str, float] = field(default_factory=dict)
    energy_uj: dict[str, int] = field(default_factory=dict)
    nodes: int = 0
    newest_wall_ns: int | None = None

    @property
    def total_power_w(self) -> float | None:
        """Sum of what is known, None where nothing is."""
        return sum(self.power_w.values()) if self.power_w else None

    @property
    def total_energy_uj(self) -> int | None:
        """Sum of what is known, None where nothing is."""
        return sum(self.energy_uj.values()) if self.energy_uj else None


def read_draw(run_dir: RunDir, job: JobKey | None = None) -> Draw:
    """Read the newest records of a run, or of one of its jobs (an array task, a restart)."""
    draw = Draw()
    owner_uid = run_dir.path.stat().st_uid
    for path, name in run_dir.files("samples"):
        if name.job is None or (job is not None and name.job != job):
            continue
        try:
            segments = read_samples(path, owner_uid, name.job).segments
        except (Refused, OSError):
            continue  # not ours to believe; `ledger check` says why
        if segments:
            draw.nodes += 1
            for segment in segments:
                _add_energy(draw, segment)
            _add_power(draw, segments[-1])
    return draw


def _add_energy(draw: Draw, segment: Segment) -> None:
    for index, channel in enumerate(segment.header.channels):
        if not channel.counted:
            continue
        known = [uj for record in segment.records if (uj := record.energy_uj[index]) is not None]
        if known:
            draw.energy_uj[channel.component] = draw.energy_uj.get(channel.component, 0) + known[-1]


def _add_power(draw: Draw, segment: Segment) -> None:
    if not segment.records:
        return
    newest = segment.records[-1].wall_ns
    draw.newest_wall_ns = newest if draw.newest_wall_ns is None else min(newest, draw.newest_wall_ns)
    if len(segment.records) < 2 or segment.end_reason is not None:
        return
    before, after = segment.records[-2:]
    for index, channel in enumerate(segment.header.channels):
        old, new = before.energy_uj[index], after.energy_uj[index]
        measured_ns = after.measured_ns[index] - before.measured_ns[index]
        if channel.counted and old is not None and new is not None and measured_ns > 0:
            power_w = (new - old) * 1000 / measured_ns
            draw.power_w[channel.component] = draw.power_w.get(channel.component, 0.0) + power_w
