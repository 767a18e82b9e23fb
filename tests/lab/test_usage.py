"""CPU time, memory and page faults of a job against programs whose use of them is known."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from .conftest import Lab, until_sampled
from .test_jobs import Alice

pytestmark = pytest.mark.lab

CPU_S = 1.5
PAGES = 40_000
FILE_PAGES = 2_000

BURNER = f"""\
import contextlib, json, mmap, os, resource, tempfile, time
# Each page of a file that is not in the page cache is a major fault, and each of memory a minor one.
with tempfile.NamedTemporaryFile(dir=".") as file:
    file.write(os.urandom({FILE_PAGES} * mmap.PAGESIZE))
    file.flush()
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    on_disk = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
on_disk.madvise(mmap.MADV_RANDOM)
for page in range({FILE_PAGES}):
    on_disk[page * mmap.PAGESIZE]
memory = mmap.mmap(-1, {PAGES} * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
with contextlib.suppress(OSError):  # a kernel without huge pages
    memory.madvise(mmap.MADV_NOHUGEPAGE)
for page in range({PAGES}):
    memory[page * mmap.PAGESIZE] = 1
while time.process_time() < {CPU_S}:
    pass
use = resource.getrusage(resource.RUSAGE_SELF)
known = {{
    "cpu_time_s": use.ru_utime + use.ru_stime,
    "memory_peak_b": {PAGES} * mmap.PAGESIZE,
    "page_faults_minor": use.ru_minflt,
    "page_faults_major": use.ru_majflt,
}}
print(json.dumps(known))
"""

FOLDER = "/home/alice/usage"
SCRIPT = f"""\
# What a job does before its sidecar has begun is not in its record.
{until_sampled(f"{FOLDER}/spool")}
python3 burner.py
srun --mem=0 python3 burner.py
"""

BESIDE = {"cpu_time_s": 1.5, "memory_peak_b": 120 * 2**20, "page_faults_minor": 25_000, "page_faults_major": 500}
"""What shells, srun, the sidecar and two interpreters may take at most, with the pages of a file in the page cache."""


class WithOwnSpool(Alice):
    """Other tests run at the same time, and ids of an earlier lab are used again."""

    def run(
        self, *argv: str, check: bool = True, cwd: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        own = {"HPCFRUGAL_SPOOL": f"{FOLDER}/spool", "HPCFRUGAL_LEDGER": f"{FOLDER}/ledger.db"}
        return super().run(*argv, check=check, cwd=cwd, env=own | (env or {}))


def test_a_job_has_used_what_its_programs_used(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    """One of them is started by the batch script, one by srun."""
    lab.install()
    alice = WithOwnSpool(lab)
    subprocess.run(["rm", "-rf", FOLDER], check=True)
    alice.write("burner.py", BURNER)
    job = alice.submit({"name": "burners", "resources": {"time": "5", "mem": "600M"}, "command": SCRIPT})
    assert alice.wait(job)[job]["state"] == "COMPLETED", alice.output(job)
    burners = [json.loads(line) for line in alice.output(job).splitlines()]
    (report,) = alice.report(job)
    usage: dict[str, Any] = report["usage"]
    sources = usage["nodes"][0]["sources"]
    by_group = sources["page_faults"].startswith("cgroup")
    with capfd.disabled():
        print(f"\nSlurm {alice.run('sbatch', '--version').stdout.split()[-1]}, {sources}")
        for name in BESIDE:
            print(f"{name:18} {[one[name] for one in burners]} known, {usage[name]} recorded")
    assert len(burners) == 2
    for one in burners:
        assert one["page_faults_minor"] >= PAGES
        assert one["page_faults_major"] >= FILE_PAGES
    for name, beside in BESIDE.items():
        values = [one[name] for one in burners]
        if name == "cpu_time_s":
            # Faults alone take longer than CPU_S in User Mode Linux, where all is that much slower.
            beside *= max(values) / CPU_S
        known = max(values) if name == "memory_peak_b" else sum(values)
        # Without a control group, what a task of srun did after the last look is missing.
        least = known if by_group else values[0]
        assert least * 0.99 <= usage[name] <= known + beside, name
