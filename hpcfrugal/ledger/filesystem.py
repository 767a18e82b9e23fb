"""Which file system a path lies on, and whether SQLite's write-ahead log is safe there.

The write-ahead log needs shared memory between all processes that have the database open, so it does not work
over a network file system (https://www.sqlite.org/wal.html). What is not known to be local counts as a
network.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

LOCAL = frozenset(
    {
        "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs", "tmpfs",
        "xfs", "zfs",
    }
)  # fmt: skip
"""Names of /proc/filesystems that keep their data on this machine."""

MOUNTINFO = Path("/proc/self/mountinfo")

_OCTAL = re.compile(r"\\([0-7]{3})")


def filesystem_type(path: Path, mountinfo: Path = MOUNTINFO) -> str | None:
    """Type of the file system that holds ``path`` or, where it does not exist, its nearest parent.

    None where the mount table cannot be read. The type is the third from last group of a mountinfo line,
    after the lone dash (proc(5)); of several mounts on one point the last one is on top.
    """
    real = os.path.realpath(path)
    try:
        lines = mountinfo.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    best, found = "", None
    for line in lines:
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, found = point, after.split(" ")[0]
    return found


def journal_mode(path: Path, mountinfo: Path = MOUNTINFO) -> str:
    """``wal`` where ``path`` lies on a local file system, else ``delete``."""
    return "wal" if filesystem_type(path, mountinfo) in LOCAL else "delete"
