"""hpcfrugal: job wrapper and energy accountant for Slurm clusters."""

from __future__ import annotations

from hpcfrugal.core.version import __version__

__all__ = ["__version__"]
