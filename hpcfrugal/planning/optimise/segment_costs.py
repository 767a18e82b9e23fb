"""Overhead and limits of the interruptions of a job."""

from __future__ import annotations

from typing import NamedTuple


class Costs(NamedTuple):
    """Overhead and limits of interruptions, in microseconds."""

    checkpoint: int
    restart: int
    min_segment: int
    max_segments: int | None

    def needed(self, work: int, segments: int) -> int:
        """Total run time."""
        return work + (segments - 1) * (self.checkpoint + self.restart)

    def allows(self, segments: list[tuple[int, int]]) -> bool:
        """Whether number and lengths of the segments are within the limits; a single one always is."""
        if len(segments) == 1:
            return True
        if self.max_segments is not None and len(segments) > self.max_segments:
            return False
        return all(
            end - start >= self.min_segment and end - start > self.overhead(index, len(segments))
            for index, (start, end) in enumerate(segments)
        )

    def overhead(self, index: int, segments: int) -> int:
        """Time of a segment that is not work."""
        return (self.restart if index else 0) + (self.checkpoint if index < segments - 1 else 0)
