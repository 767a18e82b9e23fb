"""Integration of readings into cumulative microjoules: pure integer arithmetic, no clock and no files.

``EnergyCounter`` takes the values of a counter that may wrap, ``PowerIntegral`` those of a power sensor. Both count
the nanoseconds that their energy covers, so time that could not be measured is missing time and never a guess.
"""

from __future__ import annotations

SLACK_NS = 200_000_000
"""Nanoseconds by which a counter may lag behind the clock (NVML updates about every 100 ms, RAPL every 1 ms).

Added to the time between two reads before a delta is called impossible, so that two reads close together do
not look like a reset."""

PEAK_MIN_NS = 100_000_000
"""Shortest interval that gives a peak power; below it the counter's own steps dominate."""

FROZEN_NS = 5_000_000_000
"""A device that shows no microjoule in this time is not counting, as in many virtual machines; its energy is
then unknown, and none of that time was measured. Where its power can be read, that is integrated instead, see
``BridgedCounter``."""

STUCK_NS = 60_000_000_000
"""The same for one that has counted before: the counter of a slow BMC may move only every few seconds."""

POWER_GAP_NS = 10_000_000_000
"""Longest interval that the trapezoid of ``PowerIntegral`` bridges, where samples are not further apart."""

SLACK_PART = 10
"""A reading whose time is uncertain by more than this part of an interval gives no mean power over that interval."""


def power_gap_ns(interval_ns: int) -> int:
    """Longest interval to bridge where samples are ``interval_ns`` apart: one of them may fail, and come late."""
    return max(POWER_GAP_NS, interval_ns * 5 // 2)


class Accumulator:
    """What both kinds of channels count: energy, the time it covers, and failed readings.

    A value above ``max_value`` (None: no bound) is a failed reading.
    """

    wrap_ns: int | None = None
    """Nanoseconds in which the counter could wrap around at most power, None where it never does."""

    def __init__(self, max_value: int | None) -> None:
        self._max_value = max_value
        self._value: int | None = None
        self._failed = True
        self.at_ns = 0
        """The time of the latest good reading."""
        self.restart()

    @property
    def is_reading(self) -> bool:
        """Whether the latest reading was good, and of something that counts."""
        return not self._failed

    def is_frozen(self) -> bool:
        """Whether the sensor answers and does not measure."""
        return False

    @property
    def energy_uj(self) -> int | None:
        """Microjoules from the first reading to the latest good one; None where nothing counts, or all have failed."""
        return None if self._failed and not self.measured_ns else self._total_uj()

    def restart(self) -> None:
        """Count from 0 again, from the latest reading on."""
        self.measured_ns = self.recorded_ns = self.errors = self.resets = self.gaps = 0
        self.peak_w: float | None = None

    def update(self, at_ns: int, value: int | None, slack_ns: int = 0) -> None:
        """Take the reading of the time ``at_ns``, uncertain by ``slack_ns``; None for a failed one."""
        if value is None or value < 0 or (self._max_value is not None and value > self._max_value):
            self.errors += 1
            self._failed = True
            return
        last, elapsed_ns = self._value, at_ns - self.at_ns
        if last is None or elapsed_ns > 0:
            self._value, self.at_ns = value, at_ns
            self._add(last, value, elapsed_ns, slack_ns)
        self._failed = False

    def _add(self, last: int | None, value: int, elapsed_ns: int, slack_ns: int) -> None:
        """Count from the reading ``last``, None for the first, to ``value``."""
        raise NotImplementedError

    def _total_uj(self) -> int:
        raise NotImplementedError

    def _add_peak(self, power_w: float) -> None:
        if self.peak_w is None or power_w > self.peak_w:
            self.peak_w = power_w


class EnergyCounter(Accumulator):
    """Energy from a counter of microjoules.

    ``range_uj`` is the largest value before the counter wraps to 0, None for one that does not wrap;
    ``max_w`` is more than the hardware can draw. With ``can_rest`` False a counter that does not move for
    ``frozen_ns`` (by default ``FROZEN_NS``, or ``STUCK_NS`` once it has moved) is taken as not measuring, and the time
    without movement is measured only when it moves before that. The value of one that ``is_continued`` is assumed
    between readings of its source. It has no peak power, and where it falls, less was used than was assumed, but
    after a failed reading: then its source has begun anew.
    """

    def __init__(
        self,
        range_uj: int | None,
        max_w: int,
        *,
        can_rest: bool = True,
        frozen_ns: int | None = None,
        is_continued: bool = False,
    ) -> None:
        super().__init__(range_uj)
        self._max_w = max_w
        # microjoules / watts = microseconds
        self.wrap_ns = None if range_uj is None else (range_uj + 1) * 1000 // max_w
        self._slack_ns = 0
        self._can_rest = can_rest
        self._frozen_ns = frozen_ns
        self._is_continued = is_continued
        self._moves = False
        self._idle_ns = 0

    @property
    def is_reading(self) -> bool:
        """Whether the latest reading was good, and the counter moves."""
        return super().is_reading and not self.is_frozen()

    @property
    def energy_uj(self) -> int | None:
        """Microjoules from the first reading to the latest good one; None where nothing counts, or all have failed."""
        return None if self.is_frozen() else super().energy_uj

    def restart(self) -> None:
        """Count from 0 again, from the latest reading on."""
        super().restart()
        self._sum_uj = self._owed_ns = 0

    def _total_uj(self) -> int:
        return self._sum_uj

    def is_frozen(self) -> bool:
        """Whether the counter has stood still for so long that it does not measure."""
        return self._idle_ns >= (self._frozen_ns or (STUCK_NS if self._moves else FROZEN_NS))

    def _add(self, last: int | None, value: int, elapsed_ns: int, slack_ns: int) -> None:
        uncertain_ns = slack_ns + self._slack_ns
        self._slack_ns = slack_ns
        if last is None:
            return
        delta_uj = value - last
        if self._max_value is not None:
            delta_uj %= self._max_value + 1
        if self.wrap_ns is not None and elapsed_ns >= self.wrap_ns:
            self.gaps += 1
            return
        may_fall = self._is_continued and not self._failed
        if (delta_uj < 0 and not may_fall) or delta_uj * 1000 > self._max_w * (elapsed_ns + SLACK_NS + uncertain_ns):
            self.resets += 1
            return
        # nothing was used before the first reading, so what was assumed for that was too much
        self._sum_uj = max(0, self._sum_uj + delta_uj)
        if not delta_uj and not self._can_rest:
            self._idle_ns += elapsed_ns
            self._owed_ns += elapsed_ns
            return
        # a step after a pause is the energy of the pause as well
        span_ns = elapsed_ns + self._idle_ns
        # records must not run backwards, so time is counted only once it is known to be measured
        self.measured_ns += elapsed_ns + (0 if self.is_frozen() else self._owed_ns)
        self._moves = True
        self._idle_ns = self._owed_ns = 0
        if not self._is_continued and span_ns >= PEAK_MIN_NS:
            # of an uncertain span the longest that it can have been: the peak is a lower bound
            longest_ns = span_ns + (uncertain_ns if uncertain_ns * SLACK_PART > span_ns else 0)
            self._add_peak(delta_uj * 1000 / longest_ns)


class BridgedCounter:
    """A counter of microjoules of a device whose power can be read as well: while the counter stands still, the power
    is integrated.

    A step after a pause is the energy of the pause as well, so it counts only as far as the power did not.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._at_ns = 0
        self._power_uw: int | None = None
        self._ahead_uj = self._total_uj = 0

    def stands_still(self, value: int) -> bool:
        """Whether ``value`` is that of the reading before."""
        return value == self._last

    def update(self, at_ns: int, value: int, power_uw: int | None) -> int:
        """The counter with its pauses filled, from its ``value`` at ``at_ns``; the power is not used if it moved."""
        last, elapsed_ns = self._last, at_ns - self._at_ns
        if last is None or value < last:
            self._total_uj, self._ahead_uj = value, 0
        elif value > last:
            self._total_uj += max(0, value - last - self._ahead_uj)
            self._ahead_uj = 0
        elif power_uw is not None and 0 < elapsed_ns <= POWER_GAP_NS:
            # microwatts x nanoseconds are femtojoules
            before_uw = power_uw if self._power_uw is None else self._power_uw
            filled_uj = (before_uw + power_uw) * elapsed_ns // 2_000_000_000
            self._total_uj += filled_uj
            self._ahead_uj += filled_uj
        self._last, self._at_ns, self._power_uw = value, at_ns, power_uw
        return self._total_uj


class PowerIntegral(Accumulator):
    """Energy from readings of power in microwatts: the trapezoid between two readings, exact for a straight line.

    Readings further apart than ``gap_ns`` are not joined.
    """

    def __init__(self, max_w: int, gap_ns: int = POWER_GAP_NS) -> None:
        super().__init__(max_w * 1_000_000)
        self.gap_ns = gap_ns

    def restart(self) -> None:
        """Count from 0 again, from the latest reading on."""
        super().restart()
        self._double_fj = 0

    def _total_uj(self) -> int:
        # microwatts x nanoseconds are femtojoules; the sum is kept doubled so that it stays an integer
        return self._double_fj // 2_000_000_000

    def _add(self, last: int | None, value: int, elapsed_ns: int, slack_ns: int) -> None:
        del slack_ns  # the power is the same whenever in the call it was read
        self._add_peak(value / 1_000_000)
        if last is None:
            return
        if elapsed_ns > self.gap_ns:
            self.gaps += 1
            return
        self._double_fj += (last + value) * elapsed_ns
        self.measured_ns += elapsed_ns
