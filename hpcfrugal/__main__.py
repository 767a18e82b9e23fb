"""``python -m hpcfrugal``."""

from __future__ import annotations

from hpcfrugal.cli import main

main()
