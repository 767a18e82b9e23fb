"""A spool of finished one-node jobs as it is left behind by them, and the floor of reading it."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcfrugal.core.user import user_name

START = datetime(2026, 10, 1, tzinfo=UTC)
CHANNELS = (
    ("cpu", "package-0", 95.0),
    ("cpu", "package-1", 88.0),
    ("dram", "dram-0", 13.0),
    ("dram", "dram-1", 12.0),
)
"""Component, domain and mean power in watts."""

_NS = 10**9
JOBS_A_DAY = 12_000


def started_at(number: int) -> datetime:
    """When the job of this number started: about as many a day as a large site has."""
    return START + timedelta(seconds=number * 86_400 // JOBS_A_DAY)


def write_spool(spool: Path, runs: int, seconds: int, record_s: int = 10, first: int = 0) -> int:
    """Write run directories of jobs that took ``seconds``, from the ``first`` on until there are ``runs``; returns the
    number of records in their sample files."""
    records = 0
    for number in range(first, runs):
        at = started_at(number)
        run_id = f"{at:%Y%m%dT%H%M%SZ}-{number:08x}"
        folder = spool / f"{at:%Y-%m}" / run_id
        folder.mkdir(mode=0o700, parents=True)
        for name, text in _files(number, run_id, at, seconds, record_s):
            (folder / name).write_text(text)
            records += name.endswith(".jsonl") and text.count("\n") - 1
        over_s = at.timestamp() + seconds + 60
        os.utime(folder, (over_s, over_s))
    for month in spool.iterdir():
        os.utime(month, (START.timestamp(), START.timestamp()))
    return records


def _files(number: int, run_id: str, at: datetime, seconds: int, record_s: int) -> Iterator[tuple[str, str]]:
    job_id, user, node = str(1_000_000 + number), user_name(), f"n{number % 400:04d}"
    start_s, cluster = int(at.timestamp()), "lab"
    end = at + timedelta(seconds=seconds)
    key = {"schema": 1, "job_id": job_id, "restart": 0}
    array = {"array_job_id": None, "array_task_id": None}
    yield "run.json", _line({
        "schema": 1, "run_id": run_id, "user": user, "uid": os.getuid(), "created_at": at.isoformat(),
        "hpcfrugal_version": "0.1.0", "backend": "slurm_cli", "host": "login1",
        "spec": {"name": f"train{number % 7}", "tags": {"project": f"p{number % 50}", "phase": "training"}},
        "plan": None, "carbon": {"zone": "DE", "pue": 1.3},
    })  # fmt: skip
    yield "submitted.json", _line({"schema": 1, "cluster": cluster, "job_id": job_id, "submitted_at": at.isoformat()})
    yield f"{job_id}.0.slurm.json", _line({
        **key, **array, "cluster": cluster, "state": "COMPLETED", "exit_code": 0, "signal": 0,
        "submit_at": at.isoformat(), "eligible_at": at.isoformat(), "start_at": at.isoformat(),
        "end_at": end.isoformat(), "elapsed_s": seconds, "partition": f"part{number % 4}",
        "account": f"acc{number % 50}", "qos": "normal", "user": user, "nodes": [node], "alloc_cpus": 32, "final": True,
    })  # fmt: skip
    yield (
        f"{job_id}.0.end.json",
        _line({**key, **array, "exit_code": 0, "started_wall_s": start_s, "ended_wall_s": start_s + seconds}),
    )
    yield f"{job_id}.0.nodes.json", _line({
        **key,
        "nodes": [{"node": node, "slurm_cpus": 128, "oversubscribed": False, "idle_power_uw": {"cpu": 60_000_000},
                   "idle_power_source": "wattmeter 2026-03", "tdp_uw": None}],
    })  # fmt: skip
    yield f"{job_id}.0.sidecar.log", ""
    yield f"{job_id}.0.{node}.jsonl", _samples(number, run_id, job_id, node, start_s, seconds, record_s)


def _samples(number: int, run_id: str, job_id: str, node: str, start_s: int, seconds: int, record_s: int) -> str:
    boot_ns = (start_s - 1_700_000_000) * _NS
    start_ns = start_s * _NS + number % 997 * 1_003_001
    header = {
        "kind": "header", "schema": 1, "sidecar": "0.1.0", "run_id": run_id, "cluster": "lab", "job_id": job_id,
        "restart": 0, "array_job_id": None, "array_task_id": None, "node": node, "uid": os.getuid(),
        "boot_id": f"{number % 400:08d}-1111-2222-3333-444455556666", "wall_ns": start_ns, "boottime_ns": boot_ns,
        "interval_s": 1.0, "record_s": float(record_s), "cpus_alloc": 32, "cpus_node": 128,
        "cpu_model": "AMD EPYC 7763 64-Core Processor", "memory_node_b": 256 * 10**9, "memory_alloc_b": 64 * 10**9,
        "exclusive": False, "gpus": [], "cpu_time_source": "cgroup-v2",
        "channels": [
            {"component": component, "domain": domain, "source": "rapl-powercap", "quality": "measured",
             "boundary": "components", "scope": "node", "counted": True, "range_uj": 262143328850,
             "detail": f"/sys/class/powercap/intel-rapl:{index}", "gpu_uuid": None}
            for index, (component, domain, _) in enumerate(CHANNELS)
        ],
        "absent": [{"component": "gpu", "source": "nvml-energy", "reason": "no NVIDIA driver"}],
        "usage": {"sources": {"memory": "cgroup-v2", "io": "procfs"}, "reasons": {"gpu": "the job holds no GPU"}},
    }  # fmt: skip
    lines = [_line(header)]
    times = range(0, seconds + 1, record_s)
    energy = [0] * len(CHANNELS)
    for at_s in times:
        span_ns = at_s * _NS
        if at_s:
            # Power that varies from record to record by a few percent, the same at every run of the benchmark.
            part = 1 + 0.02 * ((number + at_s // record_s) % 5 - 2)
            energy = [
                old + int(watts * 1e6 * record_s * part) for old, (_, _, watts) in zip(energy, CHANNELS, strict=True)
            ]
        record = {
            "kind": "record", "boottime_ns": boot_ns + span_ns, "wall_ns": start_ns + span_ns, "energy_uj": energy,
            "measured_ns": [span_ns] * 4, "errors": [0] * 4, "max_w": [round(watts * 1.3, 3) for *_, watts in CHANNELS],
            "job_cpu_us": at_s * 29_000_000, "node_busy_us": at_s * 101_000_000, "memory_b": 31 * 10**9,
            "memory_peak_b": 33 * 10**9, "memory_kib_s": at_s * 30_000_000, "memory_ns": span_ns,
            "page_faults_minor": at_s * 900, "page_faults_major": at_s // 60, "io_read_b": at_s * 10**6,
            "io_write_b": at_s * 10**5,
        }  # fmt: skip
        if at_s == times[-1]:
            record |= {"kind": "end", "reason": "stopped"}
        lines.append(_line(record))
    return "".join(lines)


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"


def floor(spool: Path, database: Path) -> tuple[int, float, float]:
    """The least that reading a spool in Python costs: all JSON files of each run parsed, and the numbers of the records
    in one table.

    Returns the number of records, CPU seconds and seconds.
    """
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = normal")
    connection.execute("CREATE TABLE records (file INTEGER, at_ns INTEGER, a, b, c, d)")
    cpu_s, began_s, records = time.process_time(), time.monotonic(), 0
    for number, folder in enumerate(sorted(spool.glob("*/*")), 1):
        rows = []
        for name in os.listdir(folder):
            if name.endswith(".json"):
                json.loads((folder / name).read_bytes())
            elif name.endswith(".jsonl"):
                with (folder / name).open("rb") as file:
                    for line in file:
                        found = json.loads(line)
                        if found["kind"] != "header":
                            rows.append((number, found["boottime_ns"], *found["energy_uj"]))
        if number % 64 == 1:
            connection.execute("BEGIN" if number == 1 else "COMMIT")
            if number > 1:
                connection.execute("BEGIN")
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)
        records += len(rows)
    connection.execute("COMMIT")
    connection.close()
    return records, time.process_time() - cpu_s, time.monotonic() - began_s
