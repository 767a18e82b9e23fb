"""Munge and MariaDB, both with data and sockets of the lab's own: nothing else on the machine sees them."""

from __future__ import annotations

import os
import shutil
import socket

from . import paths
from .daemons import Daemon
from .shell import run, wait_until

MUNGED = Daemon(
    "munged",
    (
        "/usr/sbin/munged",
        "--foreground",
        f"--key-file={paths.MUNGE}/key",
        f"--socket={paths.MUNGE_SOCKET}",
        f"--pid-file={paths.MUNGE}/munged.pid",
        f"--log-file={paths.MUNGE}/munged.log",
        f"--seed-file={paths.MUNGE}/munged.seed",
    ),
)
MARIADBD = Daemon(
    "mariadbd",
    (
        "/usr/sbin/mariadbd",
        "--no-defaults",
        "--user=mysql",
        f"--datadir={paths.DATABASE}/data",
        f"--socket={paths.DATABASE_SOCKET}",
        f"--pid-file={paths.DATABASE}/mariadbd.pid",
        "--skip-networking",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=16M",
        "--innodb-lock-wait-timeout=900",
        # The data are thrown away with the lab: no need to wait for a disk.
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        # MariaDB 11.8 has it on, and slurmdbd fails with it; older ones do not have it.
        "--loose-innodb-snapshot-isolation=OFF",
    ),
)


def start_munge() -> None:
    """Start munged with a key of the lab's own and wait for its socket."""
    paths.MUNGE.mkdir(mode=0o755, exist_ok=True)
    key = paths.MUNGE / "key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
    if MUNGED.process() is None:
        paths.MUNGE_SOCKET.unlink(missing_ok=True)
        MUNGED.start()
    wait_until(lambda: _accepts(str(paths.MUNGE_SOCKET)), "munged")


def start_mariadb() -> None:
    """Make the data directory where there is none, start MariaDB and wait for its socket."""
    data = paths.DATABASE / "data"
    if not (data / "mysql" / "db.frm").exists():
        # Nothing, or what an interrupted `up` left.
        shutil.rmtree(paths.DATABASE, ignore_errors=True)
        paths.DATABASE.mkdir(mode=0o700)
        shutil.chown(paths.DATABASE, "mysql", "mysql")
        run(
            [
                "mariadb-install-db",
                "--no-defaults",
                "--user=mysql",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=16M",
                "--innodb-flush-method=nosync",
            ]
        )
    MARIADBD.start()
    wait_until(lambda: _accepts(str(paths.DATABASE_SOCKET)) or _still_there(), "mariadbd")
    # slurmdbd makes it too, but with MariaDB 11.8 its first start fails then.
    make = "CREATE DATABASE IF NOT EXISTS slurm_acct_db"
    run(["mariadb", "--no-defaults", "--user=root", f"--socket={paths.DATABASE_SOCKET}", f"--execute={make}"])


def _still_there() -> bool:
    MARIADBD.require()
    return False


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
    return True
