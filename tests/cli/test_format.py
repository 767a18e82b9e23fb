"""Power and energy in the tables of `status` and `watch`."""

from __future__ import annotations

import pytest

from hpcfrugal.cli.format import joules, watts


@pytest.mark.parametrize(
    ("energy_uj", "shown"),
    [
        (None, "–"),
        (0, "0 J"),
        (6, "6 µJ"),
        (32_400, "32.4 mJ"),
        (2_414_000, "2.41 J"),
        (999_700_000, "1 kJ"),
        (5 * 10**15, "5 GJ"),
    ],
)
def test_energy_has_three_digits_and_its_prefix(energy_uj: int | None, shown: str) -> None:
    assert joules(energy_uj) == shown


@pytest.mark.parametrize(
    ("power_w", "shown"), [(None, "–"), (0.0461, "46.1 mW"), (110.04, "110 W"), (1e-9, "0.001 µW")]
)
def test_power(power_w: float | None, shown: str) -> None:
    assert watts(power_w) == shown
