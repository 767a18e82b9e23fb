"""The run of the `crowd` benchmark: start, wait, stop, and put the figures together."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import common
from crowd_check import check_file, close
from crowd_jobs import (
    PATTERN,
    Ended,
    Job,
    cpu_s,
    memory_kib,
    ticks_by_session,
    unified_groups,
    wait_for_baselines,
)
from crowd_node import NAME, Node

from hpcfrugal.spool.zipapp import sidecar_zipapp

INTERVAL_S = 1.0
MOST_ENERGY_ERROR = 0.001
"""Of any channel over a minute; more over a shorter run, for the counters move in steps of 5 ms."""

_SETTLE_S = 0.3
_GROUP_TICKS = 5
"""A group counts in microseconds, and the processes that it is compared with in whole ticks each."""

_SHM = Path("/dev/shm")


def measure(
    count: int,
    seconds: float,
    *,
    percents: Sequence[int] = PATTERN,
    interval_s: float = INTERVAL_S,
    record_s: float = 10.0,
    grouped: bool = False,
) -> dict[str, Any]:
    """Run ``count`` jobs with their sidecars for ``seconds``; everything wrong is in ``problems``.

    ``grouped``: each job has a control group of its own, with its sidecar in it. Raises RuntimeError where the run
    itself went wrong, OSError where the machine would not have it.
    """
    groups = _make_groups() if grouped else None
    disk = Path(tempfile.mkdtemp(prefix="hpcfrugal-crowd-"))
    memory = Path(tempfile.mkdtemp(prefix="hpcfrugal-crowd-", dir=_SHM if _SHM.is_dir() else None))
    jobs: list[Job] = []
    try:
        meter = common.Others()
        begun_s = time.monotonic()
        with Node(memory) as node:
            zipapp = sidecar_zipapp(disk / "sidecar.pyz")
            for number in range(count):
                jobs.append(Job(disk / "spool", zipapp, NAME, number, percents[number % len(percents)], groups))
            run = _Run(jobs, node, interval_s, record_s)
            run.at_work(seconds)
            if not node.is_moving:
                raise RuntimeError("the counters stood still")
        # The jobs' processes are ours too, but nobody waited for those that their root left behind.
        jobs_cpus = sum(run.ticks) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begun_s)
        others_cpus = round(max(0.0, meter.cpus() - jobs_cpus), 2)
        most_error = MOST_ENERGY_ERROR * max(1.0, 60 / seconds)
        return {"others_cpus": others_cpus, **run.figures(disk / "spool", disk / "ledger.db", most_error)}
    finally:
        for job in jobs:
            job.kill()
        if groups is not None:
            groups.rmdir()
        shutil.rmtree(disk)
        shutil.rmtree(memory)


def _make_groups() -> Path:
    found = unified_groups()
    if found is None:
        raise RuntimeError("no control groups of version 2 here")
    groups = found / f"hpcfrugal-crowd-{os.getpid()}"
    groups.mkdir()
    return groups


class _Run:
    def __init__(self, jobs: Sequence[Job], node: Node, interval_s: float, record_s: float) -> None:
        self.jobs = jobs
        self.node = node
        self.interval_s = interval_s
        self.record_s = record_s
        self.grouped = any(job.group is not None for job in jobs)
        self.start_cpu_s: list[float] = []
        self.work_cpu_s: list[float] = []
        self.memory: list[tuple[int, int]] = []
        self.ended: list[Ended] = []
        self.ticks: list[int] = []
        self.worked_s = 0.0
        self.processes = 0

    def at_work(self, seconds: float) -> None:
        """All start at once, work for ``seconds`` and end at once."""
        for job in self.jobs:
            job.start(self.node.sysfs, self.interval_s, self.record_s)
        wait_for_baselines(self.jobs)
        before = ticks_by_session()
        self.start_cpu_s = [cpu_s(job.pid) for job in self.jobs]
        for job in self.jobs:
            job.go()
        time.sleep(min(_SETTLE_S, self.interval_s / 3))
        begun_s, cpu = time.monotonic(), [cpu_s(job.pid) for job in self.jobs]
        self.processes = sum(name.isdigit() for name in os.listdir("/proc"))
        time.sleep(seconds)
        self.worked_s = time.monotonic() - begun_s
        self.work_cpu_s = [cpu_s(job.pid) - used_s for job, used_s in zip(self.jobs, cpu, strict=True)]
        self.memory = [memory_kib(job.pid) for job in self.jobs]
        for job in self.jobs:
            job.stop_load()
        time.sleep(0.1)
        after = ticks_by_session()
        self.ticks = [after[job.session] - before[job.session] for job in self.jobs]
        closed_s = time.monotonic()
        for job in self.jobs:
            job.close_input()
        self.ended = [job.end(closed_s) for job in self.jobs]

    def _own_s(self) -> list[float]:
        """CPU seconds of each sidecar that are the job's too: those from its baseline on, in a group."""
        if not self.grouped:
            return [0.0] * len(self.jobs)
        return [ended.cpu_s - start_s for ended, start_s in zip(self.ended, self.start_cpu_s, strict=True)]

    def figures(self, spool: Path, ledger: Path, most_energy_error: float) -> dict[str, Any]:
        """Everything about the run, in the order of the report."""
        files = [
            check_file(job, self.record_s, ticks, own_s)
            for job, ticks, own_s in zip(self.jobs, self.ticks, self._own_s(), strict=True)
        ]
        closure = close(spool, ledger, files)
        problems = [problem for file in files for problem in file.problems]
        for job, ended, file in zip(self.jobs, self.ended, files, strict=True):
            if ended.exit_code or ended.said:
                problems.append(f"job {job.job_id}: exit code {ended.exit_code}: {ended.said.strip()}")
            if not file.energy_error <= most_energy_error:
                problems.append(f"job {job.job_id}: energy off by {file.energy_error:.3%}")
            if abs(file.cpu_error_ticks) > (_GROUP_TICKS if self.grouped else 0):
                problems.append(f"job {job.job_id}: CPU time off by {file.cpu_error_ticks} ticks")
        for row in closure:
            problems += row.problems(len(self.jobs), most_energy_error)
        per_60s = [used_s / self.worked_s * 60 for used_s in self.work_cpu_s]
        baselines = [(file.first_ns - job.started_ns) / 1e9 for job, file in zip(self.jobs, files, strict=True)]
        return {
            "count": len(self.jobs),
            "seconds": self.worked_s,
            "record_s": self.record_s,
            "processes_on_machine": self.processes,
            "cpu_time_source": files[0].cpu_time_source,
            "records": sum(file.records for file in files),
            "records_expected": sum(file.expected for file in files),
            "cpu_s_per_60s": sum(per_60s),
            "cpu_s_per_60s_median": common.median(per_60s),
            "cpu_s_per_60s_most": max(per_60s),
            "cpu_start_s": sum(self.start_cpu_s),
            "cpu_life_s": sum(ended.cpu_s for ended in self.ended),
            "cpu_life_s_median": common.median([ended.cpu_s for ended in self.ended]),
            "pss_kib": sum(pss for _, pss in self.memory),
            "peak_rss_kib": sum(peak for peak, _ in self.memory),
            "peak_rss_kib_most": max(peak for peak, _ in self.memory),
            "baseline_s_median": common.median(baselines),
            "baseline_s_most": max(baselines),
            "late_s_most": max(file.late_s for file in files),
            "gone_s_most": max(ended.gone_s for ended in self.ended),
            "spool_bytes": sum(file.size_b for file in files),
            "energy_error_percent": 100 * max(file.energy_error for file in files),
            "job_cpu_s": sum(file.job_cpu_us for file in files) / 1e6,
            "job_cpu_error_ticks": max(abs(file.cpu_error_ticks) for file in files),
            "closure": [asdict(row) for row in closure],
            "problems": problems,
        }
