"""Utilisation of the job's GPUs by NVML, integrated over time.

NVML gives the percentage of its last sample period (1 s or less, by product) in which a kernel ran on the
device (NVML API: ``nvmlUtilization_t``). A value counts for the time since the previous one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GAP_NS = 65_000_000_000
"""Longest time that one value stands for; the longest interval between two samples is a minute."""


class GpuBusy:
    """Sums over the GPUs with a utilisation. Written in the sensor's thread, read in the loop's."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._last_ns: list[int | None] = []
        self._sums: tuple[int, int] | None = None
        self.reasons: list[str] = []
        """Why the use of a GPU, or of all, is not known."""

    def update(self, percents: Sequence[int | None]) -> None:
        """Take one reading of each GPU, in the same order each time; None for a failed one."""
        now_ns = self._clock_ns()
        while len(self._last_ns) < len(percents):
            self._last_ns.append(None)
        busy, seen_ns = self._sums or (0, 0)
        known = self._sums is not None
        for index, percent in enumerate(percents):
            if percent is None or not 0 <= percent <= 100:
                self._last_ns[index] = None
                continue
            known = True
            last_ns, self._last_ns[index] = self._last_ns[index], now_ns
            if last_ns is not None and 0 < now_ns - last_ns <= GAP_NS:
                busy += percent * (now_ns - last_ns)
                seen_ns += now_ns - last_ns
        # one assignment, so that the other thread never sees one sum without the other
        self._sums = (busy, seen_ns) if known else None

    def read_us(self) -> tuple[int | None, int | None]:
        """Microseconds busy and microseconds observed, summed over the GPUs; None where no GPU was observed."""
        if self._sums is None:
            return None, None
        busy, seen_ns = self._sums
        return busy // 100_000, seen_ns // 1000
