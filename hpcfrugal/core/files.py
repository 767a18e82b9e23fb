"""Whole JSON files of the spool: written in one step, read where what is there can be used."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from hpcfrugal.core.safe_read import parse_json, read_regular

FILE_MODE = 0o600


def write_json_atomic(path: Path, obj: Any) -> None:
    """Write ``obj`` as JSON so that a reader sees the old file or the whole new one (0600).

    Raises ``OSError``; ``ValueError`` for NaN, which JSON does not have.
    """
    write_atomic(path, (json.dumps(obj, allow_nan=False, ensure_ascii=True) + "\n").encode())


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` so that a reader sees the old file or the whole new one (0600).

    The data reach the disk before the name does, so a power cut leaves no empty file behind the name.
    Raises ``OSError``.
    """
    temp = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``, a file of the folder's owner; None where there is none, or none yet.

    For what a user asks about jobs now: of a job whose file is missing, torn, a link, a pipe, somebody else's or no
    JSON object nothing is known. What goes into a ledger is read by ``reading.read_object``, which says what is wrong.
    """
    try:
        value = parse_json(read_regular(path))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
