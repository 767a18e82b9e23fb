"""What energy costs in reports: a figure of the known energy with its currency, and none without a price."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from fake_spool import FakeSpool
from sandbox import Sandbox

from hpcfrugal.ledger.sync import sync

PRICE = "[site]\nenergy_price = 0.30\ncurrency = 'CHF'\n"


@pytest.fixture
def site(box: Sandbox, tmp_path: Path) -> Sandbox:
    """An hour of nothing but a minute of 110 W: 6600 J."""
    spool = FakeSpool(tmp_path)
    spool.whole_run()
    sync(spool.root, spool.ledger)
    box.env["HPCFRUGAL_LEDGER"] = str(spool.ledger)
    return box


REPORT = ("report", "--no-sync", "--since", "all")


def test_the_cost_has_its_currency_everywhere(site: Sandbox) -> None:
    site.settings(PRICE)
    document = json.loads(site.ok(*REPORT, "--json"))
    assert [document["totals"][name] for name in ("cost", "currency")] == [pytest.approx(6600 / 3.6e6 * 0.3), "CHF"]
    assert document["jobs"][0]["cost"] == document["totals"]["cost"]
    (row,) = csv.DictReader(site.ok(*REPORT, "--csv").splitlines())
    assert (float(row["cost"]), row["currency"]) == (document["totals"]["cost"], "CHF")
    groups = json.loads(site.ok(*REPORT, "--by", "user", "--json"))["groups"]
    assert groups[0]["cost"] == document["totals"]["cost"]
    for text in (site.ok(*REPORT, "--markdown"), site.ok("report", "--no-sync", "17", "--markdown")):
        assert "Cost \\[CHF\\]" in text
        assert "0.00055" in text
        assert "0.3 CHF/kWh for the energy as shown, without the PUE" in text


def test_no_price_no_cost(site: Sandbox) -> None:
    assert "cost" not in json.loads(site.ok(*REPORT, "--json"))["totals"]
    assert "Cost" not in site.ok(*REPORT)


def test_a_price_that_cannot_be(site: Sandbox) -> None:
    site.settings("[site]\nenergy_price = -1\n")
    done = site.run(*REPORT)
    assert done.code == 2
    assert "site.energy_price: needs a number from 0 to 1000" in done.err
