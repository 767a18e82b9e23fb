"""``hpcfrugal run`` on a node whose true energy is known."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from .conftest import Lab
from .test_jobs import lab_name

pytestmark = pytest.mark.lab

OWN = {"HPCFRUGAL_SPOOL": "/home/bob/of-run/spool", "HPCFRUGAL_LEDGER": "/home/bob/of-run/ledger.db"}
"""Other tests remove bob's spool at the same time."""


def test_run_reads_the_truth(lab: Lab) -> None:
    lab.install()
    done = lab.exec(["hpcfrugal", "run", "--json", "--", "sleep", "10"], user="bob", node="n2", env=OWN)
    document = json.loads(done.stdout)
    assert document["boundary"] == "components"
    assert document["modelled_j"] is None
    total = Decimal(0)
    for channel in document["channels"]:
        truths = lab.truths("n2", channel["first_boottime_ns"], channel["last_boottime_ns"])
        least_uj, most_uj = truths[lab_name(channel["domain"])]
        assert least_uj <= round(channel["energy_j"] * 1e6) <= most_uj, channel["domain"]
        total += Decimal(str(channel["energy_j"])) if channel["counted"] else 0
    assert Decimal(str(document["energy_j"]["total"])) == total


@pytest.mark.alone
def test_denied_counters_are_modelled_with_the_reason(lab: Lab) -> None:
    lab.install()
    lab.call("deny", "n3")
    work = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; sleep 2"
    try:
        done = lab.exec(["hpcfrugal", "run", "--json", "--", "sh", "-c", work], user="bob", node="n3", env=OWN)
    finally:
        lab.call("allow", "n3")
    document = json.loads(done.stdout)
    cpu = [channel for channel in document["channels"] if channel["component"] == "cpu" and channel["counted"]]
    assert [channel["quality"] for channel in cpu] == ["modelled"]
    assert "denied" in cpu[0]["reason"]
    assert cpu[0]["energy_j"] > 0
    assert any("denied" in absent["reason"] for absent in document["missing_sensors"])
    gpus = [channel for channel in document["channels"] if channel["component"] == "gpu"]
    assert {channel["quality"] for channel in gpus} == {"measured"}
