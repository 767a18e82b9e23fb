"""The version of the code that a run belongs to."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from hpcfrugal.local.code_state import code_state
from hpcfrugal.spool.documents import CodeState


def git(folder: Path, *argv: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *names, *argv], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "a'; rm -rf ~ #"
    (folder / "src").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "src/train.py").write_text("1")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def test_commit_and_whether_the_tree_is_clean(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert code_state(repository) == CodeState(commit, git_clean=True)
    (repository / "results.csv").write_text("untracked files are output, not code")
    assert code_state(repository / "src") == CodeState(commit, git_clean=True)
    (repository / "src/train.py").write_text("2")
    assert code_state(repository) == CodeState(commit, git_clean=False)
    # A hook of git has these set for its own repository.
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert code_state(repository) == CodeState(commit, git_clean=False)


def test_the_hash_of_dvc_lock_from_the_folder_or_the_top(repository: Path) -> None:
    (repository.parent / "dvc.lock").write_text("of another project")
    assert code_state(repository / "src").dvc_lock_sha256 is None
    (repository / "dvc.lock").write_text("top")
    assert code_state(repository / "src").dvc_lock_sha256 == hashlib.sha256(b"top").hexdigest()
    (repository / "src/dvc.lock").write_text("own")
    assert code_state(repository / "src").dvc_lock_sha256 == hashlib.sha256(b"own").hexdigest()
    (repository / "src/dvc.lock").unlink()
    os.mkfifo(repository / "src/dvc.lock")
    assert code_state(repository / "src").dvc_lock_sha256 == hashlib.sha256(b"top").hexdigest()


def test_a_folder_that_this_user_may_not_search_has_no_known_version(tmp_path: Path) -> None:
    # Path.exists raises an error for a name that is too long, as it does below a directory without permission, such as
    # that of root in which `sudo -u alice` was called.
    assert code_state(tmp_path / ("a" * 300)) == CodeState()


def test_without_a_repository_a_commit_or_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_state(tmp_path) == CodeState()
    git(tmp_path, "init", "-q")
    assert code_state(tmp_path) == CodeState()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert code_state(tmp_path) == CodeState()
    assert code_state(tmp_path / "missing") == CodeState()


def test_a_git_that_hangs_costs_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    began = time.monotonic()
    assert code_state(tmp_path) == CodeState()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("size_mb", "hashed"), [(16, True), (17, False)])
def test_a_dvc_lock_above_16_mb_is_not_hashed(tmp_path: Path, size_mb: int, hashed: bool) -> None:
    with (tmp_path / "dvc.lock").open("wb") as file:
        file.truncate(size_mb * 10**6)
    assert (code_state(tmp_path).dvc_lock_sha256 is not None) is hashed
