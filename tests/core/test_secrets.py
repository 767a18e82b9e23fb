"""Tokens: where they are found, which files are refused, and that they don't show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.secrets import SecretSpec, default_file, find_secret

ONE = SecretSpec((("NEW_NAME", "OLD_NAME"),), "API token")
TWO = SecretSpec((("A_USER",), ("A_PASSWORD",)), "user name and password, one a line")


def put(path: Path, text: str, mode: int = 0o600) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_from_the_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "OLD_NAME": " abc "}
    secret = find_secret("x", ONE, environ=environ)
    assert secret is not None
    assert (secret.values, secret.origin) == (("abc",), "OLD_NAME")
    assert "abc" not in repr(secret)
    assert "abc" not in str(secret)
    assert find_secret("x", ONE, environ={"HOME": str(tmp_path)}) is None


def test_two_belong_together(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "A_USER": "alice"}
    with pytest.raises(SourceError, match="A_USER is set, but A_PASSWORD is not"):
        find_secret("x", TWO, environ=environ)
    secret = find_secret("x", TWO, environ={**environ, "A_PASSWORD": "p w"})
    assert secret is not None
    assert secret.values == ("alice", "p w")


def test_from_the_default_file(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    put(default_file("x", environ), "alice\n\nhunter2\n")
    secret = find_secret("x", TWO, environ=environ)
    assert secret is not None
    assert secret.values == ("alice", "hunter2")


def test_a_named_file_goes_before_the_environment(tmp_path: Path) -> None:
    path = put(tmp_path / "token", "from-file", 0o400)
    secret = find_secret("x", ONE, path, {"HOME": str(tmp_path), "NEW_NAME": "from-environment"})
    assert secret is not None
    assert (secret.values, secret.origin) == (("from-file",), path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610])
def test_a_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "token", "abcdef", mode)
    with pytest.raises(SourceError, match=f"credentials can be read by others \\(mode {mode:04o}\\)") as caught:
        find_secret("x", ONE, path, {})
    assert caught.value.hint == f"chmod 600 {path}"
    assert "abcdef" not in caught.value.message


@pytest.mark.parametrize("text", ["", "\n\n", "one\ntwo\n", "to\x1b]0;ken", "clé", "x" * 5000, "x" * 20_000])
def test_a_file_that_holds_something_else(tmp_path: Path, text: str) -> None:
    path = put(tmp_path / "token", text)
    with pytest.raises(SourceError) as caught:
        find_secret("x", ONE, path, {})
    assert caught.value.message.startswith(f"{path}: ")
    assert not any(line in caught.value.message for line in text.split("\n") if line)


def test_a_file_of_more_than_16_kib(tmp_path: Path) -> None:
    path = put(tmp_path / "token", "abcdef" + "\n" * 16_378)
    found = find_secret("x", ONE, path, {})
    assert found is not None
    assert found.values == ("abcdef",)
    put(tmp_path / "token", "abcdef" + "\n" * 16_379)
    with pytest.raises(SourceError, match=r"larger than 16384 bytes$"):
        find_secret("x", ONE, path, {})


def test_a_variable_that_would_break_a_header(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="NEW_NAME: no valid credentials"):
        find_secret("x", ONE, environ={"HOME": str(tmp_path), "NEW_NAME": "a\r\nX-Evil: 1"})


def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "token", "abc")
    if os.getuid() == 0:
        os.chown(path, 1234, 1234)  # root's own files serve everybody
    else:
        monkeypatch.setattr(os, "getuid", lambda: 1234)
    with pytest.raises(SourceError, match="belongs to another user"):
        find_secret("x", ONE, path, {})


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SourceError, match="not a regular file"):
        find_secret("x", ONE, str(tmp_path / "pipe"), {})
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        find_secret("x", ONE, str(tmp_path / "none"), {})
    with pytest.raises(SourceError):
        find_secret("x", ONE, str(tmp_path), {})
