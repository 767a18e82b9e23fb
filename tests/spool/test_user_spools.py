"""Spools that the site gives its users: the user and the operators' group read them, and nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_user import OtherUser, public_folder

from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.doctor.storage import storage_findings
from hpcfrugal.settings.config import load_config
from hpcfrugal.spool.layout import RunDir, own_folder

ALICE, BOB = OtherUser(41001, (41001,)), OtherUser(41002, (41002,))
OPERATOR, NOBODY = OtherUser(41003, (41003, 41900)), OtherUser(65534, (65534,))
RUN_ID = "20261128T120000Z-0123abcd"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


@pytest.fixture
def users() -> Iterator[Path]:
    with public_folder() as folder:
        users = folder / "users"
        users.mkdir()
        os.chown(users, 0, 41900)
        users.chmod(0o3773)
        yield users


def make_run(spool: Path, umask: int = 0o022) -> RunDir:
    os.umask(umask)
    run = RunDir.create(spool, RUN_ID)
    write_json_atomic(run.run_json, {"schema": 1})
    return run


def reads(path: Path) -> bool:
    try:
        os.listdir(path.parent)
        return path.read_bytes() != b""
    except PermissionError:
        return False


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_the_user_and_the_operators_read_a_run_and_nobody_else(users: Path, umask: int) -> None:
    run = ALICE.run(lambda: make_run(users / "41001", umask))
    for folder in (users / "41001", run.path.parent, run.path):
        found = folder.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o2750, 41001, 41900)
    file = run.run_json
    assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_gid) == (0o640, 41900)
    may = {name: user.run(lambda: reads(file)) for name, user in USERS.items()}
    assert may == {"alice": True, "bob": False, "operator": True, "nobody": False}
    for user in (BOB, OPERATOR, NOBODY):
        with pytest.raises(PermissionError):
            user.run(lambda: make_run(users / "41001"))
        with pytest.raises(PermissionError):
            user.run(lambda: os.rename(users / "41001", users / "mine"))


USERS = {"alice": ALICE, "bob": BOB, "operator": OPERATOR, "nobody": NOBODY}


def test_a_folder_or_link_that_somebody_else_made_is_refused(users: Path) -> None:
    with public_folder() as elsewhere:
        os.chmod(elsewhere, 0o777)
        BOB.run(lambda: (users / "41001").symlink_to(elsewhere))
        with pytest.raises(PermissionError, match="belongs to another user"):
            ALICE.run(lambda: make_run(users / "41001"))
        (users / "41001").unlink()
        BOB.run(lambda: ((users / "41001").mkdir(), (users / "41001").chmod(0o777)))
        with pytest.raises(PermissionError, match="belongs to another user"):
            ALICE.run(lambda: make_run(users / "41001"))
        assert [*elsewhere.iterdir(), *(users / "41001").iterdir()] == []


def test_a_link_or_foreign_folder_below_ones_own_spool_is_refused(users: Path) -> None:
    spool = users / "41001"
    ALICE.run(lambda: own_folder(spool, "intensity"))
    (spool / "intensity").rmdir()
    (spool / "intensity").symlink_to(users)
    with pytest.raises(PermissionError, match="is a symbolic link"):
        ALICE.run(lambda: own_folder(spool, "intensity", "2026-11"))
    (spool / "accounting").mkdir()
    with pytest.raises(PermissionError, match="belongs to another user"):
        ALICE.run(lambda: own_folder(spool, "accounting", "2026-11"))


def test_a_spool_in_a_shared_project_stays_closed(users: Path) -> None:
    project = users.parent / "project"
    project.mkdir()
    os.chown(project, 41001, 41900)
    project.chmod(0o2770)
    run = ALICE.run(lambda: make_run(project / "spool"))
    assert [stat.S_IMODE(path.stat().st_mode) & 0o777 for path in (project / "spool", run.path)] == [0o700, 0o700]
    assert not OPERATOR.run(lambda: reads(run.run_json))


def test_ones_own_link_to_a_spool_is_followed(users: Path) -> None:
    def through_a_link() -> bool:
        make_run(users / "41001")
        (users / "41001" / "link").symlink_to(users / "41001" / "there")
        (users / "41001" / "there").mkdir(mode=0o700)
        return own_folder(users / "41001" / "link", "sidecar").is_dir()

    assert ALICE.run(through_a_link)


def test_the_spool_of_the_settings_is_that_of_the_user(users: Path) -> None:
    environ = {"HOME": f"{users.parent}/no-home", "HPCFRUGAL_SPOOL": f"{users}/%u"}
    assert ALICE.run(lambda: load_config(environ).spool) == users / "41001"


def test_doctor_names_the_group_that_can_read_ones_spool(users: Path) -> None:
    """Others than that group are a finding."""
    environ = {
        "HOME": f"{users.parent}/no-home",
        "HPCFRUGAL_SPOOL": f"{users}/%u",
        "HPCFRUGAL_LEDGER": f"{users}/41001/ledger.db",
    }

    def finding(mode: int | None = None) -> tuple[str, str]:
        make_run(users / "41001")
        if mode is not None:
            (users / "41001").chmod(mode)
        spool = next(one for one in storage_findings(load_config(environ)) if one.subject == "spool")
        return spool.level, spool.found

    level, found = ALICE.run(finding)
    assert (level, found.endswith(", the group 41900 can read it)")) == ("ok", True)
    (users / "41001").rename(users / "old")
    level, found = ALICE.run(lambda: finding(0o755))
    assert (level, "others can read it" in found) == ("gap", True)
