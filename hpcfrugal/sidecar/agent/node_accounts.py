"""The node's energy since the header: what was read, the part of each job, and the rest. Integers, no files.

At each sample the energy since the sample before is divided by ``energy_split``. What a job gets is taken from the
rest, so jobs and rest are the node's energy by construction. A reading that failed ends no interval: the next good one
is divided by the CPU times since the last good one. A counter that did not move is treated alike.

The idle energy of the node is divided by the CPUs that jobs hold, for the part of an interval since they were first
seen; what is of CPUs that no job holds is the rest.
"""

from __future__ import annotations

from operator import add

from ..energy_split import divide_energy, divide_idle
from ..gpu_selection import resolve
from .idle_power import idle_energy_uj, measured_idle_groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ..sensor_in_use import ActiveChannel
    from ..sensors.base import Gpu
    from .node_job import NodeJob


_NUMBERED = ("gpu", "amd-gpu", "intel-gpu")
"""The beginnings of domains of GPUs by driver. Each driver numbers its own from 0, and Slurm's numbers are taken for
those of the first that there is, as the sidecar does."""


class _CpuTimes:
    """CPU times at one sample: of the node (None: not known) and of each job."""

    def __init__(self, at_ns: int, busy_us: int | None, jobs: Sequence[NodeJob]) -> None:
        self.at_ns = at_ns
        self.busy_us = busy_us
        self.job_us = {job: job.cpu_us for job in jobs}


class NodeAccounts:
    """Sums by channel, in the order of ``channels``. ``gpus`` and ``cpus`` are those of the node, ``slurm_cpus`` its
    CPUs as Slurm counts them (None: as Linux does), ``idle_uw`` its idle power by component; of one that is not known
    it counts as 0."""

    def __init__(
        self,
        channels: Sequence[ActiveChannel],
        gpus: Sequence[Gpu],
        jobs: Sequence[NodeJob],
        busy_us: int | None,
        now_ns: int,
        cpus: int | None = None,
        idle_uw: Mapping[str, int] | None = None,
        slurm_cpus: int | None = None,
    ) -> None:
        """Begin at ``now_ns``, the time of the latest sample, at which ``jobs`` had the CPU times they have now."""
        self._channels = channels
        self._gpus = gpus
        of_driver = {kind: [gpu for gpu in gpus if gpu.domain == f"{kind}-{gpu.index}"] for kind in _NUMBERED}
        self._numbered = next((some for some in of_driver.values() if some), [])
        self._cpus = cpus or 0
        self._slurm_cpus = slurm_cpus or cpus or 1
        count = len(channels)
        self.idle_uw = dict(idle_uw or {}) if cpus else {}
        self._idle_groups = [
            (self.idle_uw[component], indices)
            for component, indices in measured_idle_groups(channels)
            if component in self.idle_uw
        ]
        self._taken_uj = [0] * count
        self._since = [_CpuTimes(now_ns, busy_us, jobs)] * count
        self.rest_uj = [0] * count
        self.ended_uj = [0] * count
        """What jobs had that have ended since the header."""
        for job in jobs:
            job.energy_uj, job.idle_uj = [0] * count, [0] * count

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
                job.energy_uj, job.idle_uj = [0] * len(self._channels), [0] * len(self._channels)
        now = _CpuTimes(now_ns, busy_us, jobs)
        by_interval: dict[int, dict[int, int]] = {}
        for index, entry in enumerate(self._channels):
            energy_uj = entry.meter.energy_uj
            if energy_uj is None or not entry.meter.is_reading or energy_uj <= self._taken_uj[index]:
                continue
            grown_uj = energy_uj - self._taken_uj[index]
            self._taken_uj[index] = energy_uj
            self.rest_uj[index] += grown_uj
            # the rest keeps what is of a GPU that several may use: CPU time is unrelated to that
            if entry.channel.scope == "node" and entry.channel.component != "gpu":
                by_interval.setdefault(id(self._since[index]), {})[index] = grown_uj
            elif entry.channel.scope == "job":
                self._give_device(index, entry, grown_uj, jobs)
        for grown in by_interval.values():
            indices = list(grown)
            self._divide_interval(grown, self._since[indices[0]], now)
            for index in indices:
                self._since[index] = now
        for job in jobs:
            if job.ended_ns is not None:
                for index, energy_uj in enumerate(job.energy_uj):
                    self.ended_uj[index] += energy_uj

    def _divide_interval(self, grown: Mapping[int, int], since: _CpuTimes, now: _CpuTimes) -> None:
        """Give each job its part of what channels read from ``since`` to ``now``; nothing where CPU times are not
        known."""
        if since.busy_us is None or now.busy_us is None:
            return
        idle_uj = self._idle_uj(grown, since, now)
        has_idle = any(idle_uj.values())
        jobs: list[NodeJob] = []
        uses: list[tuple[Sequence[int], Sequence[int]]] = []
        count, span_ns = len(grown), now.at_ns - since.at_ns
        columns: dict[int, list[int]] = {0: []}
        for job, cpu_us in now.job_us.items():
            used_us = max(0, cpu_us - since.job_us.get(job, 0))
            held = self._held_ns(job, min(span_ns, now.at_ns - job.first_ns)) if has_idle else 0
            if used_us or held > 0:
                jobs.append(job)
                uses.append(([used_us] * count, columns.setdefault(max(0, held), [held] * count)))
        shares = divide_energy(
            list(grown.values()),
            [now.busy_us - since.busy_us] * count,
            [self._cpus * span_ns] * count,
            [idle_uj.get(index, 0) for index in grown] if has_idle else None,
            uses,
        )
        given: list[list[int]] = []
        for job, share in zip(jobs, shares):  # noqa: B905 (strict= is not in Python 3.9)
            if share is None:
                continue
            given_uj = list(map(add, *share)) if has_idle else list(share[0])
            given.append(given_uj)
            job.energy_uj = _added(job.energy_uj, grown, given_uj)
            if has_idle:
                job.idle_uj = _added(job.idle_uj, grown, share[1])
        if given:
            self.rest_uj = _added(self.rest_uj, grown, [-sum(of_jobs) for of_jobs in zip(*given)])  # noqa: B905

    def _held_ns(self, job: NodeJob, span_ns: int) -> int:
        """The CPUs that a job holds, as Linux counts them, times ``span_ns``."""
        all_ns = self._cpus * span_ns
        held_ns = (job.slurm_cpus or 0) * all_ns // self._slurm_cpus if job.cpus is None else job.cpus * span_ns
        return min(held_ns, all_ns)  # an environment may name more CPUs than there are

    def _idle_uj(self, grown: Mapping[int, int], since: _CpuTimes, now: _CpuTimes) -> dict[int, int]:
        """Idle energy of the channels whose idle power is known."""
        found: dict[int, int] = {}
        for power_uw, indices in self._idle_groups:
            read = [index for index in indices if index in grown]
            whole_uj = idle_energy_uj(power_uw, since.at_ns, now.at_ns)
            parts = divide_idle([whole_uj], [[grown[index]] for index in read], len(indices))
            found.update(zip(read, [part[0] for part in parts]))  # noqa: B905
        return found

    def _give(self, job: NodeJob, index: int, share_uj: int) -> None:
        job.energy_uj[index] += share_uj
        self.rest_uj[index] -= share_uj

    def _give_device(self, index: int, entry: ActiveChannel, grown_uj: int, jobs: Sequence[NodeJob]) -> None:
        """Give the energy of a GPU to the one job that holds it, or that held it until it ended."""
        uuid = entry.channel.gpu_uuid
        if uuid is None:
            return
        holders = [job for job in jobs if job.gpus and uuid in self._uuids(job)]
        holders = [job for job in holders if job.ended_ns is None] or holders
        if len(holders) == 1:
            self._give(holders[0], index, grown_uj)

    def _uuids(self, job: NodeJob) -> list[str]:
        """The GPUs of a job."""
        known: list[str | None] = [gpu.uuid for gpu in self._gpus]
        places, _ = resolve([entry for entry in job.gpus or () if not entry.isdigit()], known, ends=False)
        numbered = [gpu.uuid for gpu in self._numbered if job.gpus and str(gpu.index) in job.gpus]
        return [*numbered, *(self._gpus[place].uuid for place in places)]


def _added(sums: list[int], indices: Collection[int], amounts: Sequence[int]) -> list[int]:
    """Sums by channel with what comes to those at ``indices``, which are in order."""
    if len(indices) == len(sums):
        return list(map(add, sums, amounts))
    found = list(sums)
    for index, amount in zip(indices, amounts):  # noqa: B905
        found[index] += amount
    return found
