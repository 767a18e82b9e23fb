"""Where a site's published ledgers lie, and how root gives a file to a user without following what others made there.

``<published>`` is root's (0711: nobody lists it), ``<published>/<user>`` the user's (0500), the files in it too (0400).
They are made in a folder that root alone can enter and moved from there in one step, so that a user who writes into
their own folder changes nothing but what they see.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.lock import LockHeld, take_lock
from hpcfrugal.spool.layout import encode_node

LEDGER_NAME = "ledger.sqlite"
REPORT_NAME = "report.md"
_ACCOUNT = "account-"
_STAGING = ".staging-"


def ledger_of(published: Path, user: str, account: str | None = None) -> Path:
    """The published ledger of a user, or of an account that they manage."""
    return published / user / (LEDGER_NAME if account is None else f"{_ACCOUNT}{encode_node(account)}.sqlite")


def report_beside(ledger: Path) -> str:
    """The name of the report that is published with a ledger."""
    return REPORT_NAME if ledger.name == LEDGER_NAME else f"{ledger.stem}.md"


@contextmanager
def staging(published: Path) -> Iterator[Path]:
    """A folder for files that are to be given, which root alone can enter.

    Raises SetupError: this is not root, the folder ``published`` is not root's alone, or somebody else publishes.
    """
    if os.geteuid() != 0:
        raise SetupError("only root can give files to users", hint="run it as root, such as from a timer of systemd")
    try:
        published.mkdir(mode=0o711, parents=True, exist_ok=True)
        found = published.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
            raise SetupError(f"{published} is not writable for root alone", hint="make it a folder of root, mode 0711")
        published.chmod(0o711)
        with take_lock(published / ".lock"):
            for stale in published.glob(f"{_STAGING}*"):
                shutil.rmtree(stale)
            folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=published))
            try:
                yield folder
            finally:
                shutil.rmtree(folder)
    except LockHeld:
        raise SetupError(f"another process publishes into {published}") from None
    except OSError as error:
        raise SetupError(f"cannot publish into {published}: {error.strerror}: {error.filename}") from error


def give(staged: Sequence[Path], folder: Path, uid: int, gid: int) -> None:
    """Move files into the folder of a user, with their own names, and remove those of accounts that are not among them.

    Raises ``OSError``, also where the folder is not this user's.
    """
    folder.mkdir(mode=0o500, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid not in (0, uid):  # root's: just made
            raise PermissionError(errno.EPERM, "belongs to another user", str(folder))
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, 0o500)
        for file in staged:
            _seal(file, uid, gid)
            os.rename(file, file.name, dst_dir_fd=descriptor)
        kept = {file.name for file in staged}
        for name in os.listdir(descriptor):
            if name.startswith(_ACCOUNT) and name not in kept:
                os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _seal(file: Path, uid: int, gid: int) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, 0o400)
        os.fchown(descriptor, uid, gid)
    finally:
        os.close(descriptor)
