"""Prices from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcfrugal.core.errors import InputError
from hpcfrugal.planning.decide.choices import read_prices

ROWS = "start,price_per_kwh,currency\n2026-11-21T08:00Z,0.25,EUR\n2026-11-21T09:00Z,0.5,EUR\n"


def test_a_file_has_16_mib_of_text_at_most(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    lines = "\n".join(["," + " " * 99_998] * 168)
    path.write_text(ROWS + lines[: 16_777_216 - len(ROWS)])
    with pytest.raises(InputError, match=r"prices\.csv:4: needs a start"):
        read_prices(path)
    path.write_text(ROWS + lines[: 16_777_217 - len(ROWS)])
    with pytest.raises(InputError, match=r"cannot be read: longer than 16777216 characters"):
        read_prices(path)
    path.write_text(ROWS)
    assert read_prices(path).currency == "EUR"
