"""Where the lab keeps things: one state directory, and the names of everything in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KIT = Path(__file__).resolve().parent
PROJECT = KIT.parent.parent

STATE = Path("/var/lib/hpcfrugal-lab")
_MARKER = Path("/etc/hpcfrugal-lab.json")
CONTAINER: dict[str, Any] = json.loads(_MARKER.read_text(encoding="utf-8")) if _MARKER.exists() else {}
"""In a container (see container.py) its release of Slurm and its first port; else nothing."""
FIRST_PORT = 26817
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

PROLOG_FAILS = STATE / "prolog-fails"
"""The prolog fails for jobs of whose id there is a file in it."""

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
