"""Integration of readings into cumulative microjoules: pure integer arithmetic, no clock and no files.

``EnergyCounter`` takes the values of a counter that may wrap; ``PowerIntegral`` takes watts. Both say how
many nanoseconds their energy covers, so a span that could not be measured shows as missing time and never
as a guess.
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
then unknown, and none of that time was measured."""

STUCK_NS = 60_000_000_000
"""The same for one that has counted before: a slow board's counter may move only every few seconds."""

POWER_GAP_NS = 10_000_000_000
"""Longest interval that the trapezoid of ``PowerIntegral`` bridges, where samples are not further apart."""

DOUBT = 10
"""A moment in doubt by more than this part of an interval is too vague for a mean power over that interval."""


def power_gap_ns(interval_ns: int) -> int:
    """Longest interval to bridge where samples are ``interval_ns`` apart: one of them may fail, and come late."""
    return max(POWER_GAP_NS, interval_ns * 5 // 2)


class EnergyCounter:
    """Energy from a counter of microjoules.

    ``range_uj`` is the largest value before the counter wraps to 0, None for one that does not wrap;
    ``max_w`` is more than the hardware can draw. With ``can_rest`` False a counter that stands still for
    ``FROZEN_NS``, or ``STUCK_NS`` once it has moved, is taken as not measuring, and the time in which it stands
    is measured only when it moves on before that.
    """

    def __init__(self, range_uj: int | None, max_w: int, *, can_rest: bool = True) -> None:
        self._modulus = None if range_uj is None else range_uj + 1
        self._max_w = max_w
        # microjoules / watts = microseconds: the soonest that the counter could come round again
        self._gap_ns = None if range_uj is None else (range_uj + 1) * 1000 // max_w
        self._value_uj: int | None = None
        self._at_ns = self._slack_ns = 0
        self._failed = True
        self._can_rest = can_rest
        self._moves = False
        self._idle_ns = 0
        self._owed_ns = 0
        self._total_uj = 0
        self.measured_ns = self.recorded_ns = 0
        self.errors = 0
        self.resets = 0
        self.gaps = 0
        self.peak_w: float | None = None

    @property
    def wrap_ns(self) -> int | None:
        """Nanoseconds in which the counter could come round at most power, None where it never does."""
        return self._gap_ns

    @property
    def at_ns(self) -> int:
        """The moment of the latest good reading."""
        return self._at_ns

    @property
    def is_reading(self) -> bool:
        """Whether the latest reading was good, and of something that counts."""
        return not self._failed and not self._is_frozen()

    @property
    def energy_uj(self) -> int | None:
        """Microjoules from the first reading to the latest good one; None where nothing counts, or all has failed."""
        return None if self._is_frozen() or (self._failed and not self.measured_ns) else self._total_uj

    def _is_frozen(self) -> bool:
        return self._idle_ns >= (STUCK_NS if self._moves else FROZEN_NS)

    def restart(self) -> None:
        """Count from 0 again, from the latest reading on."""
        self._total_uj = self._owed_ns = self.measured_ns = self.recorded_ns = 0
        self.errors = self.resets = self.gaps = 0
        self.peak_w = None

    def update(self, at_ns: int, value_uj: int | None, slack_ns: int = 0) -> None:
        """Take the reading ``value_uj`` of the moment ``at_ns``, give or take ``slack_ns``; None for a failed one."""
        modulus = self._modulus
        if value_uj is None or value_uj < 0 or (modulus is not None and value_uj >= modulus):
            self.errors += 1
            self._failed = True
            return
        self._failed = False
        last_uj = self._value_uj
        elapsed_ns = at_ns - self._at_ns
        if last_uj is not None and elapsed_ns <= 0:
            return
        self._value_uj = value_uj
        self._at_ns = at_ns
        doubt_ns = slack_ns + self._slack_ns
        self._slack_ns = slack_ns
        if last_uj is None:
            return
        delta_uj = value_uj - last_uj
        if modulus is not None:
            delta_uj %= modulus
        if self._gap_ns is not None and elapsed_ns >= self._gap_ns:
            self.gaps += 1
            return
        if delta_uj < 0 or delta_uj * 1000 > self._max_w * (elapsed_ns + SLACK_NS + doubt_ns):
            self.resets += 1
            return
        self._total_uj += delta_uj
        if not delta_uj and not self._can_rest:
            self._idle_ns += elapsed_ns
            self._owed_ns += elapsed_ns
            return
        # a step after a pause is the work of the pause as well
        span_ns = elapsed_ns + self._idle_ns
        # never taken back, for records must not run backwards: so it is not given before it is known
        self.measured_ns += elapsed_ns + (0 if self._is_frozen() else self._owed_ns)
        self._moves = True
        self._idle_ns = self._owed_ns = 0
        if span_ns >= PEAK_MIN_NS:
            # of a span that is in doubt the longest that it can have been: a peak is at least what is said
            power_w = delta_uj * 1000 / (span_ns + (doubt_ns if doubt_ns * DOUBT > span_ns else 0))
            if self.peak_w is None or power_w > self.peak_w:
                self.peak_w = power_w


class PowerIntegral:
    """Energy from readings of power: the trapezoid between two readings, exact for a straight line.

    Readings further apart than ``gap_ns`` are not joined by one.
    """

    def __init__(self, max_w: int, gap_ns: int = POWER_GAP_NS) -> None:
        self.gap_ns = gap_ns
        self._max_uw = max_w * 1_000_000
        self._power_uw: int | None = None
        self._at_ns = 0
        self._failed = True
        self._double_fj = 0
        self.measured_ns = self.recorded_ns = 0
        self.errors = 0
        self.resets = 0
        self.gaps = 0
        self.peak_w: float | None = None

    wrap_ns: int | None = None

    @property
    def at_ns(self) -> int:
        """The moment of the latest good reading."""
        return self._at_ns

    @property
    def is_reading(self) -> bool:
        """Whether the latest reading was good."""
        return not self._failed

    @property
    def energy_uj(self) -> int | None:
        """Microjoules from the first reading to the latest good one; None where all have failed."""
        # microwatts x nanoseconds are femtojoules; the sum is kept doubled so that it stays an integer
        return None if self._failed and not self.measured_ns else self._double_fj // 2_000_000_000

    def restart(self) -> None:
        """Count from 0 again, from the latest reading on."""
        self._double_fj = self.measured_ns = self.recorded_ns = self.errors = self.resets = self.gaps = 0
        self.peak_w = None

    def update(self, at_ns: int, power_uw: int | None, slack_ns: int = 0) -> None:
        """Take the reading ``power_uw`` of the moment ``at_ns``; None for a failed one.

        ``slack_ns`` is how far that moment is in doubt; the power is what it is all the same.
        """
        del slack_ns
        if power_uw is None or not 0 <= power_uw <= self._max_uw:
            self.errors += 1
            self._failed = True
            return
        self._failed = False
        last_uw = self._power_uw
        elapsed_ns = at_ns - self._at_ns
        if last_uw is not None and elapsed_ns <= 0:
            return
        self._power_uw = power_uw
        self._at_ns = at_ns
        power_w = power_uw / 1_000_000
        if self.peak_w is None or power_w > self.peak_w:
            self.peak_w = power_w
        if last_uw is None:
            return
        if elapsed_ns > self.gap_ns:
            self.gaps += 1
            return
        self._double_fj += (last_uw + power_uw) * elapsed_ns
        self.measured_ns += elapsed_ns
