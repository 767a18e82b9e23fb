"""A spool written by hand in the format of the sidecar and of the submission, for tests of its readers."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcfrugal.spool import JobKey, RunDir, new_run_id, write_json_atomic
from hpcfrugal.spool.sample_header import SampledNode
from hpcfrugal.spool.samples import SampleFile, read_samples

SECOND = 10**9
JOB = JobKey("17", 0)
START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
START_NS = int(START.timestamp()) * SECOND
BOOT_NS = 5_000 * SECOND

PACKAGE = {
    "component": "cpu",
    "domain": "package-0",
    "source": "rapl-powercap",
    "quality": "measured",
    "boundary": "components",
    "scope": "node",
    "counted": True,
    "range_uj": 262143328850,
    "detail": "/sys/class/powercap/intel-rapl:0",
    "gpu_uuid": None,
}
DRAM = {**PACKAGE, "component": "dram", "domain": "dram-0", "detail": "/sys/class/powercap/intel-rapl:0:1"}
PSYS = {**PACKAGE, "component": "node", "domain": "psys", "boundary": "node", "counted": False}
GPU = {
    **PACKAGE,
    "component": "gpu",
    "domain": "gpu-0",
    "source": "nvml-energy",
    "scope": "job",
    "range_uj": None,
    "gpu_uuid": "GPU-a",
}


def iso(seconds: float) -> str:
    """The time ``seconds`` after START."""
    return (START + timedelta(seconds=seconds)).isoformat()


def read(path: Path) -> SampleFile:
    """The sample file at ``path``, of job 17 on n1."""
    return read_samples(path, os.getuid(), SampledNode(path.parent.name, JOB, "n1"))


@dataclass
class FakeRun:
    """One run directory."""

    run_dir: RunDir
    uid: int
    cluster: str = "lab"
    paths: list[Path] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        return self.run_dir.run_id

    def document(self, **changes: Any) -> None:
        """Write ``run.json``."""
        spec = {"name": "train", "tags": {"project": "climate", "phase": "training"}}
        write_json_atomic(
            self.run_dir.run_json,
            {
                "schema": 1,
                "run_id": self.run_id,
                "user": "alice",
                "uid": self.uid,
                "created_at": iso(-10),
                "hpcfrugal_version": "0.1.0",
                "backend": "slurm_cli",
                "host": "login",
                "spec": spec,
                "plan": None,
                **changes,
            },
        )

    def submitted(self, job_id: str = "17") -> None:
        """Write ``submitted.json``."""
        document = {"schema": 1, "cluster": self.cluster, "job_id": job_id, "submitted_at": iso(-9)}
        write_json_atomic(self.run_dir.submitted_json, document)

    def header(self, job_id: str = "17", restart: int = 0, node: str = "n1", **changes: Any) -> dict[str, Any]:
        """A header with one package and DRAM, on a shared node of 8 CPUs of which the job holds 2."""
        return {
            "kind": "header",
            "schema": 1,
            "sidecar": "0.1.0",
            "run_id": self.run_id,
            "cluster": self.cluster,
            "job_id": job_id,
            "restart": restart,
            "array_job_id": None,
            "array_task_id": None,
            "node": node,
            "uid": self.uid,
            "boot_id": "b00t",
            "wall_ns": START_NS,
            "boottime_ns": BOOT_NS,
            "interval_s": 1.0,
            "record_s": 10.0,
            "cpus_alloc": 2,
            "cpus_node": 8,
            "cpu_model": "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz",
            "memory_node_b": 64 * 10**9,
            "memory_alloc_b": 8 * 10**9,
            "exclusive": True,
            "gpus": [],
            "cpu_time_source": "cgroup-v2",
            "channels": [PACKAGE, DRAM],
            "absent": [],
            **changes,
        }

    def record(self, at_s: float, energy_uj: list[int | None], **changes: Any) -> dict[str, Any]:
        """A record ``at_s`` seconds after START, in which every channel was measured all the time."""
        span_ns = round(at_s * SECOND)
        return {
            "kind": "record",
            "boottime_ns": BOOT_NS + span_ns,
            "wall_ns": START_NS + span_ns,
            "energy_uj": energy_uj,
            "measured_ns": [span_ns] * len(energy_uj),
            "errors": [0] * len(energy_uj),
            "max_w": [None] * len(energy_uj),
            "job_cpu_us": round(at_s * 1_000_000),
            "node_busy_us": round(at_s * 4_000_000),
            "memory_b": 10**9,
            "memory_peak_b": 2 * 10**9,
            **changes,
        }

    def records(self, watts: list[float], seconds: float, step_s: float = 10.0) -> list[dict[str, Any]]:
        """Records of constant power, one number a channel, the last one of kind ``end``."""
        count = round(seconds / step_s)
        lines = [
            self.record(step_s * number, [round(power * step_s * number * 1e6) for power in watts])
            for number in range(count + 1)
        ]
        lines[-1] |= {"kind": "end", "reason": "stopped"}
        return lines

    def samples(
        self, lines: list[dict[str, Any]], job_id: str = "17", restart: int = 0, node: str = "n1", mode: str = "w"
    ) -> Path:
        """Write a sample file of these lines."""
        path = self.run_dir.samples(job_id, restart, node)
        with path.open(mode) as file:
            file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        return path

    def end(self, exit_code: int = 0, start_s: float = 0, end_s: float = 60, **key: Any) -> None:
        """Write the end document of a job."""
        job_id, restart = key.get("job_id", "17"), key.get("restart", 0)
        write_json_atomic(
            self.run_dir.end_json(job_id, restart),
            {
                "schema": 1,
                "job_id": job_id,
                "restart": restart,
                "array_job_id": None,
                "array_task_id": None,
                "exit_code": exit_code,
                "started_wall_s": START_NS / 1e9 + start_s,
                "ended_wall_s": START_NS / 1e9 + end_s,
            },
        )

    def slurm(
        self,
        state: str = "COMPLETED",
        start_s: float | None = 0,
        end_s: float | None = 60,
        nodes: tuple[str, ...] = ("n1",),
        job_id: str = "17",
        restart: int = 0,
        **changes: Any,
    ) -> None:
        """Write Slurm's word on a job."""
        write_json_atomic(
            self.run_dir.slurm_json(job_id, restart),
            {
                "schema": 1,
                "cluster": self.cluster,
                "job_id": job_id,
                "restart": restart,
                "array_job_id": None,
                "array_task_id": None,
                "state": state,
                "exit_code": 0,
                "signal": 0,
                "submit_at": iso(-9),
                "eligible_at": iso(-9 if start_s is None else start_s),
                "start_at": None if start_s is None else iso(start_s),
                "end_at": None if end_s is None else iso(end_s),
                "elapsed_s": None,
                "partition": "batch",
                "account": "physics",
                "qos": "normal",
                "user": "alice",
                "nodes": list(nodes),
                "alloc_cpus": 16,
                "final": end_s is not None,
                **changes,
            },
        )

    def nodes(self, *nodes: dict[str, Any], job_id: str = "17", restart: int = 0) -> Path:
        """Write what is known of the nodes of a job; n1 with 8 CPUs and idle power where nothing is given."""
        idle = {"idle_power_uw": {"cpu": 40_000_000, "dram": 4_000_000}, "idle_power_source": "a wattmeter"}
        path = self.run_dir.nodes_json(job_id, restart)
        known = [{"node": "n1", "slurm_cpus": 8, "oversubscribed": False, **idle, **node} for node in nodes or ({},)]
        write_json_atomic(path, {"schema": 1, "job_id": job_id, "restart": restart, "nodes": known})
        return path


class FakeSpool:
    """A spool root in which runs are made, and the path of a ledger beside it.

    ``user`` is who runs say that they are of. What another process reads of them is of who the system says.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "spool"
        self.ledger = folder / "data" / "ledger.db"
        self.user = "alice"
        self._count = 0

    def run(self, job_id: str | None = "17", **changes: Any) -> FakeRun:
        """A new run with its ``run.json`` and, for a ``job_id``, its ``submitted.json``."""
        self._count += 1
        run_dir = RunDir.create(self.root, new_run_id(START, str(self._count)))
        run = FakeRun(run_dir, run_dir.path.stat().st_uid)
        run.document(**{"user": self.user, **changes})
        if job_id is not None:
            run.submitted(job_id)
        return run

    def whole_run(self, job_id: str = "17", watts: tuple[float, float] = (100.0, 10.0), **changes: Any) -> FakeRun:
        """A run of one node with a minute of samples, its end and Slurm's word."""
        run = self.run(job_id, **changes)
        run.samples([run.header(job_id), *run.records(list(watts), 60)], job_id)
        run.end(job_id=job_id)
        run.slurm(job_id=job_id)
        return run
