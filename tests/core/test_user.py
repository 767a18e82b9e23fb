"""The user's name, with and without an entry in the system's list of users."""

from __future__ import annotations

import os
import pwd

import pytest

from hpcfrugal.core.user import owner_name, user_name


def test_the_system_is_asked_not_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "a'; rm -rf ~ #")
    assert user_name() == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_without_an_entry_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_111)
    assert user_name() == "4000111"


def test_the_name_of_an_owner_that_the_system_does_not_know() -> None:
    nobody = max(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid < 2**31) + 12345
    assert owner_name(nobody, "carol-who-is-not-here") == "carol-who-is-not-here"
    assert owner_name(nobody, "root") == str(nobody)
    assert owner_name(nobody, "a\0b") == "a\0b"
    assert owner_name(nobody, None) is None
    assert owner_name(0, "carol-who-is-not-here") == pwd.getpwuid(0).pw_name
