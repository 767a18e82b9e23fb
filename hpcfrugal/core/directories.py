"""The user's directories for settings, data and caches, by the XDG Base Directory Specification.

platformdirs is not used: its behaviour for an unset or relative HOME depends on its version, while this is one clear
error here. It also reads only the environment of the process.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from hpcfrugal.core.errors import SetupError


def working_directory() -> Path:
    """Where this process was started. Raises SetupError where that was removed."""
    try:
        return Path.cwd()
    except OSError as error:
        hint = "change to a directory that exists, or set `workdir`"
        raise SetupError(f"the working directory cannot be found: {error.strerror}", hint=hint) from None


def _home(environ: Mapping[str, str]) -> Path:
    """The user's home directory, from HOME or else from the system's user database.

    Raises SetupError if there is none, such as for a user who is not in the /etc/passwd of a container.
    """
    hint = "set HOME, or all of XDG_CONFIG_HOME, XDG_CACHE_HOME and XDG_DATA_HOME"
    home = environ.get("HOME")
    if not home:
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            what = f"your home directory is not known: HOME is not set, and the system has no user {os.getuid()}"
            raise SetupError(what, hint=hint) from None
    if not home.startswith("/"):
        raise SetupError(f"your home directory is not an absolute path: {home!r}", hint=hint)
    return Path(home)


def _xdg(variable: str, fallback: str, environ: Mapping[str, str]) -> Path:
    # The specification: a relative path in these variables is ignored.
    value = environ.get(variable, "")
    base = Path(value) if value.startswith("/") else _home(environ) / fallback
    return base / "hpcfrugal"


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's own directory of settings and templates. Raises SetupError."""
    return _xdg("XDG_CONFIG_HOME", ".config", environ)


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's directory of files that can be recreated. Raises SetupError."""
    return _xdg("XDG_CACHE_HOME", ".cache", environ)


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's directory of the spool and the ledger. Raises SetupError."""
    return _xdg("XDG_DATA_HOME", ".local/share", environ)
