"""The day of a test that takes days by the clock, as the program that it runs does."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

ROOM = timedelta(seconds=45)
"""More than such a test takes."""


def today() -> datetime:
    """When the day in UTC began. Where it is about to end, this waits for the next one: a test must not see two."""
    if (datetime.now(UTC) + ROOM).date() != datetime.now(UTC).date():
        time.sleep(ROOM.total_seconds())
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
