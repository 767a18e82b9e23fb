"""``local.pid`` in a run directory: the process that `status` looks at and `cancel` ends."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hpcfrugal.core.files import write_atomic
from hpcfrugal.core.safe_read import UnsafeFile, read_regular
from hpcfrugal.spool import RunDir

_MAX_BYTES = 100


def write_pid(run_dir: RunDir, pid: int) -> None:
    """Record ``pid`` as the process of the run, with its start time, since pids are reused. Raises OSError."""
    write_atomic(run_dir.local_pid, f"{pid} {_start_ticks(pid)}\n".encode())


def read_pid(run_dir: RunDir) -> int | None:
    """The process of the run; None where it has ended or there is no valid file."""
    with suppress(OSError, UnsafeFile, ValueError):
        owner_uid = run_dir.path.stat().st_uid
        pid, ticks = read_regular(run_dir.local_pid, _MAX_BYTES, owner_uid=owner_uid)[0].decode().split()
        if ticks != "None" and _start_ticks(int(pid)) == int(ticks):
            return int(pid)
    return None


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), stat field 22); None where it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
