"""Writing whole files in one step, so that readers see either the old file or the complete new one."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FILE_MODE = 0o600
FOLDER_MODE = 0o700
GROUP_FOLDER_MODE = 0o2750
"""A folder of one user that a group may read as well, with all that is made in it: the kernel gives the folder's group
and the set-group-ID bit to each folder in it, the group to each file (inode(7), "S_ISGID")."""

_JSON = json.JSONEncoder(allow_nan=False)
_OWN_AND_GROUP = 0o750

_DROP_MODE = 0o3773
"""Where each user may make such a folder, and the group's members may list them; others' can be neither seen nor
replaced."""


def make_private_folder(path: Path, *, exist_ok: bool = True) -> None:
    """Make a folder in one that is there, 0700; 02750 in a folder where a group is to read what users make (02750
    itself, or 03773). One that is there already stays as it is. Raises ``OSError``."""
    if stat.S_IMODE(path.parent.stat().st_mode) not in (GROUP_FOLDER_MODE, _DROP_MODE):
        path.mkdir(mode=FOLDER_MODE, exist_ok=exist_ok)
        return
    # Who is not in the group cannot set the bit, and would lose it by chmod: only mkdir leaves it set. All threads have
    # one umask, and so have the jobs that they submit: only a child may have another one.
    if process_umask() & _OWN_AND_GROUP and _made_by_child(path):
        return
    path.mkdir(mode=_OWN_AND_GROUP, exist_ok=exist_ok)


def process_umask() -> int:
    """The umask of this process, 0777 where it is not known; ``os.umask`` would change it for all threads."""
    with suppress(OSError), open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o777


def _made_by_child(path: Path) -> bool:
    import subprocess

    with suppress(OSError):
        command = ("mkdir", "--", path)
        done = subprocess.run(command, umask=0o027, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return done.returncode == 0
    return False


def private_mode(folder: Path) -> int:
    """The mode of a private file in ``folder``: its group may read it where it may read the folder."""
    return 0o640 if stat.S_IMODE(folder.stat().st_mode) == GROUP_FOLDER_MODE else FILE_MODE


def write_json_atomic(path: Path, obj: Any) -> None:
    """Write ``obj`` as JSON, private. Raises ``OSError``; ``ValueError`` for NaN, which JSON does not have."""
    write_atomic(path, f"{_JSON.encode(obj)}\n".encode())


def write_atomic(path: Path, data: bytes, mode: int | None = FILE_MODE) -> None:
    """Replace ``path`` by a file with this content and mode; None: 0666 less the umask. Raises ``OSError``.

    A private one (0600) is 0640 in a folder that a group may read (``GROUP_FOLDER_MODE``). The data reach the disk
    before the name does, so a power failure leaves no empty file under that name.
    """
    temp = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    if mode == FILE_MODE:
        mode = private_mode(path.parent)
    with new_file(temp, 0o666 if mode is None else FILE_MODE) as descriptor:
        try:
            write_all(descriptor, data)
            if mode is not None and mode != FILE_MODE:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            os.replace(temp, path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise


@contextmanager
def new_file(path: Path, mode: int) -> Iterator[int]:
    """The descriptor of a file that was not there yet. Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write ``data``, of which one call may write a part only. Raises ``OSError``."""
    while data:
        data = data[os.write(descriptor, data) :]
