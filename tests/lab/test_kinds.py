"""Each kind of job ends as under plain sbatch, is in the ledger as in Slurm, and has its energy once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .conftest import STATE_DIR, Lab
from .kinds import KINDS, Kind
from .test_jobs import Alice

pytestmark = [pytest.mark.lab, pytest.mark.alone]

OPTIONS = "#SBATCH --mem=200M --time=3\n"
AT_ONCE = int(os.environ.get("HPCFRUGAL_KINDS_AT_ONCE", "0"))
"""So many kinds at a time, where the CPUs are too few or too slow for all of them."""
OUTSIDE = {"FROM_OUTSIDE": "1"}


@dataclass
class Pair:
    """The jobs of a kind, by sbatch and by hpcfrugal, what is done to them, and when they were over."""

    kind: Kind
    plain: str
    ours: str
    event: Future[None] | None = None
    took_s: float = 0.0

    @property
    def jobs(self) -> tuple[str, str]:
        return self.plain, self.ours


class Row(NamedTuple):
    """A row of sacct for an execution of a job, or for a step. ``part`` is its id without the job's number."""

    part: str
    state: str
    exit_code: str
    name: str
    end: str

    @property
    def is_step(self) -> bool:
        return "." in self.part


def is_here(kind: Kind) -> bool:
    """Whether this lab can have jobs of this kind, and is to."""
    conf = STATE_DIR / "etc"
    limited = "ConstrainRAMSpace=yes" in (conf / "cgroup.conf").read_text()
    limited &= "proctrack/cgroup" in (conf / "slurm.conf").read_text()
    return (limited or not kind.needs_memory_limit) and (kind.in_ci or bool(os.environ.get("HPCFRUGAL_ALL_KINDS")))


def folder(alice: Alice, kind: Kind) -> Path:
    return alice.home / "kinds" / re.sub("[^a-z]+", "-", kind.name.lower())


def submit(alice: Alice, kinds: Sequence[Kind], known: Mapping[str, Pair] | None = None) -> dict[str, Pair]:
    """Each of them by sbatch and by hpcfrugal."""
    files: dict[str, list[str]] = {"plain": [], "ours": []}
    for kind in kinds:
        folder(alice, kind).mkdir(parents=True, exist_ok=True)
        for who, paths in files.items():
            lines = OPTIONS if "-w n" in kind.script else OPTIONS + "#SBATCH -x n4\n"
            lines += f"#SBATCH --output={folder(alice, kind)}/{who}-%a\n"
            if kind.after is not None and known is not None:
                condition, other = kind.after
                lines += f"#SBATCH --dependency={condition}:{getattr(known[other], who)}\n"
            path = folder(alice, kind) / f"{who}.sh"
            path.write_text(f"#!/bin/bash\n{lines}{kind.script_of(who)}")
            paths.append(str(path))
    alice.lab.exec(["chown", "-R", "alice:", str(alice.home / "kinds")])
    loop = 'for file; do sbatch --parsable "$file" || exit; done'
    plain = alice.run("bash", "-c", loop, "bash", *files["plain"], env=OUTSIDE).stdout.split()
    told = alice.hpcfrugal("submit", "--json", *files["ours"], env=OUTSIDE).stdout.splitlines()
    ours = [json.loads(line)["job_id"] for line in told]
    return {kind.name: Pair(kind, *both) for kind, *both in zip(kinds, plain, ours, strict=True)}


def listed(alice: Alice, pairs: Sequence[Pair]) -> dict[str, list[Row]]:
    """The rows of sacct, by the number of the job, array or heterogeneous job."""
    ids = ",".join(job for pair in pairs for job in pair.jobs)
    out = alice.run("sacct", "-DPn", "-j", ids, "-o", "JobID,State,ExitCode,JobName,End").stdout
    found = defaultdict(list)
    for line in out.splitlines():
        shown_id, state, code, name, end = line.split("|")
        job, part = re.fullmatch("([0-9]+)(.*)", shown_id).groups()  # type: ignore[union-attr]
        found[job].append(Row(part, state.split()[0], code, name, end))
    return found


def over(alice: Alice, pairs: Sequence[Pair]) -> list[Pair]:
    """Those of them that are over: done with, not in the queue, and with an end in accounting."""
    out = alice.run("squeue", "-h", "-u", "alice", "-o", "%F %i").stdout
    queued = {re.split("[+_]", name)[0] for name in out.split()}
    known = listed(alice, pairs)
    return [
        pair
        for pair in pairs
        if (pair.event is None or pair.event.done())
        and not queued & set(pair.jobs)
        and all(known[job] and not any(row.end == "Unknown" for row in known[job]) for job in pair.jobs)
    ]


def differences(
    alice: Alice, pair: Pair, known: Mapping[str, list[Row]], reports: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Between both jobs, and between Slurm and the ledger."""
    if pair.event is not None and (error := pair.event.exception()) is not None:
        yield f"event: {error!r}"
    plain, ours = (known[job] for job in pair.jobs)
    executions = sorted(ended(row.state, row.exit_code) for row in plain if not row.is_step)
    if executions != sorted(pair.kind.ends):
        yield f"plain sbatch ends with {executions}"
    if numbered(plain) != numbered([row for row in ours if row.name != "hpcfrugal-sidecar"]):
        yield f"sacct: {plain} by sbatch, {ours} by hpcfrugal"
    texts = [
        {
            path.name.removeprefix(who): shown(path.read_text(), job)
            for path in folder(alice, pair.kind).glob(f"{who}-*")
        }
        for who, job in zip(("plain", "ours"), pair.jobs, strict=True)
    ]
    if texts[0] != texts[1]:
        yield f"output: {texts}"
    in_sacct = sorted(ended(row.state, row.exit_code) for row in ours if not row.is_step and row.state != "RESIZING")
    in_ledger = sorted(ended(one["state"], f"{one['exit_code']}:0") for one in reports)
    if in_ledger != in_sacct:
        yield f"ledger: {in_ledger}, sacct: {in_sacct}"
    # 0 J of an execution without a tick of CPU time is measured, too.
    measured = [one for one in reports if one["modelled_j"] is None and one["measured_j"] is not None]
    if len(measured) != len(pair.kind.ends) - pair.kind.ends.count("RESIZING") - pair.kind.never_ran:
        yield f"energy: {[(one['measured_j'], one['modelled_j']) for one in reports]}"


def ended(state: str, exit_code: str) -> str:
    """The state, with the exit code of a job that ended by itself; else that is what a release of Slurm makes of it."""
    return f"{state}|{exit_code}" if state in ("COMPLETED", "FAILED") else state


def numbered(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Their ids, states and exit codes, with the steps numbered anew, since the sidecar may be one of them."""
    last: dict[str, int] = {}
    found = []
    for row in sorted(rows, key=lambda row: [part.zfill(9) for part in re.split(r"(\d+)", row.part)]):
        job, _, step = row.part.partition(".")
        if step.isdecimal():
            last[job] = last.get(job, -1) + 1
            step = str(last[job])
        found.append((f"{job}.{step}", row.state, row.exit_code))
    return found


def shown(text: str, job: str) -> str:
    """Output without what differs from job to job, and lines of parallel tasks in order. On a slow machine slurmstepd
    may add that a control group of its own is not empty yet."""
    text = re.sub(rf"\b(job[ _]){job}\b", "J", text, flags=re.IGNORECASE)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "T", re.sub(r"StepId=\S+|\b(n[1-4])\b", "N", text))
    return "\n".join(sorted(line for line in text.splitlines() if "cgroup.events to become empty" not in line))


@pytest.fixture
def alice(lab: Lab) -> Iterator[Alice]:
    lab.install()
    one = Alice(lab)
    subprocess.run(["rm", "-rf", one.data, one.home / "kinds"], check=True)
    words = "reservationname=kinds starttime=now duration=30 users=alice nodes=n3 corecnt=2 flags=ignore_jobs"
    lab.exec(["scontrol", "create", "reservation", *words.split()])
    yield one
    lab.exec(["scontrol", "delete", "reservationname=kinds"])


def run_all(alice: Alice, kinds: Sequence[Kind]) -> dict[str, Pair]:
    """Submit jobs of each kind, and wait for them; those on n4 one after the other, since that node is failed."""

    def run(some: Sequence[Kind]) -> dict[str, Pair]:
        began = time.monotonic()
        pairs = submit(alice, [kind for kind in some if kind.after is None])
        for pair in pairs.values():
            if pair.kind.event is not None:
                pair.event = pool.submit(pair.kind.event, alice.lab, pair.jobs)
        if later := [kind for kind in some if kind.after is not None]:
            pairs |= submit(alice, later, pairs)
        waiting = list(pairs.values())
        while waiting:
            assert time.monotonic() < began + 300, [pair.kind.name for pair in waiting]
            for pair in over(alice, waiting):
                pair.took_s = time.monotonic() - began
                waiting.remove(pair)
            time.sleep(0.5)
        return pairs

    def run_in_turn(some: Sequence[Kind], at_once: int) -> dict[str, Pair]:
        found = {}
        for first in range(0, len(some), at_once):
            found |= run(some[first : first + at_once])
        return found

    on_n4 = [kind for kind in kinds if "-w n4" in kind.script]
    elsewhere = [kind for kind in kinds if kind not in on_n4]
    with ThreadPoolExecutor(16) as pool:
        if AT_ONCE:
            return run_in_turn(elsewhere, AT_ONCE) | run_in_turn(on_n4, 1)
        beside = pool.submit(run_in_turn, on_n4, 1)
        return run(elsewhere) | beside.result()


def test_each_kind_ends_as_under_sbatch(alice: Alice, capfd: pytest.CaptureFixture[str]) -> None:
    pairs = run_all(alice, [kind for kind in KINDS if is_here(kind)])
    assert pairs
    alice.hpcfrugal("ledger", "sync")
    reports: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in json.loads(alice.hpcfrugal("report", "--all", "--json").stdout)["jobs"]:
        reports[one["array_job_id"] or one["het_job_id"] or one["job_id"]].append(one)
    known = listed(alice, list(pairs.values()))
    found = {name: list(differences(alice, pair, known, reports[pair.ours])) for name, pair in pairs.items()}

    nodes: list[dict[str, Any]] = json.loads(alice.hpcfrugal("report", "--nodes", "--json").stdout)["nodes"]
    assert len(nodes) == 4
    for node in nodes:
        for one in (node, *node["channels"]):
            assert one["to_jobs_uj"] + one["rest_uj"] == one["energy_uj"] > 0
    release = alice.run("sbatch", "--version").stdout.split()[-1]
    with capfd.disabled():
        print(f"\nSlurm {release}, {(STATE_DIR / 'proctrack').read_text()}")
        for name, pair in pairs.items():
            outcome = "; ".join(found[name]) or "as sbatch"
            print(f"{name:25} {'; '.join(pair.kind.ends):34} {pair.took_s:4.0f} s  {outcome}")
    assert {name: some for name, some in found.items() if some} == {}
