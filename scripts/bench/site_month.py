"""How fast the files of node agents come into a site's ledger: nodes for a day, with jobs that come and go."""

from __future__ import annotations

import json
import random
import resource
import time
from datetime import date
from pathlib import Path
from typing import Any

from hpcfrugal.api.agent_map import read_agents
from hpcfrugal.api.messages import LoggedMessages
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.spool.accounting_text import AccountingQuery, store_answer
from hpcfrugal.spool.agent_layout import agent_file

_DAY = date(2026, 11, 21)
_START_S = 1_795_219_200
"""00:00 UTC of that day."""

_S = 10**9
_RECORD_S = 60
_CHANNELS = (
    ("cpu", "package-0", True), ("cpu", "package-0/core", False), ("dram", "package-0/dram", True),
    ("cpu", "package-1", True), ("cpu", "package-1/core", False), ("dram", "package-1/dram", True),
    ("node", "psys", False),
)  # fmt: skip
_COLUMNS = ("JobID", "Submit", "JobIDRaw", "Cluster", "User", "Account", "Partition", "QOS", "State", "Start", "End",
            "ElapsedRaw", "AllocCPUS", "NodeList", "AllocTRES", "TotalCPU", "JobName")  # fmt: skip


class _Node:
    """A node of the day, with so many jobs at a time, each of 10 minutes to 4 hours."""

    def __init__(self, number: int, jobs: int) -> None:
        self.name, self.draw, self.count = f"n{number}", random.Random(number), jobs
        self.next_id = number * 100_000
        self.rest, self.ended = [0] * len(_CHANNELS), [0] * len(_CHANNELS)
        self.live: list[dict[str, Any]] = []
        self.until: dict[str, int] = {}
        self.rows: list[list[str]] = []

    def write(self, root: Path) -> int:
        """Write the file of the day; how many records it has."""
        path = agent_file(root, self.name, _DAY)
        path.parent.mkdir(parents=True)
        records = 86_400 // _RECORD_S
        with path.open("w") as file:
            file.write(_line(self._header()))
            file.write(_line(self._record(0)))
            for number in range(1, records):
                for job in self._step(number * _RECORD_S):
                    file.write(_line(job))
                file.write(_line(self._record(number * _RECORD_S)))
        return records

    def _header(self) -> dict[str, Any]:
        channels = [
            {
                "component": component, "domain": domain, "source": "rapl-powercap", "quality": "measured",
                "detail": "/sys/class/powercap/intel-rapl:0", "scope": "node", "counted": counted, "gpu_uuid": None,
                "boundary": "node" if component == "node" else "components",
            }
            for component, domain, counted in _CHANNELS
        ]  # fmt: skip
        return {
            "kind": "header", "schema": 1, "agent": "1", "node": self.name, "boot_id": "b", "wall_ns": _START_S * _S,
            "boottime_ns": _S, "interval_s": 1.0, "record_s": 60.0, "cpus_node": 128, "channels": channels,
        }  # fmt: skip

    def _step(self, at_s: int) -> list[dict[str, Any]]:
        """A minute later: energy for all, then the lines of jobs that have ended."""
        for index in range(len(_CHANNELS)):
            self.rest[index] += self.draw.randrange(2 * 10**9)
            for job in self.live:
                job["energy_uj"][index] += self.draw.randrange(10**9)
        for job in self.live:
            job["cpu_us"] += 60 * 10**6
        over = [job for job in self.live if self.until[job["job_id"]] <= at_s]
        for job in over:
            self.ended = [old + new for old, new in zip(self.ended, job["energy_uj"], strict=True)]
        self.live = [job for job in self.live if job not in over]
        while len(self.live) < self.count:
            self._start(at_s)
        return [{"kind": "job", "ended_ns": (at_s + 1) * _S, **job} for job in over]

    def _start(self, at_s: int) -> None:
        job_id, length_s = str(self.next_id), self.draw.randrange(10, 240) * 60
        self.next_id += 1
        self.until[job_id] = at_s + length_s
        self.live.append(
            {
                "job_id": job_id, "sluid": None, "uid": 1000, "first_ns": (at_s + 1) * _S, "cpus": 8, "cpu_us": 0,
                "energy_uj": [0] * len(_CHANNELS), "idle_uj": [],
            }
        )  # fmt: skip
        start_s = _START_S + at_s
        cells = {
            "JobID": job_id, "JobIDRaw": job_id, "Submit": str(start_s - 60), "Start": str(start_s), "Cluster": "c1",
            "End": str(start_s + length_s), "ElapsedRaw": str(length_s), "State": "COMPLETED", "AllocCPUS": "8",
            "NodeList": self.name, "User": f"user{self.next_id % 200}", "Account": "a", "Partition": "batch",
            "AllocTRES": "cpu=8,mem=16G,node=1", "TotalCPU": "00:10:00", "JobName": "job", "QOS": "normal",
        }  # fmt: skip
        self.rows.append([cells[name] for name in _COLUMNS])

    def _record(self, at_s: int) -> dict[str, Any]:
        parts = [self.rest, self.ended, *(job["energy_uj"] for job in self.live)]
        measured_ns = at_s * _S
        return {
            "kind": "record", "wall_ns": (_START_S + at_s) * _S, "boottime_ns": (at_s + 1) * _S,
            "energy_uj": list(map(sum, zip(*parts, strict=True))), "rest_uj": self.rest, "ended_uj": self.ended,
            "measured_ns": [measured_ns] * len(_CHANNELS), "errors": [0] * len(_CHANNELS), "node_busy_us": at_s * 10**6,
            "jobs": self.live,
        }  # fmt: skip


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":")) + "\n"


def measure(folder: Path, nodes: int, jobs: int, processes: int = 1) -> dict[str, Any]:
    """A day of ``nodes`` with ``jobs`` at a time on each: records a second of CPU time of the process that fills the
    ledger, what that and others took, the wall clock, and the size of the ledger. ``processes``: files are read by so
    many, as with ``site sync --executor local``."""
    root, ledger = folder / f"spool-{nodes}", folder / f"ledger-{nodes}.db"
    made = [_Node(number, jobs) for number in range(1, nodes + 1)]
    records = sum(node.write(root) for node in made)
    rows = [row for node in made for row in node.rows]
    query = AccountingQuery("c1", (_START_S + 90_000) * _S, "*", _START_S * _S, (_START_S + 86_400) * _S)
    store_answer(root, query, "\n".join("|".join(row) for row in [list(_COLUMNS), *rows]) + "\n")
    begun_s, cpu_s, read_s = time.monotonic(), time.process_time(), _of_children_s()
    if processes > 1:
        read_agents("local", processes, {}, root, ledger, LoggedMessages())
    sync(root, ledger)
    cpu_s, wall_s, read_s = time.process_time() - cpu_s, time.monotonic() - begun_s, _of_children_s() - read_s
    with open_ledger(ledger) as connection:
        (known,) = connection.execute("SELECT count(DISTINCT job) FROM agent_jobs").fetchone()
    return {
        "nodes": nodes, "jobs_at_a_time": jobs, "records": records, "jobs": len(rows), "jobs_measured": known,
        "processes": processes, "cpu_s": round(cpu_s, 2), "cpu_s_of_readers": round(read_s, 2),
        "wall_s": round(wall_s, 2), "records_per_cpu_s": round(records / cpu_s),
        "ledger_bytes": ledger.stat().st_size,
    }  # fmt: skip


def _of_children_s() -> float:
    """CPU time of processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
