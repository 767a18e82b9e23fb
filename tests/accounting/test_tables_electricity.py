"""Tables of the electricity's emissions: whole, believable, and with their sources."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from hpcfrugal.accounting.tables.electricity import generation_factors, yearly_mean, yearly_means


def test_yearly_means_are_whole() -> None:
    means = yearly_means()
    assert len(means) > 200
    for country, mean in means.items():
        assert len(country) == 2
        assert country.isupper()
        assert 0 < mean.g_per_kwh < 1500
        assert 2005 <= mean.year <= 2030
        assert mean.name


@pytest.mark.parametrize(
    ("zone", "country"),
    [("FR", "FR"), ("fr", "FR"), ("DK-DK1", "DK"), ("DK1", "DK"), ("US-CAL-CISO", "US"), ("GB-13", "GB")],
)
def test_a_zone_has_its_country(zone: str, country: str) -> None:
    mean = yearly_mean(zone)
    assert mean is not None
    assert mean.country == country


@pytest.mark.parametrize("zone", ["", "CAISO_NORTH", "XX", "F", "CF"])
def test_what_is_not_known_is_none(zone: str) -> None:
    assert yearly_mean(zone) is None


def test_each_factor_has_its_source() -> None:
    text = files("hpcfrugal.accounting.tables").joinpath("generation_factors.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["type"] for row in rows} == set(generation_factors())
    assert all("IPCC" in row["source"] and "table" in row["source"] for row in rows)
    assert generation_factors()["Nuclear"] < generation_factors()["Fossil Gas"] < generation_factors()["Fossil Oil"]
    assert "Waste" not in generation_factors()


def test_sources_name_the_tables() -> None:
    text = files("hpcfrugal.accounting.tables").joinpath("SOURCES.md").read_text(encoding="utf-8")
    assert "`yearly_mean.csv`" in text
    assert "`generation_factors.csv`" in text
    assert "CC BY 4.0" in text
