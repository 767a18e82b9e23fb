"""Where the lab keeps things: one state directory, and the names of everything in it."""

from __future__ import annotations

from pathlib import Path

KIT = Path(__file__).resolve().parent
PROJECT = KIT.parent.parent

STATE = Path("/var/lib/hpcfrugal-lab")
FINGERPRINT = STATE / "fingerprint"
ETC = STATE / "etc"
PROCTRACK = STATE / "proctrack"
LOG = STATE / "log"
PIDS = STATE / "pids"
BUILD = STATE / "build"
SPOOL = STATE / "spool"
VENV = STATE / "venv"
MUNGE = STATE / "munge"
DATABASE = STATE / "mariadb"
MADE_USERS = STATE / "made_users.json"

SLURM_CONF = ETC / "slurm.conf"
MUNGE_SOCKET = MUNGE / "munge.socket"
DATABASE_SOCKET = DATABASE / "mariadb.sock"

# A tmpfs of the lab's own: counters that change 200 times a second must not reach a disk, and files that pin
# a mount namespace have to lie on a mount that is private.
LIVE = STATE / "live"


def node_dir(node: str) -> Path:
    """The live files of one node: its powercap tree, its libraries, its pinned mount namespace."""
    return LIVE / node


def namespace_file(node: str) -> Path:
    """The file that pins the mount namespace of `node` (see nsenter --mount=FILE)."""
    return node_dir(node) / "mnt"


def fault_file(node: str) -> Path:
    """What libnvidia-ml of `node` should do wrong; see nvml.c for the words."""
    return node_dir(node) / "nvml-fault"
