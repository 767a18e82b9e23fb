"""The user's name, with and without an entry in the system's list of users."""

from __future__ import annotations

import os
import pwd

import pytest

from hpcfrugal.user import user_name


def test_the_system_is_asked_not_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "a'; rm -rf ~ #")
    assert user_name() == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_without_an_entry_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_111)
    assert user_name() == "4000111"
