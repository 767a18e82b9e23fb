"""A node in simulated time: RAPL counters, both clocks, a real sampling loop, a real file, a real ledger.

Only the clocks and the counters are played; what is between them is the program. Whatever happens on the node is
an event at a second of its life (``at``), and the truth is what the counters were moved by.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from fake_rapl import INTEL_RANGE_UJ, FakeRapl, Zone, build
from fake_spool import BOOT_NS, START_NS, FakeRun, FakeSpool

from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.sidecar import loop as loop_module
from hpcfrugal.sidecar.identity import Identity
from hpcfrugal.sidecar.job_wait import JobWait
from hpcfrugal.sidecar.loop import Loop, SamplingConfig
from hpcfrugal.sidecar.sensor_watch import SensorWatch
from hpcfrugal.sidecar.sensors.base import POWER_UW, Channel, Gpu, Opened
from hpcfrugal.sidecar.sensors.rapl_powercap import RaplPowercap
from hpcfrugal.sidecar.usage import Usage
from hpcfrugal.sidecar.writer import Writer

S = 1_000_000_000
JOULE_UJ = 1_000_000
PACKAGE_KEY = "cpu/package-0/rapl-powercap"
DRAM_KEY = "dram/package-0/dram/rapl-powercap"
GPU_KEY = "gpu/gpu-0/nvml-energy"


class Killed(Exception):
    """The sidecar is gone without another word."""


@dataclass(frozen=True, slots=True)
class Joules:
    """A channel as the ledger has it. ``buckets`` are the µJ of the job by start in seconds since the epoch."""

    energy_uj: int | None
    node_energy_uj: int | None
    measured_ns: int
    counted: bool
    errors: int
    resets: int
    gaps: int
    reason: str | None
    buckets: dict[int, int | None]

    def assert_whole(self, watts: int, seconds: float) -> None:
        """The channel has all energy of ``seconds`` at ``watts``, exactly, and no doubt."""
        assert self.energy_uj == self.node_energy_uj == round(watts * seconds * JOULE_UJ)
        assert self.measured_ns == round(seconds * S)
        assert (self.errors, self.resets, self.gaps) == (0, 0, 0)
        assert sum(part or 0 for part in self.buckets.values()) == self.energy_uj


class SimulatedUsage:
    """The job uses ``job_cpus`` of the ``busy_cpus`` of the node that are busy, all the time."""

    cpu_time_source = "cgroup-v2"

    def __init__(self, now_ns: Callable[[], int], job_cpus: float = 1.0, busy_cpus: float = 4.0) -> None:
        self._now_ns = now_ns
        self._job_cpus = job_cpus
        self._busy_cpus = busy_cpus
        self._begun_ns = now_ns()

    def restart(self) -> None:
        self._begun_ns = self._now_ns()

    def sample_memory(self) -> None:
        pass

    def header(self) -> dict[str, object]:
        return {"sources": {}, "reasons": {}}

    def read(self) -> dict[str, object]:
        span_us = (self._now_ns() - self._begun_ns) // 1000
        return {
            "job_cpu_us": round(span_us * self._job_cpus),
            "node_busy_us": round(span_us * self._busy_cpus),
            "memory_b": 10**9,
            "memory_peak_b": 10**9,
        }


@dataclass
class SimulatedNode:
    """A package of ``watts`` and its dram of 10 W, and one job on it with the node to itself."""

    folder: Path
    patch: pytest.MonkeyPatch
    watts: int = 100
    range_uj: int = INTEL_RANGE_UJ
    boottime_ns: int = BOOT_NS
    wall_ns: int = START_NS
    counted_ns: int = 0
    boots: int = 0
    events: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rapl: FakeRapl = build(
            self.folder / "sys",
            [
                Zone("intel-rapl:0", "package-0", self.watts, self.range_uj, start_uj=self.range_uj - 5),
                Zone("intel-rapl:0:0", "dram", 10, self.range_uj, start_uj=7),
            ],
        )
        self.proc = self.folder / "proc"
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        self.reboot(0, restart_counters=False)
        self.spool = FakeSpool(self.folder)
        self.job: FakeRun = self.spool.run()
        # Wall time of the loop; it reads no other clock of this module.
        self.patch.setattr(loop_module, "time", types.SimpleNamespace(time_ns=lambda: self.wall_ns))

    # what happens on the node

    def at(self, second: float, event: Callable[[], None]) -> None:
        """Have ``event`` happen when the node's clock of counters has run for ``second``."""
        self.events.append((round(second * S), event))

    def advance(self, span_ns: int) -> None:
        """Time passes as it does."""
        end_ns = self.counted_ns + span_ns
        while True:
            due = [entry for entry in self.events if entry[0] <= end_ns]
            if not due:
                break
            entry = min(due, key=lambda item: item[0])
            self.events.remove(entry)
            self._pass(max(0, entry[0] - self.counted_ns))
            entry[1]()
            end_ns = max(end_ns, self.counted_ns)
        self._pass(end_ns - self.counted_ns)

    def _pass(self, span_ns: int) -> None:
        self.boottime_ns += span_ns
        self.wall_ns += span_ns
        self.counted_ns += span_ns
        self.show()

    def show(self) -> None:
        """Let the counters stand where they are now."""
        self.rapl.show(self.counted_ns)

    def suspend(self, seconds: float, *, counters_run: bool, clock_runs: bool = True) -> None:
        """The machine sleeps; the counters are those of a host that goes on, or sleep as well."""
        span_ns = round(seconds * S)
        self.wall_ns += span_ns
        self.boottime_ns += span_ns if clock_runs else 0
        if counters_run:
            self._shift(span_ns)
        self.show()

    def _shift(self, span_ns: int) -> None:
        for zone in self.rapl.zones:
            zone.start_uj += zone.energy_uj(span_ns)

    def set_count(self, zone: str, count_uj: int) -> None:
        """Let a counter stand at ``count_uj`` and go on from there."""
        found = self.rapl.zone(zone)
        found.start_uj = count_uj - found.energy_uj(self.counted_ns)
        self.show()

    def step_wall(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.wall_ns += round(seconds * S)

    def reboot(self, seconds: float, *, restart_counters: bool = True) -> None:
        """The node is down for ``seconds`` and starts anew: another boot id, clocks since boot and counters at 0."""
        self.boots += 1
        (self.proc / "sys/kernel/random/boot_id").write_text(f"boot-{self.boots}\n")
        self.wall_ns += round(seconds * S)
        if restart_counters:
            self.boottime_ns = 20 * S
            for zone in self.rapl.zones:
                self.set_count(zone.name, 0)

    # what the sidecar does

    def sample(
        self,
        seconds: float,
        *,
        sensors: Sequence[Any] | None = None,
        interval_s: float = 1,
        record_s: float = 10,
        killed: bool = False,
        exclusive: bool = True,
        restart: int = 0,
        watch: SensorWatch | None = None,
    ) -> Path:
        """One life of a sidecar: until the job ends after ``seconds`` of boot time, or it is killed then."""
        who = Identity(
            run_id=self.job.run_id,
            job_id="17",
            cluster="lab",
            node="n1",
            in_slurm=True,
            restart=restart,
            cpus_alloc=1,
        )
        path = self.job.run_dir.samples("17", restart, "n1")
        writer = Writer(str(path))
        self.show()
        try:
            Loop(
                SamplingConfig(round(interval_s * S), round(record_s * S), exclusive, str(self.proc)),
                who,
                [RaplPowercap(str(self.rapl.sysfs))] if sensors is None else sensors,
                cast(Usage, SimulatedUsage(lambda: self.boottime_ns)),
                writer,
                cast(JobWait, _Watch(self, self.boottime_ns + round(seconds * S), killed)),
                lambda: self.boottime_ns,
                (),
                lambda: 0,
                watch=watch,
            ).run()
        except Killed:
            writer.close()
        return path

    # what comes of it

    def ledger(self, restart: int = 0) -> dict[str, Joules]:
        """Sync the spool and read the channels of the job; nothing of it may be doubtful to the reader."""
        result = sync(self.spool.root, self.spool.ledger)
        assert (result.skipped, result.problem_files) == ((), 0)
        found: dict[str, Joules] = {}
        with open_ledger(self.spool.ledger) as connection:
            jobs = [job for job in find_jobs(connection, JobFilter()) if job.restart == restart]
        for job in jobs:
            for channel in job.channels:
                found[channel.channel] = Joules(
                    energy_uj=channel.energy_uj,
                    node_energy_uj=channel.node_energy_uj,
                    measured_ns=channel.measured_ns,
                    counted=channel.counted,
                    errors=channel.errors,
                    resets=channel.resets or 0,
                    gaps=channel.gaps or 0,
                    reason=channel.reason,
                    buckets={bucket.start_ns // 10**9: bucket.energy_uj for bucket in channel.buckets},
                )
        return found


class _Watch:
    """The job's end in simulated time; waiting is what lets time pass."""

    def __init__(self, node: SimulatedNode, end_ns: int, killed: bool) -> None:
        self._node = node
        self._end_ns = end_ns
        self._killed = killed

    def record_requested(self) -> bool:
        return False

    def wait_until(self, at_ns: int) -> str | None:
        # The loop also asks without a wait, as often as a thread of a sensor takes long: then nothing happens.
        span_ns = min(at_ns, self._end_ns) - self._node.boottime_ns
        if span_ns > 0:
            self._node.advance(span_ns)
        if self._node.boottime_ns < self._end_ns:
            return None
        if self._killed:
            raise Killed
        return "stopped"


class GpuCounter:
    """A GPU of 250 W with a counter that never wraps; ``shift_uj`` is added to what it shows."""

    name = "nvml-energy"
    component = "gpu"
    may_block = False
    kind = "energy_uj"

    def __init__(self, node: SimulatedNode) -> None:
        self.node = node
        self.shift_uj = 10**15
        self.fails = False

    def open(self) -> Opened:
        channel = Channel(
            "gpu", "gpu-0", self.name, max_w=3000, detail="d", scope="job", gpu_uuid="GPU-a", quantity=self.kind
        )
        return Opened([channel], [], [Gpu(0, "GPU-a", "Tesla V100-SXM2-16GB")])

    def read(self) -> list[int | None]:
        if self.fails:
            return [None]
        return [250 * self.node.counted_ns // 1000 + self.shift_uj]

    def close(self) -> None:
        pass


class GpuPower(GpuCounter):
    """The same GPU with nothing but a meter of its power."""

    kind = POWER_UW

    def read(self) -> list[int | None]:
        return [None if self.fails else 250_000_000]
