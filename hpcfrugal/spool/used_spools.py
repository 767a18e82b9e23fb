"""The spools that jobs were put into while a ledger was the one of the settings: ``<ledger>.spools``, a path a line.

A job is found by it after another spool was set, also where the ledger was never brought up to date before that.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from hpcfrugal.core.files import FILE_MODE, FOLDER_MODE
from hpcfrugal.core.safe_read import UnsafeFile, read_regular

_MAX_BYTES = 1 << 20


def note_spool(ledger_path: Path, spool_root: Path) -> None:
    """Note a spool into which a job is put. Where that cannot be done, the job is submitted all the same."""
    path = os.path.realpath(spool_root)
    if "\n" in path or path in map(str, noted_spools(ledger_path)):
        return
    with suppress(OSError):
        ledger_path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        # O_NONBLOCK: opening a named pipe must not wait for a reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(_file(ledger_path), flags, FILE_MODE)
        try:
            os.write(descriptor, os.fsencode(f"{path}\n"))
        finally:
            os.close(descriptor)


def noted_spools(ledger_path: Path) -> list[Path]:
    """The spools that were noted by this user, in order, whether they exist or not."""
    try:
        content, _ = read_regular(_file(ledger_path), _MAX_BYTES, owner_uid=os.geteuid())
    except UnsafeFile:
        return []
    return [Path(os.fsdecode(line)) for line in content.split(b"\n") if line.startswith(b"/")]


def _file(ledger_path: Path) -> Path:
    return ledger_path.with_name(f"{ledger_path.name}.spools")
