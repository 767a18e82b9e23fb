"""The ledger: an SQLite index over the spool, which can be deleted and rebuilt to the same content."""

from __future__ import annotations

from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import SyncResult, check, dump, rebuild, sync

__all__ = ["SyncResult", "check", "dump", "open_ledger", "rebuild", "sync"]
