"""The sampling loop: reads every sensor at each tick and writes a cumulative record at each tenth or so.

Ticks have fixed distances from the first one, so they do not drift. The interval is doubled when sampling costs more
than its budget, that of records when the file grows towards its limit. Sensors that may hang run in a thread each; a
tick waits briefly for them and continues without. A channel that opens late or is replaced after the file was begun is
added by a new header line, which starts a new session; so is the reason why a sensor could not be read for a while.
"""

from __future__ import annotations

import os
import time

from . import SAMPLES_SCHEMA, VERSION, node
from .identity import is_exclusive
from .jsonline import dumps
from .log import log
from .sampling_rate import FILE_LIMIT_B, CpuBudget, FileBudget
from .sensor_changes import SensorChanges
from .sensor_selection import SensorSelection
from .sensors.base import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .counter import Accumulator
    from .identity import Identity
    from .job_wait import JobWait
    from .sensor_in_use import Fallback
    from .sensor_watch import SensorWatch
    from .sensors.base import Sensor
    from .usage import Usage
    from .writer import Writer

TICK_WAIT_S = 0.25
"""Seconds that a tick waits for a sensor in a thread."""

LAST_READ_WAIT_S = 0.4
"""The same for the last sample, after which the job's end waits for us."""


class SamplingConfig:
    """How to sample: ``interval_ns`` between samples, ``record_ns`` between records; ``exclusive`` where the
    caller knows that the job has the node to itself; ``proc`` and ``sysfs`` are the roots of these trees.
    ``cpu_percent`` of one core is what sampling may cost, ``file_limit_b`` what the file may grow to."""

    def __init__(
        self,
        interval_ns: int,
        record_ns: int,
        exclusive: bool,
        proc: str,
        *,
        sysfs: str = "/sys",
        cpu_percent: float = 1.0,
        file_limit_b: int = FILE_LIMIT_B,
    ) -> None:
        self.interval_ns = interval_ns
        self.record_ns = record_ns
        self.exclusive = exclusive
        self.proc = proc
        self.sysfs = sysfs
        self.cpu_percent = cpu_percent
        self.file_limit_b = file_limit_b


class Loop:
    """One job on one node, from the first sample to the ``end`` record."""

    def __init__(
        self,
        config: SamplingConfig,
        identity: Identity,
        sensors: Sequence[Sensor],
        usage: Usage,
        writer: Writer,
        job_wait: JobWait,
        clock_ns: Callable[[], int],
        fallbacks: Sequence[Fallback] = (),
        cpu_clock_ns: Callable[[], int] = time.process_time_ns,
        on_begun: Callable[[], None] = lambda: None,
        watch: SensorWatch | None = None,
    ) -> None:
        self._config = config
        self._identity = identity
        self._usage = usage
        self._writer = writer
        self._job_wait = job_wait
        self._clock_ns = clock_ns
        self._cpu_clock_ns = cpu_clock_ns
        self._interval_ns = config.interval_ns
        self._record_ns = config.record_ns
        self._on_begun = on_begun
        self._slowed = 0
        self._sampled_ns = 0
        self._selection = SensorSelection(
            sensors, fallbacks, clock_ns, lambda: job_wait.wait_until(0) is not None, config.interval_ns
        )
        self._changes = SensorChanges(self._selection, watch)

    def run(self) -> None:
        """Sample until there is a reason to stop. Raises ``writer.Locked`` if another sidecar is at work."""
        first_ns = now_ns = self._clock_ns()
        self._begin_session()
        self._on_begun()
        next_record_ns = first_ns + self._record_ns
        cpu = CpuBudget(self._config.cpu_percent, first_ns, self._cpu_ns())
        space = FileBudget(self._config.file_limit_b, self._writer.size_b)
        while True:
            # ticks missed while suspended or stopped are not made up for
            next_tick_ns = next_moment(first_ns, now_ns, self._interval_ns)
            reason = self._job_wait.wait_until(next_tick_ns)
            if reason is not None:
                self._sampled_ns = self._selection.sample(LAST_READ_WAIT_S)
                if self._selection.has_new_problem(at_end=True):
                    self._writer.line(self._record("record"))
                    self._begin_session()
                self._writer.line(self._record("end", reason))
                self._writer.close()
                return
            requested = self._job_wait.record_requested()
            now_ns = self._clock_ns() if requested else max(self._clock_ns(), next_tick_ns)
            self._sampled_ns = self._selection.sample(TICK_WAIT_S)
            self._usage.sample_memory()
            if self._changes.are_due():
                self._writer.line(self._record("record"))
                if self._changes.apply():
                    self._begin_session()
            elif requested or now_ns >= next_record_ns:
                line = self._record("record")
                if space.has_space(self._writer.size_b, len(line)):
                    self._writer.line(line)
                if space.quarter_used(self._writer.size_b):
                    self._record_ns *= 2
                    log("the sample file is close to its size limit; writing records less often", once="file limit")
                next_record_ns = next_moment(first_ns, now_ns, self._record_ns)
            if cpu.is_spent(now_ns, self._cpu_ns()):
                cpu.changed(now_ns, self._cpu_ns())
                if self._slow_down():
                    first_ns = now_ns
                    next_record_ns = first_ns + self._record_ns

    def _cpu_ns(self) -> int:
        return self._cpu_clock_ns() + self._selection.cpu_ns()

    def _slow_down(self) -> bool:
        """Sample half as often; whether that is possible."""
        interval_ns = self._selection.slower(self._interval_ns)
        if interval_ns == self._interval_ns:
            return False
        self._interval_ns = interval_ns
        self._record_ns = max(self._record_ns, interval_ns)
        self._slowed = interval_ns
        log(
            f"sampling costs more than {self._config.cpu_percent:g} % of a core; interval: {interval_ns / 1e9:g} s",
            once=f"slowed {interval_ns}",
        )
        return True

    def _begin_session(self) -> None:
        """Adopt the sensors that have opened by now; write the header and a first record."""
        self._selection.adopt_opened()
        self._selection.restart()
        self._usage.restart()
        self._sampled_ns = self._selection.sample(TICK_WAIT_S)
        self._writer.begin(self._header(), self._record("record"))

    def _header(self) -> str:
        identity = self._identity
        facts = node.facts(self._config.proc, self._config.sysfs)
        cpus_node = node.cpus_online()
        # Slurm writes 0 for "all memory of the node"
        memory_alloc_b = facts["memory_node_b"] if identity.memory_alloc_b == 0 else identity.memory_alloc_b
        return dumps(
            {
                "kind": "header",
                "schema": SAMPLES_SCHEMA,
                "sidecar": VERSION,
                **identity.header(),
                "gpus_promised": identity.gpus_promised,
                "gpus_unread": self._selection.gpus_unread,
                "uid": os.getuid(),
                **facts,
                **moment(self._sampled_ns, self._clock_ns),
                "interval_s": self._interval_ns / 1e9,
                "record_s": self._record_ns / 1e9,
                "memory_alloc_b": memory_alloc_b,
                "exclusive": is_exclusive(self._config.exclusive, identity.cpus_alloc, cpus_node),
                "cpu_time_source": self._usage.cpu_time_source,
                "usage": self._usage.header(),
                **self._selection.header(),
            }
        )

    def _reached_ns(self, meter: Accumulator) -> int | None:
        """When ``meter`` was last read, where that is not now."""
        is_late = not meter.is_reading or meter.at_ns < self._sampled_ns - self._interval_ns
        return meter.at_ns if is_late else None

    def _record(self, kind: str, reason: str | None = None) -> str:
        entries = self._selection.entries
        meters = [entry.meter for entry in entries]
        record: dict[str, object] = {"kind": kind}
        if reason is not None:
            record["reason"] = reason
        record.update(moment(self._sampled_ns, self._clock_ns))
        # The sum of a channel that fails now is written once more, and at the end: energy after the last record counts.
        energies_uj = [
            meter.energy_uj if meter.is_reading or meter.measured_ns > meter.recorded_ns or kind == "end" else None
            for meter in meters
        ]
        record["energy_uj"] = energies_uj
        record["measured_ns"] = [meter.measured_ns for meter in meters]
        record["errors"] = [meter.errors for meter in meters]
        record["max_w"] = [None if meter.peak_w is None else round(meter.peak_w, 3) for meter in meters]
        # Sums that do not reach to this moment, but to an earlier one: the last good reading.
        reached = [
            None if energy_uj is None else self._reached_ns(meter)
            for energy_uj, meter in zip(energies_uj, meters)  # noqa: B905
        ]
        if any(reached):
            record["read_ns"] = reached
        assumed_ns = [entry.assumed_ns for entry in entries]
        if any(assumed_ns):
            record["assumed_ns"] = assumed_ns
        # Problems of a counter, from the record on in which the first one occurred.
        for name, counts in (
            ("resets", [meter.resets for meter in meters]),
            ("gaps", [meter.gaps for meter in meters]),
        ):
            if any(counts):
                record[name] = counts
        record.update(self._usage.read())
        if self._slowed:
            record["note"] = {
                "slowed": round(self._slowed / self._config.interval_ns, 3),
                "interval_s": self._slowed / 1e9,
            }
            self._slowed = 0
        for meter in meters:
            meter.peak_w = None
            meter.recorded_ns = meter.measured_ns
        return dumps(record)


def moment(sampled_ns: int, clock_ns: Callable[[], int]) -> dict[str, int]:
    """When the latest sample was taken: on a busy node that can be long before its line is made."""
    return {"wall_ns": time.time_ns() - (clock_ns() - sampled_ns), "boottime_ns": sampled_ns}


def next_moment(first_ns: int, now_ns: int, step_ns: int) -> int:
    """The next of the moments ``step_ns`` apart since ``first_ns``."""
    return first_ns + ((now_ns - first_ns) // step_ns + 1) * step_ns
