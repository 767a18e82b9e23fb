"""The mount table tells local from network file systems; what is not known is not local."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcfrugal.ledger.filesystem import LOCAL, filesystem_type, journal_mode

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /home rw shared:2 - nfs4 server:/home rw
31 22 0:26 / /lustre rw - lustre mds@tcp:/fs rw
32 22 0:27 / /with\040space rw master:1 shared:3 - gpfs gpfs rw
33 30 8:2 / /home/local rw - xfs /dev/sdb rw
34 22 0:28 / /mnt rw - ext4 /dev/sdc rw
35 34 0:29 / /mnt rw - fuse.sshfs host: rw
garbage
36 22 0:30 / /tmp rw - tmpfs tmpfs rw
"""


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind", "mode"),
    [
        ("/nowhere/x", "ext4", "wal"),
        ("/home/alice/ledger.db", "nfs4", "delete"),
        ("/home/local/x", "xfs", "wal"),
        ("/homely/x", "ext4", "wal"),
        ("/lustre", "lustre", "delete"),
        ("/with space/x", "gpfs", "delete"),
        ("/mnt/x", "fuse.sshfs", "delete"),
    ],
)
def test_the_nearest_and_topmost_mount_counts(mountinfo: Path, path: str, kind: str, mode: str) -> None:
    assert filesystem_type(Path(path), mountinfo) == kind
    assert journal_mode(Path(path), mountinfo) == mode


def test_links_are_followed_to_where_the_file_is(mountinfo: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/lustre")
    assert filesystem_type(tmp_path / "link" / "x", mountinfo) == "lustre"


def test_an_unreadable_mount_table_means_no_write_ahead_log(tmp_path: Path) -> None:
    assert filesystem_type(tmp_path, tmp_path / "none") is None
    assert journal_mode(tmp_path, tmp_path / "none") == "delete"


def test_this_machine_is_found() -> None:
    assert filesystem_type(Path("/proc")) == "proc"
    assert "proc" not in LOCAL
