"""The files of a node agent, in which jobs and the rest draw the power that they are given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from fake_spool import SECOND, START_NS

from hpcfrugal.spool.agent_layout import agent_file

CHANNELS = (
    ("cpu", "package-0", "components", True, 1000),
    ("cpu", "package-0/core", "components", False, 800),
    ("dram", "package-0/dram", "components", True, 250),
    ("node", "psys", "node", False, 1500),
)
"""Component, domain, boundary, counted, and its power in thousandths of the power that is given."""

BOOT_NS = 1000 * SECOND
"""The time since boot at ``start_ns``."""


class FakeAgent:
    """An agent that starts at ``start_ns``. Powers are watts of package-0; ``rest_w`` goes to no job, and what a
    GPU draws beside that to ``gpu_job`` alone."""

    def __init__(
        self,
        root: Path,
        node: str = "n1",
        start_ns: int = START_NS,
        rest_w: int = 10,
        record_s: int = 60,
        channels: tuple[tuple[str, str, str, bool, int], ...] = CHANNELS,
        idle_power: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.root, self.node, self.start_ns, self.rest_w, self.record_s = root, node, start_ns, rest_w, record_s
        self.channels = channels
        self.idle_power = list(idle_power)
        self.gpu_job = ""
        self.at_s = 0
        self.path = root
        self.jobs: dict[str, dict[str, Any]] = {}
        self.watts: dict[str, int] = {}
        self.begin()

    @property
    def wall_ns(self) -> int:
        return self.start_ns + self.at_s * SECOND

    @property
    def boottime_ns(self) -> int:
        return BOOT_NS + self.at_s * SECOND

    def begin(self) -> None:
        """A header, from which all is counted from 0, and a record of zeros."""
        day = date(1970, 1, 1).toordinal() + self.wall_ns // (86_400 * SECOND)
        self.path = agent_file(self.root, self.node, date.fromordinal(day))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        count = len(self.channels)
        self.begun_s = self.at_s
        self.rest, self.ended = [0] * count, [0] * count
        for job in self.jobs.values():
            job["energy_uj"] = [0] * count
        channels = [
            {
                "component": component, "domain": domain, "source": "rapl-powercap", "quality": "measured",
                "boundary": boundary, "scope": "node", "counted": counted, "detail": None, "gpu_uuid": None,
            }
            for component, domain, boundary, counted, _ in self.channels
        ]  # fmt: skip
        for channel in channels:
            if channel["component"] == "gpu":  # one that is of one piece with the processor and the memory
                channel |= {"source": "hwmon", "scope": "job", "gpu_uuid": "GPU-0", "contains": ["cpu", "dram"]}
        self.write(
            kind="header", schema=1, agent="1", node=self.node, boot_id="boot-1", wall_ns=self.wall_ns,
            boottime_ns=self.boottime_ns, interval_s=1.0, record_s=float(self.record_s), cpus_node=8,
            cpu_time_source="cgroup-v2", idle_power=self.idle_power, channels=channels,
        )  # fmt: skip
        self.record()

    def start(self, job_id: str, watts: int, **fields: Any) -> None:
        """A job that draws so much from now on."""
        self.watts[job_id] = watts
        self.jobs[job_id] = {
            "job_id": job_id, "sluid": None, "uid": 1000, "first_ns": self.boottime_ns, "cpus": 2, "cpu_us": 0,
            "energy_uj": [0] * len(self.channels), "idle_uj": [], **fields,
        }  # fmt: skip

    def end(self, job_id: str) -> None:
        """It has ended."""
        job = self.jobs.pop(job_id)
        self.ended = [old + energy_uj for old, energy_uj in zip(self.ended, job["energy_uj"], strict=True)]
        self.write(kind="job", ended_ns=self.boottime_ns, **job)

    def advance(self, seconds: int) -> None:
        """Let time go by, with a record at each multiple of ``record_s``."""
        while seconds > 0:
            step = min(seconds, self.record_s - self.at_s % self.record_s)
            self.at_s += step
            seconds -= step
            for index, (component, *_, per_mille) in enumerate(self.channels):
                self.rest[index] += self.rest_w * per_mille * 1000 * step
                for job_id, job in self.jobs.items():
                    if component != "gpu" or job_id == self.gpu_job:
                        job["energy_uj"][index] += self.watts[job_id] * per_mille * 1000 * step
            for job in self.jobs.values():
                job["cpu_us"] += step * 10**6
            if self.at_s % self.record_s == 0:
                self.record()

    def record(self, kind: str = "record", **changes: Any) -> None:
        parts = [self.rest, self.ended, *(job["energy_uj"] for job in self.jobs.values())]
        measured_ns = (self.at_s - self.begun_s) * SECOND
        fields = {
            "kind": kind, "wall_ns": self.wall_ns, "boottime_ns": self.boottime_ns,
            "energy_uj": list(map(sum, zip(*parts, strict=True))), "rest_uj": self.rest, "ended_uj": self.ended,
            "measured_ns": [measured_ns] * len(self.channels), "errors": [0] * len(self.channels),
            "node_busy_us": self.at_s * 10**6, "jobs": list(self.jobs.values()),
        }  # fmt: skip
        self.write(**fields | changes)

    def write(self, **fields: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(fields) + "\n")
