"""Filling a site's ledger: Slurm is asked for the jobs of all users, then the files of agents and the runs of users are
read."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from hpcfrugal.api.accounting_import import ask_slurm
from hpcfrugal.api.sync import Update
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.agent_jobs import AgentsSeen, agents_seen
from hpcfrugal.ledger.spools import LedgerSpool
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import SyncResult
from hpcfrugal.settings.values import path_of_user

_USER = "%u"


@dataclass(frozen=True, slots=True)
class SiteSyncResult:
    """What a site's sync found. ``users``: those whose spools were read. ``refused``: folders among these spools that
    are not, with the reason. ``days``: for how many days Slurm was asked, None where it did not answer."""

    result: SyncResult
    agents: AgentsSeen
    users: Sequence[str]
    refused: Sequence[str]
    days: int | None


def sync_site(update: Update, user_spools: Path, since: datetime | None) -> SiteSyncResult:
    """Fill the ledger of ``update`` with the jobs of all users. ``user_spools`` is the path of a user's spool, with the
    folder ``%u``.

    Where Slurm does not answer, a warning gives the reason, and all else is read. Raises as ``Update.run``.
    """
    days: int | None = None
    try:
        days = len(ask_slurm(update.spool, update.ledger, update.messages, None, since))
    except SetupError as error:
        update.messages.warn(f"Slurm was not asked for jobs: {' '.join(plain(error.message, 300).split())}")
    spools, refused = spools_of_users(user_spools)
    update = replace(update, of_users=spools)
    result = update.read_spool()
    if not update.offline:
        update.fetch_intensities()
    with open_ledger(update.ledger) as connection:
        agents = agents_seen(connection)
    return SiteSyncResult(result, agents, [spool.user or "" for spool in spools], refused, days)


def spools_of_users(path: Path) -> tuple[list[LedgerSpool], list[str]]:
    """The spools of users that are there, and why other folders among them are none: each has to belong to the user
    whose name it has."""
    at = path.parts.index(_USER)
    base = Path(*path.parts[:at])
    spools, refused = list[LedgerSpool](), list[str]()
    try:
        names = sorted(os.listdir(base))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{base}: cannot be listed: {error.strerror}"]
    for name in names:
        folder = base / name
        try:
            spool = path_of_user(path, name)
            reason = _refusal(folder, name) or (_refusal(spool, name) if spool != folder else None)
        except FileNotFoundError:
            continue  # none yet
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "strerror", None) or error)
        if reason is None:
            spools.append(LedgerSpool(spool, name))
        else:
            refused.append(f"{folder}: {reason}")
    return spools, refused


def _refusal(folder: Path, user: str) -> str | None:
    """Why a folder is not that of a user. Raises ``OSError``."""
    status = os.lstat(folder)
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link, not followed"
    if not stat.S_ISDIR(status.st_mode):
        return "not a folder"
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return "this machine has no user of that name"
    return None if status.st_uid == uid else f"belongs to uid {status.st_uid}, not to {user}"
