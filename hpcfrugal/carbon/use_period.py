"""A time in which energy was used, or would have been, as a question for what the intensity was then."""

from __future__ import annotations

from dataclasses import dataclass

from hpcfrugal.core.carbon_signal import Signal


@dataclass(frozen=True, slots=True)
class UsePeriod:
    """``[start_ns, end_ns)`` in nanoseconds since 1970-01-01T00:00Z, in a zone.

    ``provider`` is whose figures are wanted by its name in the settings, None: those of whoever serves.
    """

    zone: str
    signal: Signal
    provider: str | None
    start_ns: int
    end_ns: int
