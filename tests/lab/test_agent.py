"""The node agent on a node of the lab: plain jobs of two users share it, and jobs + rest are the truth of the node."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.spool.agent_files import AgentFile, read_agent_file
from hpcfrugal.spool.agent_layout import agent_file

from .conftest import SCRIPT, STATE_DIR, Lab
from .test_jobs import Alice

pytestmark = [pytest.mark.lab, pytest.mark.alone]

NODE = "n3"
PUBLISHED = Path("/run/hpcfrugal/energy.json")
SPIN = "timeout 8 sh -c 'while :; do :; done'"
TRUE_NAMES = {
    "package-0": "package-0", "package-0/core": "core-0", "package-0/dram": "dram-0",
    "package-1": "package-1", "package-1/core": "core-1", "package-1/dram": "dram-1",
    "psys": "psys", "gpu-0": "gpu-0", "gpu-1": "gpu-1",
}  # fmt: skip


@contextmanager
def agent(spool: Path, *options: str) -> Iterator[None]:
    """An agent on the node, which is stopped at the end of the block."""
    argv = [SCRIPT, "exec", "--user", "root", "--node", NODE, "--", STATE_DIR / "venv/bin/hpcfrugal"]
    argv += ["site", "agent", "--spool", spool, "--node", NODE, *options]
    with subprocess.Popen(argv) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def wait_for(spool: Path, condition: Callable[[AgentFile], Any]) -> AgentFile:
    path = agent_file(spool, NODE, datetime.now(UTC).date())
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if path.exists() and (found := read_agent_file(path, os.getuid(), NODE)).sessions and condition(found):
            return found
        time.sleep(0.2)
    raise AssertionError(path.read_text() if path.exists() else "no file")


def sbatch(lab: Lab, user: str, command: str, *options: str) -> str:
    words = ["sbatch", "--parsable", "-w", NODE, "-o", "/dev/null", *options, "--wrap", command]
    return lab.exec(words, user=user).stdout.strip()


def test_jobs_of_two_users_and_the_rest_are_the_truth_of_the_node(lab: Lab, tmp_path: Path) -> None:
    lab.install()
    spool = tmp_path / "site"
    with agent(spool, "--no-publish", "--record", "5"):
        wait_for(spool, lambda _: True)
        a = sbatch(lab, "alice", SPIN, "-c", "2", "--gres=gpu:1")
        b = sbatch(lab, "bob", SPIN, "-c", "4")
        wait_for(spool, lambda found: len(found.sessions[-1].ended) == 2)
    found = wait_for(spool, lambda found: found.sessions[-1].records[-1].kind == "end")
    assert not found.bad
    session = found.sessions[-1]
    last = session.latest
    assert last is not None
    jobs = {life.name: job for life, job in session.jobs().items()}
    assert sorted(jobs) == sorted([a, b])
    assert [jobs[job].uid for job in (a, b)] == [pwd.getpwnam(user).pw_uid for user in ("alice", "bob")]
    assert all(job.cpu_us > 200_000 for job in jobs.values())

    truths = lab.truths(NODE, session.header.boottime_ns, last.boottime_ns)
    for index, channel in enumerate(session.header.channels):
        node_uj = last.rest_uj[index] + sum(job.energy_uj[index] for job in jobs.values())
        assert node_uj == last.energy_uj[index]
        least_uj, most_uj = truths[TRUE_NAMES[channel.domain]]
        assert least_uj <= node_uj <= most_uj, channel.domain
        holders = {job for job, one in jobs.items() if one.energy_uj[index]}
        gpus = {a} if channel.domain == "gpu-0" else set()
        assert holders == (gpus if channel.component == "gpu" else {a, b}), channel.domain

    ledger = tmp_path / "site.db"
    found_jobs = site_jobs(lab, spool, ledger, a, b)
    for job_id, user in ((a, "alice"), (b, "bob")):
        one = found_jobs[job_id]
        known = [
            jobs[job_id].energy_uj[index] for index, channel in enumerate(session.header.channels) if channel.counted
        ]
        assert (one["user"], one["complete"], one["modelled_j"]) == (user, True, None)
        assert one["measured_j"] == pytest.approx(sum(known) / 1e6, abs=1e-6)
    with open_ledger(ledger) as connection:
        for index, channel in enumerate(session.header.channels):
            if channel.counted:
                node_uj, jobs_uj, rest_uj = connection.execute(
                    "SELECT sum(energy_uj), sum(jobs_uj), sum(rest_uj) FROM node_buckets WHERE domain = ?",
                    (channel.domain,),
                ).fetchone()
                assert node_uj == jobs_uj + rest_uj == last.energy_uj[index]


def site_jobs(lab: Lab, spool: Path, ledger: Path, *job_ids: str) -> dict[str, dict[str, Any]]:
    """The jobs in a site's ledger, once Slurm's accounting has them as over."""
    program = str(STATE_DIR / "venv/bin/hpcfrugal")
    of_ledger = ["--ledger", str(ledger), "--json"]
    until = time.monotonic() + 60
    while time.monotonic() < until:
        lab.exec([program, "site", "sync", "--spool", str(spool), "--since", "1d", "--offline", *of_ledger])
        report = json.loads(lab.exec([program, "report", "--since", "1d", "--all", *of_ledger]).stdout)
        jobs = {job["job_id"]: job for job in report["jobs"]}
        if all(job_id in jobs and jobs[job_id]["state"] in ("COMPLETED", "FAILED") for job_id in job_ids):
            return jobs
        time.sleep(1)
    raise AssertionError(f"sacct does not have these jobs as over: {job_ids}")


def test_a_user_who_may_not_read_rapl_has_measured_energy(lab: Lab, tmp_path: Path) -> None:
    lab.install()
    bob = Alice(lab, "bob")
    subprocess.run(["rm", "-rf", bob.data], check=True)
    lab.call("deny", NODE)
    try:
        with agent(tmp_path / "site", "--publish-step", "2"):
            until = time.monotonic() + 30
            while not (PUBLISHED.exists() and "],[" in PUBLISHED.read_text()):
                assert time.monotonic() < until
                time.sleep(0.2)
            job = bob.submit(
                {"name": "denied", "command": "sleep 12", "resources": {"nodelist": NODE, "exclusive": True, "time": 2}}
            )
            bob.wait(job)
        (report,) = bob.report(job)
    finally:
        lab.call("allow", NODE)
        subprocess.run(["rm", "-rf", bob.data], check=True)
    assert not PUBLISHED.exists()
    counted = {one["domain"]: one for one in report["channels"] if one["counted"] and one["component"] != "gpu"}
    assert sorted(counted) == ["package-0", "package-0/dram", "package-1", "package-1/dram"]
    for one in counted.values():
        assert (one["source"], one["quality"]) == ("agent", "measured")
        start_ns, end_ns = one["first_boottime_ns"], one["last_boottime_ns"]
        truth = lab.truth(NODE, f"{start_ns / 1e9:.9f}", f"{end_ns / 1e9:.9f}", clock="boottime")
        true_j = truth[TRUE_NAMES[one["domain"]]] / 1e6
        # Package 0 changes between 62 and 142 W each 3.5 s, and the first and the last reading of the job continue one
        # that is up to 2 s old, or more on a busy machine: 160 J at each end, of 1200 J.
        assert one["low_j"] <= true_j <= one["high_j"]
        assert one["low_j"] < one["energy_j"] < one["high_j"]
