"""Tokens and passwords: from the environment, or from a file that only its owner can read.

A secret is an object whose text does not show it. It is used only in the header of a request, and never in a log, an
error, the cache or the record of a run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from hpcfrugal.core.directories import config_dir
from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import Unreadable, UnsafeFile, read_regular

_MAX_FILE_BYTES = 16_384


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """One or more values. ``origin`` names the variables or the file with them."""

    values: tuple[str, ...]
    origin: str

    def __repr__(self) -> str:
        return f"Secret(from {self.origin})"


@dataclass(frozen=True, slots=True)
class SecretSpec:
    """The values that a provider needs, each with the environment variables for it, the usual one first."""

    variables: tuple[tuple[str, ...], ...]
    what: str

    @property
    def names(self) -> str:
        """The usual variables, such as ``WATTTIME_USER and WATTTIME_PASSWORD``."""
        return " and ".join(names[0] for names in self.variables)

    def advice(self, kind: str) -> str:
        """How to provide the credentials for a kind of provider."""
        return f"set {self.names}, or write the {self.what} into {default_file(kind)} (mode 0600)"


def read_secret(variable: str | None, file: Path | None) -> Secret:
    """One value in a file of mode 0600 or, without ``file``, in an environment variable.

    Raises SourceError if it is missing, invalid, or can be read by others.
    """
    if file is not None:
        return _from_file(file, 1, "credentials")
    assert variable is not None
    return Secret((_checked(os.environ.get(variable, ""), variable),), variable)


def default_file(kind: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The default file of a user's credentials."""
    return config_dir(environ) / "credentials" / kind


def find_secret(
    kind: str, spec: SecretSpec, file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Secret | None:
    """The credentials for a kind of provider; None if there are none.

    A file named in the settings takes precedence over the environment, and that over the default file.

    Raises:
        SourceError: a file can be read by others, belongs to another user, or has invalid content.
    """
    if file is not None:
        return _from_file(file, len(spec.variables), spec.what)
    found = [next((name for name in names if environ.get(name)), None) for names in spec.variables]
    if all(found):
        names = [name for name in found if name]
        return Secret(tuple(_checked(environ[name], name) for name in names), " and ".join(names))
    if any(found):
        missing = " and ".join(names[0] for names, name in zip(spec.variables, found, strict=True) if not name)
        raise SourceError(f"{' and '.join(name for name in found if name)} is set, but {missing} is not")
    path = default_file(kind, environ)
    return _from_file(path, len(spec.variables), spec.what) if os.path.lexists(path) else None


def _from_file(path: Path, lines_wanted: int, what: str) -> Secret:
    try:
        content, status = read_regular(path, _MAX_FILE_BYTES, follow=True)
    except UnsafeFile as error:
        missing = isinstance(error, Unreadable) and isinstance(error.error, FileNotFoundError)
        raise SourceError(f"{path}: {error}", hint=f"write the {what} into it" if missing else None) from None
    if status.st_uid not in (os.getuid(), 0):
        raise SourceError(f"{path}: belongs to another user")
    if status.st_mode & 0o077:
        raise SourceError(
            f"{path}: credentials can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {path}",
        )
    lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
    if len(lines) != lines_wanted:
        raise SourceError(f"{path}: needs {lines_wanted} line(s): the {what}")
    return Secret(tuple(_checked(line, str(path)) for line in lines), str(path))


def _checked(value: str, origin: str) -> str:
    value = value.strip()
    # Anything else would break the header.
    if not value or len(value) > 4096 or not all("\x20" <= char <= "\x7e" for char in value):
        raise SourceError(f"{origin}: no valid credentials (one line of printable ASCII is expected)")
    return value
