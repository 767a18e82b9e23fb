"""The sampling loop: reads every sensor at each tick and writes a cumulative record at each tenth or so.

Ticks stand at fixed distances from the first one, so they do not drift. Sensors that may hang run in a
thread each; a tick waits a little for them and goes on without. One that only comes up after the file was
begun is taken in by a new header line, which starts a new segment.
"""

from __future__ import annotations

import os
import time

from . import SCHEMA, VERSION, node
from .counter import EnergyCounter, PowerIntegral
from .guard import open_sensor, read_sensor
from .identity import is_exclusive
from .jsonline import dumps
from .say import say
from .sensors.base import ENERGY_UJ, TYPE_CHECKING, Absent, Channel, Gpu
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .identity import Identity
    from .sensors.base import Sensor
    from .usage import Usage
    from .watch import Watch
    from .writer import Writer

OPEN_WAIT_S = 1.0
"""Seconds that the header waits for a sensor that is slow to open."""

READ_WAIT_S = 0.25
"""Seconds that a tick waits for a sensor in a thread."""

LAST_READ_WAIT_S = 0.4
"""The same for the last sample, after which the job's end waits for us."""

_SLICE_S = 0.02


class _Source:
    """A sensor at work: directly, or through ``worker`` where it may hang."""

    __slots__ = ("channels", "meters", "sensor", "worker")

    def __init__(self, sensor: Sensor, worker: Worker | None) -> None:
        self.sensor = sensor
        self.worker = worker
        self.channels: list[Channel] = []
        self.meters: list[EnergyCounter | PowerIntegral] = []

    def adopt(self, channels: list[Channel]) -> None:
        """Make a meter for each channel."""
        self.channels = channels
        self.meters = [_meter(channel) for channel in channels]

    def update(self, at_ns: int, values: list[int | None]) -> None:
        """Hand one reading to the meters."""
        for meter, value in zip(self.meters, values):  # noqa: B905 (strict= is not in Python 3.9)
            meter.update(at_ns, value)


def _meter(channel: Channel) -> EnergyCounter | PowerIntegral:
    if channel.kind == ENERGY_UJ:
        return EnergyCounter(channel.range_uj, channel.max_w, can_rest=not channel.counted)
    return PowerIntegral(channel.max_w)


class Plan:
    """How to sample: ``interval_ns`` between samples, ``record_ns`` between records; ``exclusive`` where the
    caller knows that the job has the node to itself; ``proc`` is the root of procfs."""

    __slots__ = ("exclusive", "interval_ns", "proc", "record_ns")

    def __init__(self, interval_ns: int, record_ns: int, exclusive: bool, proc: str) -> None:
        self.interval_ns = interval_ns
        self.record_ns = record_ns
        self.exclusive = exclusive
        self.proc = proc


class Loop:
    """One job on one node, from the first sample to the ``end`` record."""

    __slots__ = (
        "_absent",
        "_clock_ns",
        "_gpus",
        "_identity",
        "_late",
        "_plan",
        "_sources",
        "_usage",
        "_watch",
        "_writer",
    )

    def __init__(
        self,
        plan: Plan,
        identity: Identity,
        sensors: list[Sensor],
        usage: Usage,
        writer: Writer,
        watch: Watch,
        clock_ns: Callable[[], int],
    ) -> None:
        self._plan = plan
        self._identity = identity
        self._usage = usage
        self._writer = writer
        self._watch = watch
        self._clock_ns = clock_ns
        self._absent: list[Absent] = []
        self._gpus: list[Gpu] = []
        self._late: list[_Source] = []
        self._sources = self._open(sensors)

    def run(self) -> None:
        """Sample until there is a reason to stop. Raises ``writer.Locked`` if another sidecar is at work."""
        interval_ns, record_ns = self._plan.interval_ns, self._plan.record_ns
        first_ns = self._clock_ns()
        self._begin_segment()
        next_record_ns = first_ns + record_ns
        now_ns = first_ns
        while True:
            # a tick that was slept through (suspend, SIGSTOP) is not made up for
            next_tick_ns = first_ns + ((now_ns - first_ns) // interval_ns + 1) * interval_ns
            reason = self._watch.wait_until(next_tick_ns)
            if reason is not None:
                self._sample(LAST_READ_WAIT_S)
                self._writer.line(self._record("end", reason))
                self._writer.close()
                return
            nudged = self._watch.nudged()
            now_ns = self._clock_ns() if nudged else max(self._clock_ns(), next_tick_ns)
            self._sample(READ_WAIT_S)
            if self._late and any(source.worker and source.worker.wait(0) for source in self._late):
                self._writer.line(self._record("record"))
                self._begin_segment()
            elif nudged or now_ns >= next_record_ns:
                self._writer.line(self._record("record"))
                next_record_ns = first_ns + ((now_ns - first_ns) // record_ns + 1) * record_ns

    def _open(self, sensors: list[Sensor]) -> list[_Source]:
        """Open all sensors: the ones that may hang in threads, while the others are opened here."""
        sources = []
        for sensor in sensors:
            worker = Worker(sensor, self._clock_ns) if sensor.may_block else None
            sources.append(_Source(sensor, worker))
        ready = []
        for source in sources:
            if source.worker is not None:
                self._late.append(source)
                continue
            opened = open_sensor(source.sensor)
            self._absent += opened.absent
            self._gpus += opened.gpus
            source.adopt(opened.channels)
            ready.append(source)
        deadline_ns = self._clock_ns() + int(OPEN_WAIT_S * 1e9)
        for source in self._late:
            worker = source.worker
            while worker and not worker.wait(_SLICE_S) and self._clock_ns() < deadline_ns:
                if self._watch.wait_until(0) is not None:
                    return ready
        return ready

    def _begin_segment(self) -> None:
        """Take in the late sensors that are there by now; write the header and a first record."""
        for source in list(self._late):
            worker = source.worker
            if worker is not None and worker.wait(0) and worker.opened is not None:
                self._late.remove(source)
                self._absent += worker.opened.absent
                self._gpus += worker.opened.gpus
                source.adopt(worker.opened.channels)
                self._sources.append(source)
        for source in self._sources:
            for meter in source.meters:
                meter.restart()
        self._usage.restart()
        self._sample(READ_WAIT_S)
        self._writer.begin(self._header(), self._record("record"))

    def _sample(self, wait_s: float) -> None:
        hung = []
        for source in self._sources:
            if source.worker is not None:
                if source.worker.busy:
                    hung.append(source)
                source.worker.ask()
        for source in self._sources:
            if source.worker is None:
                at_ns = self._clock_ns()
                source.update(at_ns, read_sensor(source.sensor, len(source.meters)))
        deadline_ns = self._clock_ns() + int(wait_s * 1e9)
        for source in self._sources:
            worker = source.worker
            if worker is None:
                continue
            # one that hung before this tick has had its time
            left_s = 0.0 if source in hung else (deadline_ns - self._clock_ns()) / 1e9
            if worker.wait(left_s) and worker.reading is not None:
                source.update(worker.reading.at_ns, worker.reading.values)
            else:
                source.update(self._clock_ns(), [None] * len(source.channels))
                name = source.sensor.name
                say(f"{name} does not answer; its channels wait", once=f"{name} hangs")

    def _header(self) -> str:
        who = self._identity
        cpus_node = node.cpus_online()
        memory_node_b = node.memory_total_b(self._plan.proc)
        # Slurm writes 0 for "all memory of the node"
        memory_alloc_b = memory_node_b if who.memory_alloc_b == 0 else who.memory_alloc_b
        late = [
            Absent(source.sensor.component, source.sensor.name, f"no answer within {OPEN_WAIT_S:g} s")
            for source in self._late
        ]
        channels = [channel for source in self._sources for channel in source.channels]
        return dumps(
            {
                "kind": "header",
                "schema": SCHEMA,
                "sidecar": VERSION,
                "run_id": who.run_id,
                "cluster": who.cluster,
                "job_id": who.job_id,
                "restart": who.restart,
                "array_job_id": who.array_job_id,
                "array_task_id": who.array_task_id,
                "node": who.node,
                "uid": os.getuid(),
                "boot_id": node.boot_id(self._plan.proc),
                "wall_ns": time.time_ns(),
                "boottime_ns": self._clock_ns(),
                "interval_s": self._plan.interval_ns / 1e9,
                "record_s": self._plan.record_ns / 1e9,
                "cpus_alloc": who.cpus_alloc,
                "cpus_node": cpus_node,
                "cpu_model": node.cpu_model(self._plan.proc),
                "memory_node_b": memory_node_b,
                "memory_alloc_b": memory_alloc_b,
                "exclusive": is_exclusive(self._plan.exclusive, who.cpus_alloc, cpus_node),
                "gpus": [gpu.header() for gpu in self._gpus],
                "cpu_time_source": self._usage.cpu_time_source,
                "channels": [channel.header() for channel in channels],
                "absent": [entry.header() for entry in self._absent + late],
            }
        )

    def _record(self, kind: str, reason: str | None = None) -> str:
        meters = [meter for source in self._sources for meter in source.meters]
        record: dict[str, object] = {"kind": kind}
        if reason is not None:
            record["reason"] = reason
        record["boottime_ns"] = self._clock_ns()
        record["wall_ns"] = time.time_ns()
        record["energy_uj"] = [meter.energy_uj for meter in meters]
        record["measured_ns"] = [meter.measured_ns for meter in meters]
        record["errors"] = [meter.errors for meter in meters]
        record["max_w"] = [None if meter.peak_w is None else round(meter.peak_w, 3) for meter in meters]
        record.update(self._usage.read())
        for meter in meters:
            meter.peak_w = None
        return dumps(record)
