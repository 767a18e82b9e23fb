"""Files that hold the process of a job: what `status` looks at and `cancel` ends."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hpcfrugal.core.files import write_atomic
from hpcfrugal.core.safe_read import UnsafeFile, read_regular

_MAX_BYTES = 200


def write_pid(path: Path, pid: int) -> None:
    """Record ``pid``, with its start time and the boot, since pids are reused. Raises OSError."""
    write_atomic(path, f"{pid} {_start_ticks(pid)} {_boot_id()}\n".encode())


def read_pid(path: Path) -> int | None:
    """The process that ``path`` names; None where it has ended or there is no valid file."""
    with suppress(OSError, UnsafeFile, ValueError):
        owner_uid = path.parent.stat().st_uid
        pid, ticks, boot = read_regular(path, _MAX_BYTES, owner_uid=owner_uid)[0].decode().split()
        if boot == _boot_id() and ticks != "None" and _start_ticks(int(pid)) == int(ticks):
            return int(pid)
    return None


def _boot_id() -> str:
    """Another one after each start of the machine (random(4)); ``-`` where it cannot be read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "-"


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), stat field 22); None where it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
