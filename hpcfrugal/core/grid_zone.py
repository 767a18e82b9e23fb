"""Names of grid zones: countries, and the bidding zones that some countries have, as several sources spell them."""

from __future__ import annotations

import re
from typing import NamedTuple

_BIDDING_ZONES = {
    "DE": "LU",
    "DK": "1 2",
    "IT": "NO NORD CNO CNOR CSO CSUD SO SUD CAL CALA SIC SICI SAR SARD",
    "NO": "1 2 3 4 5",
    "SE": "1 2 3 4",
}
"""By country (ISO 3166-1 alpha-2). The names in Italy are those of Electricity Maps and of ENTSO-E."""

_BIDDING_ZONE = re.compile(r"([A-Z]{2})[-_]?(?:\1)?([A-Z0-9]+)")
_IN_A_COUNTRY = re.compile(r"([A-Z]{2})(?:[-_].*)?")


class BiddingZone(NamedTuple):
    """``country`` is ISO 3166-1 alpha-2; ``part`` is the rest of the name, such as ``1`` of ``DK1``."""

    country: str
    part: str


def bidding_zone(zone: str) -> BiddingZone | None:
    """The bidding zone that is spelt ``DK-DK1``, ``DK_1`` or ``DK1``; None for any other zone."""
    match = _BIDDING_ZONE.fullmatch(zone.upper())
    if match is None or match[2] not in _BIDDING_ZONES.get(match[1], "").split():
        return None
    return BiddingZone(match[1], match[2])


def country_of(zone: str) -> str | None:
    """The code of the country that a zone is in, as its name says: ``FR``, ``DK1``, ``US-CAL-CISO``, ``DE_LU``."""
    found, match = bidding_zone(zone), _IN_A_COUNTRY.fullmatch(zone.upper())
    return found.country if found else match[1] if match else None
