"""Starts the node agent of this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hpcfrugal.core.errors import SetupError
from hpcfrugal.sidecar.agent.day_files import make_folder
from hpcfrugal.spool.agent_files import AgentParser, AgentSession, sessions_in
from hpcfrugal.spool.agent_layout import agent_folder, agent_program
from hpcfrugal.spool.zipapp import SIDECAR_ENVIRON, put_sidecar, sidecar_zipapp


def become_agent(spool: Path, node: str, options: Sequence[str], gid: int | None = None) -> NoReturn:
    """Let the agent's small program take the place of this one; ``gid`` is the group that may read its files.

    Raises SetupError where the spool cannot be written, or others can write into it.
    """
    zipapp, folder = agent_program(spool, node), agent_folder(spool, node)
    try:
        make_folder(str(folder), gid)
        for each in (spool, folder.parent, folder):
            _refuse_shared(each)
        with contextlib.suppress(FileNotFoundError):
            zipapp.unlink()
        put_sidecar(spool, zipapp)
    except OSError as error:
        raise SetupError(f"cannot write into {spool}: {error.strerror}: {error.filename}") from error
    group = [] if gid is None else ["--gid", str(gid)]
    argv = _argv(zipapp, node, [*options, *group, "--folder", str(folder)])
    os.execve(argv[0], argv, os.environ | SIDECAR_ENVIRON)


def _refuse_shared(folder: Path) -> None:
    """Raises SetupError where others could put another program in the place of the agent's."""
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SetupError(
            f"{folder} is not writable for you alone",
            hint="the agent's program lies there: make it a folder of the user who runs the agent (root), mode 0755",
        )


def sample_once(node: str, options: Sequence[str]) -> tuple[AgentSession, bool]:
    """What an agent sees in one interval, and whether it could read any energy. Raises SetupError."""
    with tempfile.TemporaryDirectory() as folder:
        argv = _argv(sidecar_zipapp(Path(folder) / "sidecar.pyz"), node, [*options, "--once"])
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    sessions = sessions_in(AgentParser(node), done.stdout.splitlines())
    if done.returncode not in (0, 1) or not sessions:
        raise SetupError("the agent ended without a sample")
    return sessions[0], done.returncode == 0


def _argv(zipapp: Path, node: str, options: Sequence[str]) -> list[str]:
    return [sys.executable, "-I", "-S", str(zipapp), "agent", "--node", node, *options]
