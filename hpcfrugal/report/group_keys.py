"""What a report may be grouped by, as users name it."""

from __future__ import annotations

from collections.abc import Sequence

from hpcfrugal.core.errors import InputError
from hpcfrugal.ledger.groups import GROUPINGS


def checked_groupings(keys: Sequence[str], where: str) -> tuple[str, ...]:
    """One or two groupings, or none. Raises InputError, which names ``where``."""
    wrong = [key for key in keys if key not in GROUPINGS and (not key.startswith("tag:") or key == "tag:")]
    if wrong:
        key = wrong[0] if wrong[0].isidentifier() else "KEY"
        raise InputError.at(
            where, f"unknown grouping {wrong[0][:40]!r}", f"use {', '.join(GROUPINGS)}, or for a tag tag:{key[:40]}"
        )
    if len(keys) > 2 or len(set(keys)) < len(keys):
        raise InputError.at(where, "more than two groupings, or one of them twice", "use two, such as user and month")
    return tuple(keys)
