"""A period for which the actual intensity is needed, since energy was used then or would have been."""

from __future__ import annotations

from dataclasses import dataclass

from hpcfrugal.core.carbon_signal import Signal


@dataclass(frozen=True, slots=True)
class UsePeriod:
    """``[start_ns, end_ns)`` in nanoseconds since 1970-01-01T00:00Z, in a zone.

    ``provider``: only values of the provider with this name in the settings; None: of any provider.
    """

    zone: str
    signal: Signal
    provider: str | None
    start_ns: int
    end_ns: int
