"""The two signals of carbon intensity: the average of all electricity in a zone, or that of the marginal plant."""

from __future__ import annotations

from typing import Literal

Signal = Literal["average", "marginal"]
SIGNALS: tuple[Signal, ...] = ("average", "marginal")

MAX_G_PER_KWH = 10**6
"""No intensity in any unit is higher: burning coal emits about 1000 g/kWh (IPCC AR5 WG3, Annex III)."""
