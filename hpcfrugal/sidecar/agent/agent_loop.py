"""The agent's sampling loop: at each tick sensors, CPU times, and the division of what was read."""

from __future__ import annotations

import time

from .. import VERSION, node
from ..jsonline import dumps
from ..log import log
from ..loop import LAST_READ_WAIT_S, TICK_WAIT_S, moment, next_moment
from ..sampling_rate import FILE_LIMIT_B, CpuBudget
from ..sensor_changes import SensorChanges
from ..sensor_selection import SensorSelection
from . import AGENT_SCHEMA
from .node_accounts import NodeAccounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..job_wait import JobWait
    from ..sensor_in_use import Fallback
    from ..sensor_watch import SensorWatch
    from ..sensors.base import Sensor
    from .day_files import DayFiles
    from .idle_power import NodeIdlePower
    from .node_job import NodeJob
    from .node_jobs import NodeJobs
    from .publisher import Publisher


class AgentConfig:
    """``node`` is this node's name in Slurm, ``slurm_cpus`` its CPUs as Slurm counts them (None: as Linux does);
    ``interval_ns`` between samples, ``record_ns`` between records; the others as in ``loop.SamplingConfig``."""

    def __init__(
        self,
        node: str,
        interval_ns: int,
        record_ns: int,
        proc: str = "/proc",
        sysfs: str = "/sys",
        *,
        cpu_percent: float = 1.0,
        file_limit_b: int = FILE_LIMIT_B,
        slurm_cpus: int | None = None,
    ) -> None:
        self.node = node
        self.interval_ns = interval_ns
        self.record_ns = record_ns
        self.proc = proc
        self.sysfs = sysfs
        self.cpu_percent = cpu_percent
        self.file_limit_b = file_limit_b
        self.slurm_cpus = slurm_cpus


class NodeSampler:
    """One node: its sensors, its jobs and the sums since the header."""

    def __init__(
        self,
        config: AgentConfig,
        sensors: Sequence[Sensor],
        fallbacks: Sequence[Fallback],
        jobs: NodeJobs,
        idle: NodeIdlePower,
        clock_ns: Callable[[], int],
        stop: Callable[[], bool],
        watch: SensorWatch | None = None,
    ) -> None:
        self._config = config
        self._clock_ns = clock_ns
        self._jobs = jobs
        self._idle = idle
        self._busy: node.NodeBusy | None = None
        try:
            self._busy = node.NodeBusy(config.proc)
        except OSError as error:
            log(f"the busy time of the node is not known, so all energy is the rest: {error}")
        self.interval_ns = config.interval_ns
        self.record_ns = config.record_ns
        self.selection = SensorSelection(sensors, fallbacks, clock_ns, stop, config.interval_ns)
        self.changes = SensorChanges(self.selection, watch)
        self.sampled_ns = 0
        self.present: list[NodeJob] = []
        self._busy_us: int | None = None
        self._sample(TICK_WAIT_S)
        self.restart()

    def _sample(self, wait_s: float) -> None:
        self.sampled_ns = self.selection.sample(wait_s)
        self.present = self._jobs.read(self.sampled_ns)
        self._busy_us = None if self._busy is None else self._busy.read_us(self._jobs.cpu_us)
        self._jobs.look()  # not earlier: it takes long, and all CPU times should be of the same moment

    def sample(self, wait_s: float = TICK_WAIT_S) -> list[str]:
        """Sample and divide; a line for each job that has ended."""
        self._sample(wait_s)
        self._accounts.divide(self.present, self._busy_us, self.sampled_ns)
        if self.present:
            self._idle.interrupt()
        ended = [job for job in self.present if job.ended_ns is not None]
        self.present = [job for job in self.present if job.ended_ns is None]
        return [dumps({"kind": "job", "ended_ns": job.ended_ns, **job.line()}) for job in ended]

    def restart(self) -> None:
        """Begin new sums at the latest sample, for a new header."""
        self.selection.adopt_opened()
        self.selection.restart()
        self._jobs.note_gpus(any_there=bool(self.selection.gpus), sysfs=self._config.sysfs)
        self.present = [job for job in self.present if job.ended_ns is None]
        self._idle.begin(self.sampled_ns, self.selection.entries, jobs=bool(self.present))
        self._accounts = NodeAccounts(
            self.selection.entries,
            self.selection.gpus,
            self.present,
            self._busy_us,
            self.sampled_ns,
            node.cpus_online(),
            self._idle.power_uw,
            self._config.slurm_cpus,
        )

    @property
    def has_new_idle_power(self) -> bool:
        """Whether the idle power of a component is known now that was not at the header."""
        return not self._idle.power_uw.keys() <= self._accounts.idle_uw.keys() and node.cpus_online() is not None

    def header(self) -> str:
        """The header line."""
        return dumps(
            {
                "kind": "header",
                "schema": AGENT_SCHEMA,
                "agent": VERSION,
                "node": self._config.node,
                **node.facts(self._config.proc, self._config.sysfs),
                **moment(self.sampled_ns, self._clock_ns),
                "interval_s": self.interval_ns / 1e9,
                "record_s": self.record_ns / 1e9,
                "cpu_time_source": self._jobs.source,
                "idle_power": self._idle.header(self._accounts.idle_uw),
                **self.selection.header(),
            }
        )

    def record(self, kind: str = "record") -> str:
        """A record line: the sums, and those of the jobs that are here."""
        self._idle.look(self.sampled_ns, self.selection.entries, self.record_ns // 2, jobs=bool(self.present))
        meters = [entry.meter for entry in self.selection.entries]
        energies_uj = self._accounts.energy_uj
        return dumps(
            {
                "kind": kind,
                **moment(self.sampled_ns, self._clock_ns),
                "energy_uj": energies_uj,
                "rest_uj": self._accounts.rest_uj,
                "ended_uj": self._accounts.ended_uj,
                "measured_ns": [meter.measured_ns for meter in meters],
                "errors": [meter.errors for meter in meters],
                "node_busy_us": self._busy_us,
                "jobs": [job.line() for job in self.present],
            }
        )

    def slow_down(self) -> None:
        """Sample half as often, where that is possible."""
        interval_ns = self.selection.slower(self.interval_ns)
        if interval_ns != self.interval_ns:
            self.interval_ns = interval_ns
            percent = self._config.cpu_percent
            log(f"sampling costs more than {percent:g} % of a core; interval: {interval_ns / 1e9:g} s")


class AgentLoop:
    """One agent, from its first sample until it is stopped."""

    def __init__(
        self,
        config: AgentConfig,
        sampler: NodeSampler,
        files: DayFiles,
        publisher: Publisher | None,
        job_wait: JobWait,
        clock_ns: Callable[[], int],
        cpu_clock_ns: Callable[[], int] = time.process_time_ns,
    ) -> None:
        self._config = config
        self._sampler = sampler
        self._files = files
        self._publisher = publisher
        self._job_wait = job_wait
        self._clock_ns = clock_ns
        self._cpu_clock_ns = cpu_clock_ns

    def run(self) -> None:
        """Sample until there is a reason to stop. Raises ``writer.Locked`` if another agent is at work."""
        sampler = self._sampler
        first_ns = now_ns = self._clock_ns()
        self._begin()
        next_record_ns = first_ns + sampler.record_ns
        cpu = CpuBudget(self._config.cpu_percent, first_ns, self._cpu_ns())
        while True:
            next_tick_ns = next_moment(first_ns, now_ns, sampler.interval_ns)
            if self._job_wait.wait_until(next_tick_ns) is not None:
                self._files.jobs_ended(sampler.sample(LAST_READ_WAIT_S))
                self._files.record(sampler.record("end"))
                break
            now_ns = max(self._clock_ns(), next_tick_ns)
            self._files.jobs_ended(sampler.sample())
            changed = sampler.changes.are_due()
            wall_ns = time.time_ns()
            if changed or now_ns >= next_record_ns or self._files.is_new_day(wall_ns):
                if self._files.record(sampler.record()):
                    sampler.record_ns *= 2
                    log("the file of the day is close to its size limit; writing records less often", once="limit")
                next_record_ns = next_moment(first_ns, now_ns, sampler.record_ns)
                # each of them, for what has changed is looked at once
                is_changed = changed and sampler.changes.apply()
                if is_changed or sampler.has_new_idle_power or self._files.is_new_day(wall_ns):
                    self._begin()
            if self._publisher is not None:
                self._publisher.update(sampler.sampled_ns, wall_ns, sampler.selection.entries)
            if cpu.is_spent(now_ns, self._cpu_ns()):
                cpu.changed(now_ns, self._cpu_ns())
                sampler.slow_down()
        self._files.close()
        if self._publisher is not None:
            self._publisher.close()

    def _begin(self) -> None:
        """Begin a session: its header, and a record of zeros."""
        sampler = self._sampler
        if self._publisher is not None:
            self._publisher.note_restart(sampler.selection.entries)
        sampler.restart()
        wall_ns = time.time_ns()
        if self._files.is_new_day(wall_ns):
            sampler.record_ns = self._config.record_ns
        self._files.begin(wall_ns, sampler.header(), sampler.record())

    def _cpu_ns(self) -> int:
        return self._cpu_clock_ns() + self._sampler.selection.cpu_ns()
