"""One result of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "gap", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    ``ok``: works. ``gap``: missing, and hpcfrugal works without it but does less. ``fault``: broken.
    """

    area: str
    subject: str
    level: Level
    found: str
    advice: str | None = None
