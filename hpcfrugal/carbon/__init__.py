"""Carbon intensities: the series, and where they come from."""

from hpcfrugal.carbon.series import CarbonSeries, SeriesKind, Slot
from hpcfrugal.core.carbon_signal import Signal

__all__ = ["CarbonSeries", "SeriesKind", "Signal", "Slot"]
