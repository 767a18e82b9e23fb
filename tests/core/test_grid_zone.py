"""Names of grid zones."""

from __future__ import annotations

import pytest

from hpcfrugal.core.grid_zone import bidding_zone, country_of


@pytest.mark.parametrize(
    ("zone", "country", "part"),
    [
        ("DK-DK1", "DK", "1"), ("DK_2", "DK", "2"), ("dk1", "DK", "1"), ("SE-SE4", "SE", "4"), ("NO5", "NO", "5"),
        ("IT-NO", "IT", "NO"), ("IT_NORD", "IT", "NORD"), ("DE_LU", "DE", "LU"), ("DE-LU", "DE", "LU"),
    ],
)  # fmt: skip
def test_bidding_zones(zone: str, country: str, part: str) -> None:
    assert bidding_zone(zone) == (country, part)
    assert country_of(zone) == country


@pytest.mark.parametrize(
    ("zone", "country"),
    [
        ("FR", "FR"), ("fr", "FR"), ("US-CAL-CISO", "US"), ("GB-13", "GB"), ("FR-COR", "FR"), ("DK-BHM", "DK"),
        ("SE5", None), ("CAISO_NORTH", None), ("campus", None), ("", None),
    ],
)  # fmt: skip
def test_other_zones(zone: str, country: str | None) -> None:
    assert bidding_zone(zone) is None
    assert country_of(zone) == country
