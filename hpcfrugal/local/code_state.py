"""The version of the code in a working directory: its git commit, and the hash of its dvc.lock."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from hpcfrugal.core.safe_read import UnsafeFile, read_regular
from hpcfrugal.spool.documents import CodeState

_TIMEOUT_S = 1.0
"""A working tree of millions of files, or on a file system that hangs, must not delay the job."""

_LOCK_BYTES = 16_000_000
_COMMIT = re.compile(rb"^# branch\.oid ([0-9a-f]{40}|[0-9a-f]{64})$", re.MULTILINE)

# Nothing is locked, no program of the repository's settings is started, and untracked files are not looked for.
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")
_STATUS = ("status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=dirty")


def code_state(folder: Path) -> CodeState:
    """The version of the code in ``folder``; what cannot be found out within a second is None.

    ``dvc.lock`` is that of the folder, else that of the top of its git repository.
    """
    commit, clean = _git_state(folder)
    return CodeState(commit, clean, _dvc_lock_hash(folder))


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit, and whether no tracked file differs from it; None where there is none or git does not answer."""
    if not any(_has_git(place) for place in (folder, *folder.parents)):
        return None, None
    # GIT_DIR and its like may be those of a hook that calls us.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            [*_GIT, *_STATUS],
            cwd=folder,
            env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    found = _COMMIT.search(done.stdout) if done.returncode == 0 else None
    if found is None:
        return None, None
    return found[1].decode(), all(line.startswith(b"#") for line in done.stdout.splitlines())


def _dvc_lock_hash(folder: Path) -> str | None:
    """SHA-256 of the file's bytes in hexadecimal."""
    for place in (folder, *folder.parents):
        with suppress(UnsafeFile):
            return hashlib.sha256(read_regular(place / "dvc.lock", _LOCK_BYTES, follow=True)[0]).hexdigest()
        if _has_git(place):
            return None
    return None


def _has_git(folder: Path) -> bool:
    # Not by Path.exists, which raises an error below a directory that this user may not search.
    return os.path.exists(folder / ".git")
