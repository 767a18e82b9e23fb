"""The node's energy since the header: what was read, the part of each job, and the rest. Integers, no files.

At each sample the energy since the sample before is divided by ``energy_split``. What a job gets is taken from the
rest, so jobs and rest are the node's energy by construction. A reading that failed ends no interval: the next good one
is divided by the CPU times since the last good one. A counter that did not move is treated alike.

The idle power of the node is not known here. ``share_ns`` of a job is what is needed to take it into account later: of
what is above an idle power P, the job has its energy less P * share_ns.
"""

from __future__ import annotations

from ..energy_split import divide_energy
from ..gpu_selection import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..sensor_in_use import ActiveChannel
    from ..sensors.base import Gpu
    from .node_job import NodeJob


class _CpuTimes:
    """CPU times at one sample: of the node (None: not known) and of each job."""

    def __init__(self, busy_us: int | None, jobs: Sequence[NodeJob]) -> None:
        self.busy_us = busy_us
        self.job_us = {job: job.cpu_us for job in jobs}


class NodeAccounts:
    """Sums by channel, in the order of ``channels``. ``gpus`` are those of the node."""

    def __init__(
        self,
        channels: Sequence[ActiveChannel],
        gpus: Sequence[Gpu],
        jobs: Sequence[NodeJob],
        busy_us: int | None,
        now_ns: int,
    ) -> None:
        """Begin at ``now_ns``, the time of the latest sample, at which ``jobs`` had the CPU times they have now."""
        self._channels = channels
        self._gpus = gpus
        count = len(channels)
        self._taken_uj = [0] * count
        self._last = _CpuTimes(busy_us, jobs)
        self._last_ns = now_ns
        self._since = [self._last] * count
        self.rest_uj = [0] * count
        self.ended_uj = [0] * count
        """What jobs had that have ended since the header."""
        for job in jobs:
            job.energy_uj = [0] * count
            job.share_ns = 0

    @property
    def energy_uj(self) -> list[int | None]:
        """What was read and divided; None of a channel of which nothing was read."""
        return [
            None if entry.meter.energy_uj is None and not taken_uj else taken_uj
            for entry, taken_uj in zip(self._channels, self._taken_uj)  # noqa: B905 (strict= is not in Python 3.9)
        ]

    def divide(self, jobs: Sequence[NodeJob], busy_us: int | None, now_ns: int) -> None:
        """Divide what was read until ``now_ns``. A job that has ended gets nothing from then on."""
        for job in jobs:
            if not job.energy_uj:
                job.energy_uj = [0] * len(self._channels)
        now = _CpuTimes(busy_us, jobs)
        by_interval: dict[int, list[tuple[int, int]]] = {}
        for index, entry in enumerate(self._channels):
            energy_uj = entry.meter.energy_uj
            if energy_uj is None or not entry.meter.is_reading or energy_uj <= self._taken_uj[index]:
                continue
            grown_uj = energy_uj - self._taken_uj[index]
            self._taken_uj[index] = energy_uj
            self.rest_uj[index] += grown_uj
            # the rest keeps what is of a GPU that several may use: CPU time is unrelated to that
            if entry.channel.scope == "node" and entry.channel.component != "gpu":
                by_interval.setdefault(id(self._since[index]), []).append((index, grown_uj))
            elif entry.channel.scope == "job":
                self._give_device(index, entry, grown_uj, jobs)
        for grown in by_interval.values():
            for job, shares_uj in self._shares([grown_uj for _, grown_uj in grown], self._since[grown[0][0]], now):
                for (index, _), share_uj in zip(grown, shares_uj):  # noqa: B905
                    self._give(job, index, share_uj)
            for index, _ in grown:
                self._since[index] = now
        for job, (share_ns,) in self._shares([now_ns - self._last_ns], self._last, now):
            job.share_ns += share_ns
        self._last, self._last_ns = now, now_ns
        for job in jobs:
            if job.ended_ns is not None:
                for index, energy_uj in enumerate(job.energy_uj):
                    self.ended_uj[index] += energy_uj

    @staticmethod
    def _shares(wholes: list[int], since: _CpuTimes, now: _CpuTimes) -> list[tuple[NodeJob, Sequence[int]]]:
        """The part of each job of what there was from ``since`` to ``now``; nothing where CPU times are not known."""
        if since.busy_us is None or now.busy_us is None:
            return []
        count = len(wholes)
        used = [(job, cpu_us - since.job_us.get(job, 0)) for job, cpu_us in now.job_us.items()]
        used = [(job, cpu_us) for job, cpu_us in used if cpu_us > 0]
        uses = [([cpu_us] * count, ()) for _, cpu_us in used]
        shares = divide_energy(wholes, [now.busy_us - since.busy_us] * count, (), None, uses)
        return [(job, share[0]) for (job, _), share in zip(used, shares) if share is not None]  # noqa: B905

    def _give(self, job: NodeJob, index: int, share_uj: int) -> None:
        job.energy_uj[index] += share_uj
        self.rest_uj[index] -= share_uj

    def _give_device(self, index: int, entry: ActiveChannel, grown_uj: int, jobs: Sequence[NodeJob]) -> None:
        """Give the energy of a GPU to the one job that holds it, or that held it until it ended."""
        uuid = entry.channel.gpu_uuid
        if uuid is None:
            return
        holders = [job for job in jobs if job.gpus is not None and uuid in self._uuids(job)]
        holders = [job for job in holders if job.ended_ns is None] or holders
        if len(holders) == 1:
            self._give(holders[0], index, grown_uj)

    def _uuids(self, job: NodeJob) -> list[str]:
        """The GPUs of a job."""
        given = job.gpus
        if given is None or not given.entries:
            return []
        if not given.global_indices:
            known: list[str | None] = [gpu.uuid for gpu in self._gpus]
            places, _ = resolve(given.entries, known, ends=False)
            return [self._gpus[place].uuid for place in places]
        return [gpu.uuid for gpu in self._gpus if str(gpu.index) in given.entries or gpu.uuid in given.entries]
