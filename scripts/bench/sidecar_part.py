"""The part of the `sidecar` benchmark that runs on a node of the lab as one of its users.

Starts the real zipapp and the floor by the command line that a batch script uses, and reads what the kernel
counted for each of them.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.render import render_script
from hpcfrugal.spool.zipapp import SIDECAR_ENVIRON

INTERVAL_S = 1.0
RECORD_S = 10.0
SETTLE_S = 0.3
LONGEST_WAIT_S = 10.0
SLEEP_S = 4
FIRST = b'"kind":"record"'

ENVIRON = {
    "PATH": "/usr/bin:/bin",
    "SLURM_JOB_ID": "4000000001",
    "SLURM_CLUSTER_NAME": "bench",
    "SLURM_CPUS_ON_NODE": "1",
    "SLURM_MEM_PER_NODE": "100",
    "CUDA_VISIBLE_DEVICES": "0,1",
}
"""What the sidecar reads of Slurm's environment; a number that no job of a young lab has."""


def family(pid: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory_kib(pid: int) -> int:
    """``Pss`` of /proc/PID/smaps_rollup: what a process has alone, and its part of what it shares with others."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0])


class Sidecar:
    """One sidecar at work, its standard input a pipe that ends it."""

    def __init__(self, argv: Sequence[str], output: Path, environ: dict[str, str]) -> None:
        self.output = output
        self.started_s = time.perf_counter()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ, cwd="/"
        )

    def wait_for_record(self) -> float:
        """Seconds from the start to the first record, seen to a millisecond."""
        while time.perf_counter() - self.started_s < LONGEST_WAIT_S:
            if self.output.exists() and FIRST in self.output.read_bytes():
                return time.perf_counter() - self.started_s
            if self.process.poll() is not None:
                break
            time.sleep(0.001)
        self.process.kill()
        raise SystemExit(f"no record from {self.process.args!r}: {self.process.communicate()[1].decode()}")

    def cpu_s(self) -> float:
        """CPU time of all threads of its processes as the scheduler counts it, in nanoseconds, so far.

        Threads that have ended are missing; neither sidecar ends one while it samples.
        """
        tasks = [task for pid in family(self.process.pid) for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def peak_rss_kib(self) -> tuple[int, int]:
        """``VmHWM`` of proc_pid_status(5): its own, and those of its other processes, which share most with it."""
        own, *others = [
            int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])
            for pid in family(self.process.pid)
        ]
        return own, sum(others)

    def memory_kib(self) -> int:
        """Memory of all its processes now, see ``memory_kib``."""
        return sum(map(memory_kib, family(self.process.pid)))

    def stop(self) -> tuple[float, float]:
        """Close its input; seconds until it is gone, and CPU seconds of its whole life."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        closed_s = time.perf_counter()
        self.process.stdin.close()
        _, status, usage = os.wait4(self.process.pid, 0)
        gone_s = time.perf_counter() - closed_s
        self.process.returncode = os.waitstatus_to_exitcode(status)
        said = self.process.stderr.read().decode()
        if self.process.returncode or said:
            raise SystemExit(f"{self.process.args!r}: exit code {self.process.returncode}: {said}")
        return gone_s, usage.ru_utime + usage.ru_stime


class Bench:
    """Both sidecars and the places of their files."""

    def __init__(self, folder: Path, floor: str, node: str) -> None:
        self.folder = folder
        self.zipapp = folder / "sidecar.pyz"
        self.floor = folder / "floor.py"
        self.floor.write_text(floor, encoding="utf-8")
        build = (
            "import sys, pathlib; from hpcfrugal.spool.zipapp import sidecar_zipapp as z; z(pathlib.Path(sys.argv[1]))"
        )
        subprocess.run([sys.executable, "-c", build, str(self.zipapp)], check=True)
        self.node = node
        self._runs = 0

    def start(self, name: str, prefix: Sequence[str] = ()) -> Sidecar:
        """Start ``sidecar`` or ``floor`` in a run directory of its own."""
        self._runs += 1
        folder = self.folder / f"{name}-{self._runs}"
        folder.mkdir()
        program = folder / (self.floor if name == "floor" else self.zipapp).name
        os.link(self.folder / program.name, program)
        argv = [*prefix, sys.executable, "-I", "-S", str(program)]
        if name == "floor":
            return Sidecar([*argv, str(folder / "floor.jsonl")], folder / "floor.jsonl", ENVIRON)
        argv += ["--run-dir", str(folder), "--run-id", "20260101T000000Z-0123456789abcdef", "--interval"]
        argv += [format(INTERVAL_S, "g"), "--record", format(RECORD_S, "g"), "--until-eof", "--root-pid"]
        output = folder / f"{ENVIRON['SLURM_JOB_ID']}.0.{self.node}.jsonl"
        environ = ENVIRON | SIDECAR_ENVIRON | {"SLURMD_NODENAME": self.node}
        return Sidecar([*argv, str(os.getpid())], output, environ)

    def starts(self, count: int) -> dict[str, dict[str, list[float]]]:
        """Seconds to the first record and to the end, in turns so that both see the same machine."""
        found: dict[str, dict[str, list[float]]] = {
            name: {"first_record_s": [], "stop_s": []} for name in ("sidecar", "floor")
        }
        order = list(found)
        for _ in range(count):
            for name in order:
                sidecar = self.start(name)
                found[name]["first_record_s"].append(sidecar.wait_for_record())
                time.sleep(0.1)
                found[name]["stop_s"].append(sidecar.stop()[0])
            order.reverse()
        return found

    def at_work(self, seconds: float) -> tuple[dict[str, dict[str, Any]], Path]:
        """Both at once for ``seconds``, half an interval apart; the figures of each, and the sidecar's file."""
        sidecars: dict[str, Sidecar] = {}
        begun: dict[str, tuple[float, float, float]] = {}
        for name in ("sidecar", "floor"):
            sidecar = sidecars[name] = self.start(name)
            sidecar.wait_for_record()
            start_cpu_s = sidecar.cpu_s()
            # From between two ticks to between two ticks: as many of them as there are seconds.
            time.sleep(SETTLE_S)
            begun[name] = (time.perf_counter(), sidecar.cpu_s(), start_cpu_s)
            time.sleep(INTERVAL_S / 2 - SETTLE_S)
        figures: dict[str, dict[str, Any]] = {}
        for name, sidecar in sidecars.items():
            first_at, first_cpu_s, start_cpu_s = begun[name]
            time.sleep(max(0.0, first_at + seconds - time.perf_counter()))
            sampled_s, cpu_s = time.perf_counter() - first_at, sidecar.cpu_s() - first_cpu_s
            peak_kib, others_peak_kib = sidecar.peak_rss_kib()
            now_kib = sidecar.memory_kib()
            _, life_s = sidecar.stop()
            life_s = max(life_s, start_cpu_s + cpu_s)
            written = sidecar.output.read_bytes()
            figures[name] = {
                "cpu_s_per_60s": cpu_s / sampled_s * 60,
                "cpu_start_s": start_cpu_s,
                "cpu_life_s": life_s,
                "sampled_s": sampled_s,
                "peak_rss_kib": peak_kib,
                "others_peak_rss_kib": others_peak_kib,
                "memory_kib": now_kib,
                "bytes_written": len(written),
                "lines_written": written.count(b"\n"),
            }
        return figures, sidecars["sidecar"].output

    def scripts(self) -> dict[str, int]:
        """Memory of all processes of a job that sleeps and has no GPU: with the batch script around it, and without."""
        folder = self.folder / "script"
        folder.mkdir(mode=0o700)
        os.link(self.zipapp, folder / self.zipapp.name)
        run_id = "20260101T000000Z-0123456789abcdef"
        rendered = render_script(
            job_from_mapping({"name": "bench", "command": f"sleep {SLEEP_S}"}),
            flags=[], script=None, run_id=run_id, run_dir=folder, slurm=True, pythons=[sys.executable],
        )  # fmt: skip
        texts = {"script_kib": rendered.text, "plain_kib": f"#!/bin/bash\nsleep {SLEEP_S}\n"}
        environ = ENVIRON | {"SLURMD_NODENAME": self.node, "CUDA_VISIBLE_DEVICES": "", "HOME": str(folder)}
        found = {}
        for name, text in texts.items():
            script = folder / f"{name}.sh"
            script.write_text(text)
            with subprocess.Popen(["/bin/bash", script], env=environ, cwd="/", stdout=subprocess.DEVNULL) as job:
                time.sleep(SLEEP_S / 2)
                found[name] = sum(map(memory_kib, family(job.pid)))
        return found

    def opened(self) -> dict[str, dict[str, int] | None]:
        """Files that each opens, counted by strace; None where that is missing or may not trace here."""
        strace = shutil.which("strace")
        trial = [str(strace), "-o", "/dev/null", "true"]
        if strace is None or subprocess.run(trial, check=False, capture_output=True).returncode:
            return {"sidecar": None, "floor": None}
        started: dict[str, tuple[Sidecar, Path]] = {}
        for name in ("sidecar", "floor"):
            log = self.folder / f"{name}.strace"
            prefix = [strace, "-f", "-ttt", "-o", str(log), "-e", "trace=open,openat,openat2,write"]
            started[name] = self.start(name, prefix), log
            started[name][0].wait_for_record()
        time.sleep(RECORD_S + INTERVAL_S / 2)
        found: dict[str, dict[str, int] | None] = {}
        for name, (sidecar, log) in started.items():
            stopped_wall_s = time.time()
            sidecar.stop()
            found[name] = count_opens(log.read_text(), sidecar.output.parent, stopped_wall_s)
        return found


def count_opens(log: str, run_dir: Path, stopped_wall_s: float) -> dict[str, int]:
    """Opens until the first line is written and from then on, by where the file lies.

    ``run_dir`` is what all nodes share, ``kernel`` is /proc, /sys and /dev, ``disk`` the rest. Left out is what
    the simulated driver opens for itself: the file that tells it to fail.
    """
    counts = {
        f"{place}_{phase}": 0 for phase in ("first", "later") for place in ("run_dir", "disk", "kernel", "failed")
    }
    phase = "first"
    for line in log.splitlines():
        if float(line.split(maxsplit=2)[1]) > stopped_wall_s:
            break
        if re.search(r' write\(\d+, "\{', line):
            phase = "later"
        found = re.search(r' open(?:at2?)?\((?:AT_FDCWD, )?"([^"]*)"', line)
        if found is None or found[1].endswith("/nvml-fault"):
            continue
        place = "disk"
        if re.search(r"= -1 E", line):
            place = "failed"
        elif found[1].startswith(f"{run_dir}/"):
            place = "run_dir"
        elif found[1].startswith(("/proc", "/sys/", "/dev/")):
            place = "kernel"
        counts[f"{place}_{phase}"] += 1
    return counts


def interpreter(count: int) -> dict[str, Any]:
    """The same interpreter with nothing to do: wall seconds, and peak resident memory of the largest."""
    walls = []
    for _ in range(count):
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True, env=ENVIRON)
        walls.append(time.perf_counter() - started_s)
    say = "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    said = subprocess.run([sys.executable, "-I", "-S", "-c", say], check=True, env=ENVIRON, capture_output=True)
    return {"wall_s": walls, "peak_rss_kib": int(said.stdout)}


def main() -> None:
    """Measure and print one line of JSON."""
    parameters = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(tempfile.mkdtemp(prefix="hpcfrugal-bench-", dir=Path.home()))
    try:
        bench = Bench(folder, parameters["floor"], parameters["node"])
        bare = interpreter(parameters["starts"])
        starts = bench.starts(parameters["starts"])
        figures, written = bench.at_work(parameters["seconds"])
        opened = bench.opened()
        lines = [json.loads(line) for line in written.read_text().splitlines()]
        result: dict[str, Any] = {
            name: {**figures[name], **starts[name], "opened": opened[name]} for name in ("sidecar", "floor")
        }
        result |= {
            "interpreter": bare,
            "scripts": bench.scripts(),
            "zipapp_bytes": bench.zipapp.stat().st_size,
            "channels": [f"{channel['component']} {channel['domain']}" for channel in lines[0]["channels"]],
            "failed_reads": sum(lines[-1]["errors"]),
            "cpu_time_source": lines[0]["cpu_time_source"],
            "processes_on_machine": sum(name.isdigit() for name in os.listdir("/proc")),
        }
    finally:
        shutil.rmtree(folder)
    print(json.dumps(result))


main()
