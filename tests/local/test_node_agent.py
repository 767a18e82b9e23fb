"""What starts the node agent: its folder, and the program in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from hpcfrugal.core.errors import SetupError
from hpcfrugal.local.node_agent import become_agent


class Started(Exception):
    """In place of the program that the process would become."""


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    words = list[str]()

    def execve(_program: str, argv: Sequence[str], _environ: object) -> None:
        words[:] = argv
        raise Started

    monkeypatch.setattr(os, "execve", execve)
    return words


def test_the_group_may_list_the_folder_of_the_files(tmp_path: Path, started: list[str]) -> None:
    gid = 12345 if os.geteuid() == 0 else os.getgid()
    with pytest.raises(Started):
        become_agent(tmp_path / "spool", "n1", ["--interval", "1"], gid)
    folder = tmp_path / "spool/agents/n1"
    for each in (folder.parent, folder):
        assert (each.stat().st_gid, each.stat().st_mode & 0o777) == (gid, 0o750)
    assert (folder / "sidecar.pyz").stat().st_mode & 0o077 == 0
    assert started[-4:] == ["--gid", str(gid), "--folder", str(folder)]


@pytest.mark.parametrize("shared", ["", "agents", "agents/n1"])
def test_a_folder_into_which_others_may_write_is_refused(tmp_path: Path, started: list[str], shared: str) -> None:
    """They could put another program there, which root would run."""
    folder = tmp_path / "spool" / shared
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(SetupError, match=f"{folder} is not writable for you alone"):
        become_agent(tmp_path / "spool", "n1", [])
    assert started == []
    folder.chmod(0o755)
    with pytest.raises(Started):
        become_agent(tmp_path / "spool", "n1", [])
