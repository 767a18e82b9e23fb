#!/usr/bin/python3
"""A batch script that uses a known part of a CPU: burner.py DUTY SECONDS FOLDER.

It writes lines of two numbers into a file of the folder: nanoseconds since boot, and those of CPU time that it used.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TextIO

SLOT_S = 0.25
NOTE_NS = 1_000_000
"""CPU time after which it is written down: a job that is killed has used little more."""


def main() -> None:
    """Burn until the time is over."""
    duty, seconds, folder = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    parts = (os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_RESTART_COUNT", "0"), os.environ["SLURMD_NODENAME"])
    until = time.monotonic() + seconds
    with open(f"{folder}/{'.'.join(parts)}.cpu", "w") as log:
        print(_start_ns(), 0, file=log)
        while True:
            begun = time.monotonic()
            noted_ns = _note(log)
            if begun >= until:
                os._exit(0)  # Python's own end would take some milliseconds more
            end = min(begun + SLOT_S, until)
            enough_ns = noted_ns + duty * SLOT_S * 1e9
            while noted_ns < enough_ns and time.monotonic() < end:
                if time.process_time_ns() - noted_ns > NOTE_NS:
                    noted_ns = _note(log)
            time.sleep(max(0.0, end - time.monotonic()))


def _start_ns() -> int:
    """When this process was started, since boot (proc_pid_stat(5))."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) * 10**9 // os.sysconf("SC_CLK_TCK")


def _note(log: TextIO) -> int:
    cpu_ns = time.process_time_ns()
    print(time.clock_gettime_ns(time.CLOCK_BOOTTIME), cpu_ns, file=log, flush=True)
    return cpu_ns


if __name__ == "__main__":
    main()
