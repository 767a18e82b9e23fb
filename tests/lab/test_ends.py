"""How jobs end on a real Slurm: a signal reaches the commands once, and the recorded exit is that of plain sbatch."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence

import pytest

from .conftest import STATE_DIR, Lab
from .test_jobs import Alice

pytestmark = [pytest.mark.lab, pytest.mark.alone]

KINDS = ["linuxproc", *(["cgroup"] if os.access("/sys/fs/cgroup/freezer", os.W_OK) else [])]
"""How slurmd follows the processes of a job; the second needs a cgroup v1 freezer."""


@pytest.fixture(scope="module", params=KINDS if os.environ.get("HPCFRUGAL_LAB_DOWN") else ["as it is"])
def alice(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Alice]:
    """Alice on a lab of each kind; where it may not be taken down, on the lab that is there."""
    before = (STATE_DIR / "proctrack").read_text()
    kind = before if request.param == "as it is" else request.param
    lab.call("up", "--proctrack", kind)
    lab.install()
    one = Alice(lab)
    subprocess.run(["rm", "-rf", one.data], check=True)
    yield one
    lab.call("up", "--proctrack", before)


def ends(alice: Alice, jobs: Sequence[str]) -> list[str]:
    """State and exit code of each job and of its batch step, once Slurm's accounting has its end. (Of a cancelled job
    it has that before its processes end.)"""
    until = time.monotonic() + 120
    while True:
        out = alice.run("sacct", "-Pn", "-j", ",".join(jobs), "-o", "JobID,End,State,ExitCode").stdout
        rows = {name: (end, how) for name, end, how in (line.split("|", 2) for line in out.splitlines())}
        steps = [(job, f"{job}.batch") for job in jobs]
        if all(rows.get(name, ("Unknown",))[0] != "Unknown" for pair in steps for name in pair):
            return [" ".join(rows[name][1] for name in pair) for pair in steps]
        assert time.monotonic() < until, out
        time.sleep(1)


CANCELLED = 20
PROGRAM = """#!/usr/bin/python3
import signal, time
found = []
signal.signal(signal.SIGTERM, lambda *_: found.append("trap"))
print("up", flush=True)
while not found:
    time.sleep(0.1)
time.sleep(1.5)
print(*found, flush=True)
"""
"""No shell with a child: with linuxproc Slurm signals children first, and a shell may go on before it has its own."""


def test_a_cancel_reaches_the_commands_once(alice: Alice) -> None:
    folder = alice.write("cancel/job.py", PROGRAM).parent
    path = alice.write(
        "cancel/job.yaml",
        f"script: job.py\noutput: {folder}/out-%j\nresources: {{time: 5, mem: 50M}}\nenergy: {{interval: 1s}}\n",
    )
    out = alice.hpcfrugal("submit", "--json", *[str(path)] * CANCELLED).stdout
    jobs = [json.loads(line)["job_id"] for line in out.splitlines()]
    assert len(jobs) == CANCELLED
    outputs = [folder / f"out-{job}" for job in jobs]
    until = time.monotonic() + 60
    while not all(output.exists() and "up" in output.read_text() for output in outputs):
        assert time.monotonic() < until
        time.sleep(0.5)
    alice.run("scancel", *jobs)
    until = time.monotonic() + 60
    while alice.run("squeue", "-h", "-j", ",".join(jobs), "-o", "%A %T").stdout:
        assert time.monotonic() < until
        time.sleep(0.5)
    lines = {tuple(line for line in output.read_text().splitlines() if "CANCELLED" not in line) for output in outputs}
    assert lines == {("up", "trap")}


ENDS = {
    "term": "#!/bin/bash\nkill -TERM $$\n",
    "kill": "#!/bin/bash\nkill -KILL $$\n",
    "segv": "#!/bin/bash\nulimit -c 0\nkill -SEGV $$\n",
    "int": "#!/usr/bin/python3\nimport os, signal\nsignal.signal(2, signal.SIG_DFL)\nos.kill(os.getpid(), 2)\n",
    "child": "#!/bin/bash\nsh -c 'kill -KILL $$'\n",
    "143": "#!/bin/bash\nexit 143\n",
    "139": "#!/bin/sh\nexit 139\n",
    "trap": "#!/bin/bash\ntrap 'exit 143' TERM\nkill -TERM $$\n",
    "python-143": "#!/usr/bin/python3\nimport sys\nsys.exit(143)\n",
    "not-there": "#!/no/such/interpreter\n",
    "relative": "#!python3\nprint(1)\n",
    "a-directory": "#!/usr\n",
    "no-program": "#!/etc/passwd\n",
    "env": "#!/usr/bin/env no-such-program\n",
    "five": "#!/bin/bash\nexit 5\n",
}


def test_the_recorded_exit_is_that_of_plain_sbatch(alice: Alice) -> None:
    paths = [str(alice.write(f"ends/{name}.sh", text)) for name, text in ENDS.items()]
    sbatch = ["sbatch", "--parsable", "--output=/dev/null", "--mem=50M", "--time=2"]
    plain = [alice.run(*sbatch, path).stdout.strip() for path in paths]
    files = [
        str(alice.write(f"{path}.yaml", f"script: {path}\noutput: /dev/null\nresources: {{mem: 50M, time: 2}}\n"))
        for path in paths
    ]
    out = alice.hpcfrugal("submit", "--json", *files).stdout
    ours = [json.loads(line)["job_id"] for line in out.splitlines()]
    expected = dict(zip(ENDS, ends(alice, plain), strict=True))
    assert dict(zip(ENDS, ends(alice, ours), strict=True)) == expected
    assert [expected[name].split()[0] for name in ("five", "term", "kill")] == [
        "FAILED|5:0",
        "FAILED|0:15",
        "FAILED|0:9",
    ]
    # Without its highest bit, but for 26.05.
    assert expected["143"].split()[0] in ("FAILED|15:0", "FAILED|143:0")
