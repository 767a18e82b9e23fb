"""The Unix users of the lab: made where they don't exist, and only those are removed again."""

from __future__ import annotations

import json
import os
import pwd
import shutil
from pathlib import Path

from . import paths, process
from .shell import run

USERS = ("alice", "bob")


def ensure() -> None:
    """Make the users that aren't there, with homes that only they can read."""
    made = _made()
    for name in USERS:
        if _exists(name):
            continue
        # Noted first: a lab that dies right here still knows what to take away.
        made[name] = -1
        _note(made)
        run(
            [
                "useradd",
                "--create-home",
                "--user-group",
                "--shell",
                "/bin/bash",
                "--key",
                "HOME_MODE=0700",
                name,
            ]
        )
        made[name] = pwd.getpwnam(name).pw_uid
        _note(made)


def remove() -> None:
    """Take away the users that the lab made: their processes, their homes, and what they left in /tmp."""
    made = {name: pwd.getpwnam(name).pw_uid for name in _made() if _exists(name)}
    process.end(process.of_users(made.values()), grace_s=0)
    for name in made:
        run(["userdel", "--remove", "--force", name])
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        for entry in os.scandir(place):
            if entry.stat(follow_symlinks=False).st_uid in made.values():
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    Path(entry.path).unlink()


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _made() -> dict[str, int]:
    if not paths.MADE_USERS.exists():
        return {}
    made: dict[str, int] = json.loads(paths.MADE_USERS.read_text(encoding="utf-8"))
    return made


def _note(made: dict[str, int]) -> None:
    paths.MADE_USERS.write_text(json.dumps(made), encoding="utf-8")
