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
from hpcfrugal.spool.agent_files import AgentParser, AgentSession
from hpcfrugal.spool.agent_layout import agent_folder, agent_program
from hpcfrugal.spool.zipapp import SIDECAR_ENVIRON, put_sidecar, sidecar_zipapp


def become_agent(spool: Path, node: str, options: Sequence[str]) -> NoReturn:
    """Let the agent's small program take the place of this one. Raises SetupError where the spool cannot be written."""
    zipapp = agent_program(spool, node)
    try:
        zipapp.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            zipapp.unlink()
        put_sidecar(spool, zipapp)
    except OSError as error:
        raise SetupError(f"cannot write into {spool}: {error.strerror}: {error.filename}") from error
    argv = _argv(zipapp, node, [*options, "--folder", str(agent_folder(spool, node))])
    os.execve(argv[0], argv, os.environ | SIDECAR_ENVIRON)


def sample_once(node: str, options: Sequence[str]) -> tuple[AgentSession, bool]:
    """What an agent sees in one interval, and whether it could read any energy. Raises SetupError."""
    with tempfile.TemporaryDirectory() as folder:
        argv = _argv(sidecar_zipapp(Path(folder) / "sidecar.pyz"), node, [*options, "--once"])
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    parser = AgentParser(node)
    for line in done.stdout.splitlines():
        parser.take(line)
    if done.returncode not in (0, 1) or not parser.sessions:
        raise SetupError("the agent ended without a sample")
    return parser.sessions[0], done.returncode == 0


def _argv(zipapp: Path, node: str, options: Sequence[str]) -> list[str]:
    return [sys.executable, "-I", "-S", str(zipapp), "agent", "--node", node, *options]
