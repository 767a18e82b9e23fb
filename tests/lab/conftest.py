"""The lab as a fixture: brought up where it isn't, and then taken down again only if it was down before."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "lab"
STATE_DIR = Path("/var/lib/hpcfrugal-lab")
LATE_S = Decimal("0.25")
"""The last sample waits up to 0.4 s for a sensor, and its time is the middle of all readings."""


SPOOL = ".local/share/hpcfrugal/spool"
"""Of a user of the lab, in the home."""


def until_sampled(spool: str = f"/home/alice/{SPOOL}", job: str = "$SLURM_JOB_ID", nodes: int = 1) -> str:
    """Shell: wait until the sidecars of the job have begun on so many nodes. It has no quotes but double ones."""
    files = f"{spool}/*/*/{job}.${{SLURM_RESTART_COUNT:-0}}.*.jsonl"
    return f'until [ "$(grep -ls boottime_ns {files} | wc -l)" -ge {nodes} ]; do sleep 0.2; done'


def sampled_share(files: Iterable[Path], elapsed_s: float) -> float:
    """The share of a job's time between header and last record of its sample files, in the mean of its nodes."""
    shares = []
    for path in files:
        lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        shares.append(min((lines[-1]["boottime_ns"] - lines[0]["boottime_ns"]) / 1e9 / elapsed_s, 1))
    return sum(shares) / len(shares)


@dataclass(frozen=True)
class Lab:
    """scripts/lab from Python. `timeout_s` is for each command."""

    state_dir: Path = STATE_DIR
    timeout_s: float = 180.0

    def call(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One subcommand of scripts/lab."""
        return self._run([str(SCRIPT), *words], check)

    def exec(
        self,
        argv: Sequence[str],
        user: str = "root",
        node: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """A command as `user` on the login node, or inside a node. Its output is text."""
        words = [str(SCRIPT), "exec", "--user", user]
        words += ["--node", node] if node else []
        words += ["--cwd", cwd] if cwd else []
        for name, value in (env or {}).items():
            words += ["--env", f"{name}={value}"]
        return self._run([*words, "--", *argv], check)

    def install(self) -> None:
        """This checkout's package for the lab's users, where they do not have it."""
        self.call("install")

    def truth(self, node: str, t0: Decimal | str | int, t1: Decimal | str | int, clock: str = "wall") -> dict[str, int]:
        """True microjoules per domain between two times in seconds."""
        answer: dict[str, int] = json.loads(self.call("truth", node, str(t0), str(t1), "--clock", clock).stdout)
        return answer

    def truths(
        self, node: str, start_ns: int, end_ns: int, clock: str = "boottime"
    ) -> Mapping[str, tuple[Decimal, Decimal]]:
        """Between which microjoules a reader of the counters is per domain, which has each up to ``LATE_S`` earlier or
        later than at the time that it notes: on a busy machine others run between the reading of two sensors.
        """
        t0, t1 = (Decimal(at) / 10**9 for at in (start_ns, end_ns))
        least, most = (self.truth(node, t0 - late, t1 + late, clock) for late in (-LATE_S, LATE_S))
        return {name: (Decimal(least[name]), Decimal(most[name])) for name in least}

    def status(self) -> dict[str, object]:
        """`lab status --json`."""
        report: dict[str, object] = json.loads(self.call("status", "--json", check=False).stdout)
        return report

    def _run(self, argv: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            timeout=self.timeout_s,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"{argv}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A healthy lab. Needs root; without it the tests that want a lab are skipped, and say so."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    lab = Lab()
    was_there = STATE_DIR.exists()
    lab.call("up")
    yield lab
    if not was_there:
        lab.call("down")
