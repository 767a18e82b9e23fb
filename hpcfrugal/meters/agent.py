"""The operator's agent: reads the power of nodes at a fixed interval and appends it to a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from hpcfrugal.core.errors import SourceError
from hpcfrugal.meters.powerlog import LoggedMeter, append

_THREADS = 32


@dataclass(slots=True)
class Agent:
    """Reads ``nodes`` of a meter into its log. ``report`` gets a message when a failure begins and when it ends."""

    meter: LoggedMeter
    nodes: Sequence[str]
    report: Callable[[str], None]
    clock_ns: Callable[[], int] = time.time_ns
    _failing: dict[str, str] = field(default_factory=dict)

    def once(self) -> dict[str, float]:
        """Read every node once and log the readings; returns them in watts by node."""
        with ThreadPoolExecutor(min(_THREADS, len(self.nodes))) as pool:
            futures = {node: pool.submit(self._read, node) for node in self.nodes}
            found = {node: self._keep(node, future) for node, future in futures.items()}
        return {node: power_w for node, power_w in found.items() if power_w is not None}

    def run(self, interval_s: float, wait: Callable[[float], bool]) -> None:
        """Read every node each ``interval_s`` until ``wait``, which sleeps for so many seconds at most, returns true.
        A node with a request still running is skipped."""
        asked: dict[str, Future[tuple[int, float]]] = {}
        pool = ThreadPoolExecutor(min(_THREADS, len(self.nodes)))
        next_s = time.monotonic()
        try:
            while True:
                for node in self.nodes:
                    if node not in asked:
                        asked[node] = pool.submit(self._read, node)
                next_s = max(next_s + interval_s, time.monotonic())
                while time.monotonic() < next_s:
                    self._take(asked)
                    pause_s = min(0.2, interval_s / 4) if asked else next_s - time.monotonic()
                    if wait(max(0.0, pause_s)):
                        return
                self._take(asked)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _take(self, asked: dict[str, Future[tuple[int, float]]]) -> None:
        for node in [node for node, future in asked.items() if future.done()]:
            self._keep(node, asked.pop(node))

    def _read(self, node: str) -> tuple[int, float]:
        """A reading, and the time halfway through the request."""
        before_ns = self.clock_ns()
        power_w = self.meter.power_w(node)
        return (before_ns + self.clock_ns()) // 2, power_w

    def _keep(self, node: str, future: Future[tuple[int, float]]) -> float | None:
        try:
            wall_ns, power_w = future.result()
            append(self.meter.log, node, wall_ns, power_w, self.meter.source, self.meter.owner)
        except SourceError as error:
            self._failed(node, str(error))
            return None
        except OSError as error:
            self._failed(node, f"{error.filename}: {error.strerror}")
            return None
        if self._failing.pop(node, None) is not None:
            self.report(f"{node}: reading again")
        return power_w

    def _failed(self, node: str, reason: str) -> None:
        if self._failing.get(node) != reason:
            self._failing[node] = reason
            self.report(f"{node}: {reason}")
