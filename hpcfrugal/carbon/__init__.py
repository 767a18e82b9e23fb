"""Carbon intensities: the series, and where they come from."""

from hpcfrugal.carbon.series import CarbonSeries, Kind, Signal, Slot

__all__ = ["CarbonSeries", "Kind", "Signal", "Slot"]
