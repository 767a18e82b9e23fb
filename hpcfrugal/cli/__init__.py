"""The command line: one file per command, imported only when that command runs."""

from __future__ import annotations

from hpcfrugal.cli.root import main

__all__ = ["main"]
