"""How long jobs waited in the queue of late: one sacct over a bounded time, kept for an hour in the user's cache."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.time import iso, parse_iso
from hpcfrugal.planning.optimise.waiting import PastWait
from hpcfrugal.slurm import commands
from hpcfrugal.spool import read_json, write_json_atomic

LOOKED_BACK = timedelta(days=2)
"""Long enough to hold a night and a day, short enough for sacct to answer at once."""

KEPT = timedelta(hours=1)
FAILURE_KEPT = timedelta(minutes=10)
MOST_JOBS = 5000
"""The newest so many are kept."""

_SCHEMA = 1
_COLUMNS = "Partition,NNodes,Submit,Eligible,Start"


@dataclass(frozen=True, slots=True)
class PastWaits:
    """Waits of jobs that have started, or why they are not known."""

    jobs: tuple[PastWait, ...] = ()
    problem: str | None = None


def past_waits(
    partition: str | None,
    now: datetime,
    folder: Path,
    *,
    timeout_s: float | None,
    environ: Mapping[str, str] = os.environ,
) -> PastWaits:
    """Waits of all users' jobs of the last days, as far as the site lets them be seen.

    A job waits from when it could start (submitted, its begin time come, what it depends on over) until it started.
    ``partition`` may name several with commas; None asks about all. ``folder`` is where answers are kept; without
    ``timeout_s`` only these count.
    """
    # A home may be shared by the login nodes of several clusters.
    where = [socket.gethostname(), environ.get("SLURM_CONF", ""), environ.get("SLURM_CLUSTERS", ""), partition or ""]
    path = folder / f"{hashlib.sha256(repr(where).encode()).hexdigest()[:32]}.json"
    if (kept := _kept(path, now)) is not None:
        return kept
    if timeout_s is None:
        return PastWaits(problem="sacct took too long before, and is not asked again")
    found = _asked(partition, now, timeout_s)
    told: dict[str, Any] = {"schema": _SCHEMA, "asked_at": iso(now), "problem": found.problem}
    told["jobs"] = [[job.partition, job.size, int(job.wait.total_seconds())] for job in found.jobs]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json_atomic(path, told)
    except OSError:
        return found  # it is asked for again next time, which costs only time
    return found


def _kept(path: Path, now: datetime) -> PastWaits | None:
    """What an earlier command was told, as long as it holds."""
    told = read_json(path)
    if told is None or told.get("schema") != _SCHEMA:
        return None
    try:
        age = now - parse_iso(told["asked_at"])
        problem = told["problem"]
        jobs = tuple(PastWait(str(name), int(size), timedelta(seconds=wait_s)) for name, size, wait_s in told["jobs"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not isinstance(problem, str | None) or any(job.size < 1 or job.wait < timedelta() for job in jobs):
        return None
    holds = KEPT if problem is None else FAILURE_KEPT
    return PastWaits(jobs, problem) if timedelta() <= age < holds else None


def _asked(partition: str | None, now: datetime, timeout_s: float) -> PastWaits:
    argv = ["sacct", "--allusers", "--allocations", "--parsable2", "--noheader", f"--format={_COLUMNS}"]
    argv += [f"--starttime={_slurm(now - LOOKED_BACK)}", f"--endtime={_slurm(now)}"]
    if partition is not None:
        argv.append(f"--partition={partition}")
    try:
        code, out, err = commands.run(argv, timeout_s=timeout_s)
    except SetupError as error:
        return PastWaits(problem=error.message)
    if code != 0:
        return PastWaits(problem=f"sacct failed: {commands.first_line(err)}")
    return PastWaits(tuple(_parse(out.splitlines())[-MOST_JOBS:]))


def _parse(lines: Sequence[str]) -> list[PastWait]:
    found = []
    for line in lines:
        cells = line.split("|")
        if len(cells) != len(_COLUMNS.split(",")):
            continue
        name, nodes, submit, eligible, start = cells
        # Those that wait still have no start; of what Slurm does not know it says so in a word.
        moments = [_moment(text) for text in (submit, eligible, start)]
        if not nodes.isdigit() or int(nodes) < 1 or moments[0] is None or moments[1] is None or moments[2] is None:
            continue
        wait = moments[2] - max(moments[0], moments[1])
        found.append((moments[2], PastWait(name, int(nodes), max(timedelta(), wait))))
    return [job for _, job in sorted(found, key=lambda one: one[0])]


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _slurm(moment: datetime) -> str:
    """As Slurm's commands read it; ``commands`` runs them in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
