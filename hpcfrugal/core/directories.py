"""The user's directories of settings, data and caches, by the XDG Base Directory Specification."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from hpcfrugal.core.errors import SetupError


def _home(environ: Mapping[str, str]) -> Path:
    """The user's home: by HOME, else by the system's word.

    Raises SetupError where there is none, as for a user of a container who is not in its /etc/passwd.
    """
    home = environ.get("HOME")
    if not home:
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            raise SetupError(
                "your home directory is not known: HOME is not set, and the system knows no user "
                f"with the number {os.getuid()}",
                hint="set HOME, or all of XDG_CONFIG_HOME, XDG_CACHE_HOME and XDG_DATA_HOME",
            ) from None
    if not home.startswith("/"):
        raise SetupError(
            f"your home directory is not an absolute path: {home!r}",
            hint="set HOME, or all of XDG_CONFIG_HOME, XDG_CACHE_HOME and XDG_DATA_HOME",
        )
    return Path(home)


def _xdg(variable: str, fallback: str, environ: Mapping[str, str]) -> Path:
    # The XDG specification says that a relative path in these variables is to be ignored.
    value = environ.get(variable, "")
    base = Path(value) if value.startswith("/") else _home(environ) / fallback
    return base / "hpcfrugal"


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's own directory of settings and templates."""
    return _xdg("XDG_CONFIG_HOME", ".config", environ)


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's directory of files that can be made again."""
    return _xdg("XDG_CACHE_HOME", ".cache", environ)


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's directory of the spool and the ledger."""
    return _xdg("XDG_DATA_HOME", ".local/share", environ)
