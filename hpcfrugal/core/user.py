"""Who runs this program, by the system's word: an environment variable may be left over from somebody else's login."""

from __future__ import annotations

import os
import pwd
from functools import cache


def user_name() -> str:
    """The user's name, or number where there is no such user, as in many containers."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def owner_name(uid: int, said: str | None) -> str | None:
    """The name of the user with this number, whatever a file of theirs says.

    ``said`` stands where the system does not know the number, unless it is the name of somebody else here.
    """
    try:
        return _name(uid)
    except KeyError:
        return said if said is None or not _is_known(said) else str(uid)


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
