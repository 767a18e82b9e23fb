"""Spans of time as pairs of integers, half-open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def joined(spans: Iterable[tuple[int, int]], gap: int = 0) -> Iterator[tuple[int, int]]:
    """The spans in chronological order, merged if they overlap or at most ``gap`` lies between them."""
    current: tuple[int, int] | None = None
    for start, end in sorted(spans):
        if current is not None and start - current[1] <= gap:
            current = (current[0], max(current[1], end))
            continue
        if current is not None:
            yield current
        current = (start, end)
    if current is not None:
        yield current
