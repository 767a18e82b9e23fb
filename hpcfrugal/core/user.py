"""User names from the system's user database: environment variables may be left over from another login."""

from __future__ import annotations

import os
import pwd
from functools import cache


def user_name() -> str:
    """The user's name, or the uid if it has no name, as in many containers."""
    try:
        return _name(os.getuid())
    except KeyError:
        return str(os.getuid())


def owner_name(uid: int, claimed: str | None) -> str | None:
    """The name of the user with this uid, even if a file claims another one.

    ``claimed`` is used if the system has no user with this uid, unless it is the name of another user here.
    """
    try:
        return _name(uid)
    except KeyError:
        return claimed if claimed is None or not _is_known(claimed) else str(uid)


@cache
def _name(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name


@cache
def _is_known(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True
