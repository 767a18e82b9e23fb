"""Writing whole files in one step, so that readers see either the old file or the complete new one."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

FILE_MODE = 0o600


def write_json_atomic(path: Path, obj: Any) -> None:
    """Write ``obj`` as JSON, mode 0600. Raises ``OSError``; ``ValueError`` for NaN, which JSON does not have."""
    write_atomic(path, (json.dumps(obj, allow_nan=False, ensure_ascii=True) + "\n").encode())


def write_atomic(path: Path, data: bytes, mode: int | None = FILE_MODE) -> None:
    """Replace ``path`` by a file with this content and mode; None: 0666 less the umask. Raises ``OSError``.

    The data reach the disk before the name does, so a power failure leaves no empty file under that name.
    """
    temp = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temp, flags, 0o666 if mode is None else FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if mode is not None and mode != FILE_MODE:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
