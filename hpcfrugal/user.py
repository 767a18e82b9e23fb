"""Who runs this program, by the system's word: an environment variable may be left over from somebody else's login."""

from __future__ import annotations

import os
import pwd


def user_name() -> str:
    """The user's name, or number where there is no such user, as in many containers."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
