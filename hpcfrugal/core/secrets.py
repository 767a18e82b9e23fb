"""Tokens and passwords of providers: from the environment, or from a file that only its owner can read.

A secret is kept in an object that doesn't print itself, and goes nowhere but into a request's header: not into a log,
an error, the cache or a run's record.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcfrugal.core.bounded_read import read_regular
from hpcfrugal.core.directories import config_dir
from hpcfrugal.core.errors import ForecastError

_LONGEST_FILE = 16_384


@dataclass(frozen=True, slots=True)
class SecretSpec:
    """Which values a provider needs, and the environment variables that may hold each, first the usual one."""

    variables: tuple[tuple[str, ...], ...]
    what: str

    def told(self) -> str:
        """``WATTTIME_USER and WATTTIME_PASSWORD``."""
        return " and ".join(names[0] for names in self.variables)


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """The values, one for each of the spec. ``origin`` names the variables or the file that they came from."""

    values: tuple[str, ...]
    origin: str

    def __repr__(self) -> str:
        return f"Secret(from {self.origin})"


def default_file(kind: str, environ: Mapping[str, str]) -> Path:
    """Where a user's credentials lie unless the settings name another file."""
    return config_dir(environ) / "credentials" / kind


def find_secret(
    kind: str, spec: SecretSpec, file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Secret | None:
    """The credentials of a kind of provider; None where there are none.

    A file named in the settings goes before the environment, and that before the default file.

    Raises:
        ForecastError: a file can be read by others, is not the user's, or does not hold what it should.
    """
    if file is not None:
        return _from_file(file, spec, wanted=True)
    found = [next((name for name in names if environ.get(name)), None) for names in spec.variables]
    if all(found):
        names = [name for name in found if name]
        origin = " and ".join(names)
        return Secret(tuple(_checked(environ[name], name) for name in names), origin)
    if any(found):
        lacking = " and ".join(names[0] for names, name in zip(spec.variables, found, strict=True) if not name)
        raise ForecastError(f"{' and '.join(name for name in found if name)} is set, but {lacking} is not")
    return _from_file(default_file(kind, environ), spec, wanted=False)


def _from_file(path: Path, spec: SecretSpec, *, wanted: bool) -> Secret | None:
    try:
        content, status = read_regular(path, _LONGEST_FILE)
    except FileNotFoundError:
        if not wanted:
            return None
        raise ForecastError(f"{path}: there is no such file", hint=f"put the {spec.what} into it") from None
    except (OSError, ValueError) as error:
        raise ForecastError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if status.st_uid not in (os.getuid(), 0):
        raise ForecastError(f"{path}: belongs to another user")
    if status.st_mode & 0o077:
        raise ForecastError(
            f"{path}: holds credentials and can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {path}",
        )
    lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
    if len(lines) != len(spec.variables):
        raise ForecastError(f"{path}: needs {len(spec.variables)} line(s): the {spec.what}")
    return Secret(tuple(_checked(line, str(path)) for line in lines), str(path))


def _checked(value: str, origin: str) -> str:
    value = value.strip()
    # Anything else would break the header that it goes into.
    if not value or len(value) > 4096 or not all("\x20" <= char <= "\x7e" for char in value):
        raise ForecastError(f"{origin}: does not hold credentials (printable ASCII is expected)")
    return value
