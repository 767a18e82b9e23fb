"""The time that sessions in a file cover: one that begins before an earlier one has ended is a copy of it.

Sessions of one boot are compared by its clock; those of others, or without a boot id, by the wall clock.
"""

from __future__ import annotations

from operator import itemgetter


class CoveredTime:
    """Of the sessions so far, how far each boot has come, and the two boots whose wall clocks reached furthest."""

    def __init__(self) -> None:
        self._ended: dict[str | None, int] = {}
        self._clocks: list[tuple[str | None, int]] = []

    def note(self, boot_id: str | None, ended_ns: int, clock_ns: int) -> None:
        """A session has ended, at ``ended_ns`` since boot and ``clock_ns`` by the wall clock."""
        self._ended[boot_id] = max(ended_ns, self._ended.get(boot_id, 0))
        clocks = dict(self._clocks)
        clocks[boot_id] = max(clock_ns, clocks.get(boot_id, 0))
        self._clocks = sorted(clocks.items(), key=itemgetter(1))[-2:]

    def has(self, boot_id: str | None, boottime_ns: int, wall_ns: int) -> bool:
        """Whether a session that begins then begins in a time that an earlier one covers."""
        same_boot = self._ended.get(boot_id, 0) if boot_id is not None else 0
        others = [clock for known, clock in self._clocks if known is None or known != boot_id]
        return boottime_ns < same_boot or wall_ns < max(others, default=0)
