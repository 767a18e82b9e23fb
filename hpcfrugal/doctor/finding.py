"""One line of a diagnosis."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "gap", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one subject.

    ``ok``: works. ``gap``: hpcfrugal works without it, but with less. ``fault``: something is broken.
    """

    area: str
    subject: str
    level: Level
    found: str
    advice: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        return asdict(self)
