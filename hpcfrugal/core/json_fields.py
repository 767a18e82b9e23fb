"""Typed access to the keys of a JSON object that somebody else wrote.

A missing key or null is None. A value of the wrong type or out of range is None too and leaves a sentence in
``problems``, so that one bad field does not cost the whole document and is not passed over either.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

MAX_INT = 2**62
"""Larger integers are taken for garbage; it leaves room for sums in SQLite's signed 64 bits."""

MAX_MEMORY_B = 2**50
"""More memory than this on one node, 1 PiB, is garbage; the largest machines that share theirs have a tenth of it."""

MIN_WALL_NS = 946_684_800 * 10**9
MAX_WALL_NS = 7_258_118_400 * 10**9
"""Wall clock readings outside 2000-01-01 .. 2200-01-01 UTC are garbage."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clean_text(text: str) -> str:
    """``text`` with lone surrogates, which no database and no terminal takes, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Fields:
    """A reader over one JSON object that gathers what is wrong with it."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.problems: list[str] = []

    def _bad(self, key: str, wanted: str) -> None:
        self.problems.append(f"{key}: not {wanted}")

    def text(self, key: str) -> str | None:
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            return clean_text(value)
        self._bad(key, "a text")
        return None

    def integer(self, key: str, *, low: int = 0, high: int = MAX_INT) -> int | None:
        value = self.data.get(key)
        if value is None or (type(value) is int and low <= value <= high):
            return value
        self._bad(key, f"an integer from {low} to {high}")
        return None

    def flag(self, key: str) -> bool | None:
        value = self.data.get(key)
        if value is None or isinstance(value, bool):
            return value
        self._bad(key, "true or false")
        return None

    def number(self, key: str) -> float | None:
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_INT:
            return float(value)
        self._bad(key, "a number")
        return None

    def texts(self, key: str) -> tuple[str, ...] | None:
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(clean_text(item) for item in value)
        self._bad(key, "a list of texts")
        return None

    def mapping(self, key: str) -> dict[str, Any] | None:
        value = self.data.get(key)
        if value is None or isinstance(value, dict):
            return value
        self._bad(key, "an object")
        return None

    def wall_ns(self, key: str) -> int | None:
        """An ISO 8601 time with its offset as nanoseconds since the epoch."""
        text = self.text(key)
        if text is None:
            return None
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            when = None
        if when is None or when.tzinfo is None:
            self._bad(key, "an ISO 8601 time with its offset from UTC")
            return None
        return self._in_range(key, (when - _EPOCH) // timedelta(microseconds=1) * 1000)

    def wall_ns_of_seconds(self, key: str) -> int | None:
        """Seconds since the epoch, with a fraction, as nanoseconds (to the microsecond)."""
        seconds = self.number(key)
        return None if seconds is None else self._in_range(key, round(seconds * 1e6) * 1000)

    def _in_range(self, key: str, wall_ns: int) -> int | None:
        if MIN_WALL_NS <= wall_ns <= MAX_WALL_NS:
            return wall_ns
        self._bad(key, "a time between 2000 and 2200")
        return None
