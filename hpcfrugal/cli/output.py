"""Writing a result to the file that the user names."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.files import write_atomic


def can_be_written(path: Path) -> bool:
    """Whether ``write_result`` would probably succeed; creates nothing."""
    if path.exists():
        return os.access(path, os.W_OK)
    return os.access(Path(os.path.realpath(path)).parent, os.W_OK | os.X_OK)


def write_result(path: Path, text: str) -> None:
    """Write ``text`` and a line break to ``path``; links are followed.

    A file is replaced in one step and keeps its mode, so that a reader sees the old or the new one. A pipe, a device,
    or the file behind standard output or error (/dev/stdout) is written directly. Raises SetupError.
    """
    data = f"{text}\n".encode(errors="surrogateescape")
    try:
        try:
            found = path.stat()
        except FileNotFoundError:
            found = None
        if found is not None and (descriptor := _printed_to(found)) is not None:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
        elif found is not None and not stat.S_ISREG(found.st_mode):
            with open(path, "wb") as file:
                file.write(data)
        else:
            _replace(Path(os.path.realpath(path)), data, None if found is None else stat.S_IMODE(found.st_mode))
    except BrokenPipeError:
        raise SetupError(f"{path} cannot be written: the process that reads it has ended") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None


def _printed_to(found: os.stat_result) -> int | None:
    """The descriptor of standard output or error, if that is this file."""
    for stream in (sys.stdout, sys.stderr):
        try:
            descriptor = stream.fileno()
            if os.path.samestat(found, os.fstat(descriptor)):
                stream.flush()
                return descriptor
        except (AttributeError, OSError, ValueError):
            continue  # closed, or not a file of the system
    return None


def _replace(target: Path, data: bytes, mode: int | None) -> None:
    if mode is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        write_atomic(target, data, mode)
    except PermissionError:
        if mode is None:
            raise
        # The file is writable, its directory is not.
        target.write_bytes(data)
