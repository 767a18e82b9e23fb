"""Folders that a group may read, made by several threads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcfrugal.core.files import make_private_folder


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    assert os.umask(before) == request.param


def test_a_folder_for_a_group_leaves_the_umask_of_other_threads_alone(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o2750)
    with monkeypatch.context() as patch:
        patch.delattr(os, "umask")
        make_private_folder(tmp_path / "one")
        make_private_folder(tmp_path / "one")
        with pytest.raises(FileExistsError):
            make_private_folder(tmp_path / "one", exist_ok=False)
        with pytest.raises(FileNotFoundError):
            make_private_folder(tmp_path / "two/three")
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o2750


def test_a_folder_in_a_private_one_is_private(tmp_path: Path, umask: int) -> None:
    tmp_path.chmod(0o700)
    make_private_folder(tmp_path / "one")
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o700
