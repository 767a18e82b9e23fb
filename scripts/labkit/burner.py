#!/usr/bin/python3
"""A batch script that uses a known part of a CPU: burner.py DUTY SECONDS FOLDER.

It writes lines of three numbers into a file of the folder: nanoseconds since boot, those of CPU time that it has used,
and the clock ticks of its parent, which is slurmstepd where this is the batch script itself.
"""

from __future__ import annotations

import os
import sys
import time

SLOT_S = 0.25


def main() -> None:
    """Burn until the time is over."""
    duty, seconds, folder = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    parts = (os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_RESTART_COUNT", "0"), os.environ["SLURMD_NODENAME"])
    until = time.monotonic() + seconds
    with open(f"{folder}/{'.'.join(parts)}.cpu", "w") as log:
        while True:
            begun = time.monotonic()
            cpu_ns = time.process_time_ns()
            print(time.clock_gettime_ns(time.CLOCK_BOOTTIME), cpu_ns, _parent_ticks(), file=log, flush=True)
            if begun >= until:
                return
            end = min(begun + SLOT_S, until)
            while time.process_time_ns() < cpu_ns + duty * SLOT_S * 1e9 and time.monotonic() < end:
                pass
            time.sleep(max(0.0, end - time.monotonic()))


def _parent_ticks() -> int:
    with open(f"/proc/{os.getppid()}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
