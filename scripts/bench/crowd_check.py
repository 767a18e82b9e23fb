"""What the files of a crowd of sidecars say, against what is known: records, readings, CPU time, energy.

Everything that is not as it should be becomes a line of ``problems``; the figures are there either way.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowd_jobs import Job
from crowd_node import NAME, PROJECT, truth_uj

from hpcfrugal.ledger.sync import sync

LATEST_S = 1.0
"""A record later than this after its moment counts as missing."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class FileFigures:
    """One sidecar's file. ``late_s`` is the latest record behind its moment, ``energy_error`` the largest
    relative error of a channel against the truth over the same span, ``cpu_error_ticks`` what the job's CPU
    time is off from the kernel's own count."""

    records: int
    expected: int
    size_b: int
    first_ns: int
    end_ns: int
    late_s: float
    energy_error: float
    cpu_error_ticks: int
    job_cpu_us: int
    cpu_time_source: str | None
    problems: tuple[str, ...]


def check_file(job: Job, record_s: float, ticks: int, own_cpu_s: float = 0.0) -> FileFigures:
    """Read the file of ``job``, whose processes used ``ticks`` between its first and its last record. ``own_cpu_s`` is
    what the sidecar itself used, where that is the job's too."""
    data = job.samples.read_bytes()
    lines = [json.loads(line) for line in data.split(b"\n")[:-1]]
    problems: list[str] = []
    kinds = [line["kind"] for line in lines]
    if kinds != ["header", *["record"] * (len(lines) - 2), "end"] or not data.endswith(b"\n"):
        problems.append(f"lines are {kinds}")
    header, records = lines[0], [line for line in lines if line["kind"] != "header"]
    first, end = records[0], records[-1]
    first_ns, end_ns = first["boottime_ns"], end["boottime_ns"]
    due = range(first_ns, end_ns, round(record_s * 1e9))
    stamps = [record["boottime_ns"] for record in records[:-1]]
    late = [(stamp - moment) / 1e9 for stamp, moment in zip(stamps, due, strict=False)]
    missing = [number for number, behind in enumerate(late) if not -0.1 <= behind <= LATEST_S]
    if len(stamps) != len(due) or missing:
        problems.append(f"{len(stamps)} records for {len(due)} moments; off their moment: {missing}")
    problems += _doubts(records)
    job_cpu_us = end["job_cpu_us"]
    cpu_error = 0
    if job_cpu_us is None or end["node_busy_us"] is None:
        problems.append("no CPU time")
    else:
        cpu_error = round((job_cpu_us / 1e6 - own_cpu_s) * _TICKS_PER_S) - ticks
    return FileFigures(
        records=len(records),
        expected=len(due) + 1,
        size_b=len(data),
        first_ns=first_ns,
        end_ns=end_ns,
        late_s=max(late, default=0.0),
        energy_error=max(_energy_errors(header, first, end), default=float("nan")),
        cpu_error_ticks=cpu_error,
        job_cpu_us=job_cpu_us or 0,
        cpu_time_source=header["cpu_time_source"],
        problems=tuple(f"job {job.job_id}: {problem}" for problem in problems),
    )


def _doubts(records: Sequence[dict[str, Any]]) -> Iterable[str]:
    end = records[-1]
    if end.get("reason") != "stopped":
        yield f"ended as {end.get('reason')}"
    for key in ("resets", "gaps"):
        if key in end:
            yield f"{key}: {end[key]}"
    if any(end["errors"]):
        yield f"failed reads: {end['errors']}"
    if any(None in record["energy_uj"] for record in records):
        yield "a channel without energy"
    if any("note" in record for record in records):
        yield "slowed down"
    span_ns = end["boottime_ns"] - records[0]["boottime_ns"]
    unmeasured_ns = max(abs(span_ns - measured_ns) for measured_ns in end["measured_ns"])
    if unmeasured_ns > 0.1e9:
        yield f"{unmeasured_ns / 1e9:.3f} s not measured"


def _energy_errors(header: dict[str, Any], first: dict[str, Any], end: dict[str, Any]) -> Iterable[float]:
    for channel, energy_uj in zip(header["channels"], end["energy_uj"], strict=True):
        true_uj = truth_uj(os.path.basename(channel["detail"]), first["boottime_ns"], end["boottime_ns"])
        if energy_uj is not None:
            yield abs(energy_uj - true_uj) / true_uj


@dataclass(frozen=True, slots=True)
class Closure:
    """Energy of one channel of the node in µJ over the time in which any sidecar read it.

    ``true_uj`` is the closed form, ``node_uj`` what was read, ``given_uj`` the sum of the jobs' shares and
    ``residual_uj`` the row of what no job gets, each as ``report --nodes`` has it; ``ledger_uj`` is the sum of the
    shares that the ledger gives the jobs, each by the job's own records alone. ``edge`` is the part of the time in
    which not all sidecars are at work: there the report may read one of them between two records, by a straight line.
    """

    channel: str
    jobs: int
    true_uj: int
    node_uj: int
    given_uj: int
    residual_uj: int
    ledger_uj: int
    edge: float

    def problems(self, jobs: int, most_error: float) -> Iterable[str]:
        """What does not add up among ``jobs`` jobs."""
        if self.jobs != jobs:
            yield f"{self.channel}: {self.jobs} of {jobs} jobs have a share"
        if self.given_uj + self.residual_uj != self.node_uj:
            yield f"{self.channel}: {self.node_uj - self.given_uj - self.residual_uj} uJ with nobody"
        if self.residual_uj < 0:
            yield f"{self.channel}: {-self.residual_uj} uJ more given than was read"
        if self.ledger_uj > self.node_uj:
            yield f"{self.channel}: {self.ledger_uj - self.node_uj} uJ more in the ledger than was read"
        if abs(self.node_uj - self.true_uj) > (most_error + self.edge) * self.true_uj:
            yield f"{self.channel}: read {self.node_uj} uJ of {self.true_uj}"


def close(spool: Path, ledger: Path, files: Sequence[FileFigures]) -> list[Closure]:
    """Sync the spool into a ledger and have the node reported. Raises RuntimeError where anything is wrong with it."""
    result = sync(spool, ledger)
    if result.skipped or result.problem_files or result.vanished or result.vanished_files:
        raise RuntimeError(f"the ledger has problems: {result}")
    with closing(sqlite3.connect(ledger)) as connection:
        in_ledger = {
            channel: (energy_uj, os.path.basename(detail))
            for channel, energy_uj, detail in connection.execute(
                "SELECT channel, sum(energy_uj), max(detail) FROM channels JOIN channel_kinds USING (kind)"
                " WHERE counted AND attribution = 'cpu-share' GROUP BY channel"
            )
        }
    start_ns, end_ns = min(file.first_ns for file in files), max(file.end_ns for file in files)
    all_ns = min(file.end_ns for file in files) - max(file.first_ns for file in files)
    edge = 1 - all_ns / (end_ns - start_ns)
    rows = []
    for row in _report(spool, ledger):
        name = f"{row['component']}/{row['domain']}/{row['source']}"
        ledger_uj, zone = in_ledger.pop(name)
        given_uj = sum(share["energy_uj"] for share in row["jobs"])
        true_uj = truth_uj(zone, start_ns, end_ns)
        sharing = len(row["jobs"]) - len(row["jobs_without_share"])
        rows.append(Closure(name, sharing, true_uj, row["energy_uj"], given_uj, row["rest_uj"], ledger_uj, edge))
    if in_ledger:
        raise RuntimeError(f"not in the report: {sorted(in_ledger)}")
    return rows


def _report(spool: Path, ledger: Path) -> list[dict[str, Any]]:
    """The counted channels of the one node there is, as ``hpcfrugal report --nodes`` has them."""
    argv = [sys.executable, "-m", "hpcfrugal", "report", "--nodes", "--json", "--since", "all", "--no-sync"]
    environ = {**os.environ, "HPCFRUGAL_SPOOL": str(spool), "HOME": str(spool.parent)}
    done = subprocess.run(
        [*argv, "--ledger", str(ledger)], capture_output=True, text=True, env=environ, check=False, cwd=PROJECT
    )
    if done.returncode:
        raise RuntimeError(f"report --nodes ended with {done.returncode}: {done.stderr.strip()}")
    document = json.loads(done.stdout)
    if document["missing"] or [node["node"] for node in document["nodes"]] != [NAME]:
        raise RuntimeError(f"not one node with all its files: {document['missing']}, {len(document['nodes'])} nodes")
    return [channel for channel in document["nodes"][0]["channels"] if channel["counted"]]
