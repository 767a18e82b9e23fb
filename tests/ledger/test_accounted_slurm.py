"""Slurm's own energy and the calibrated model in the ledger, by the documents of a cluster in the spool."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from accounted import answer, jobs, row, synced
from fake_spool import SECOND, START_NS, FakeSpool

from hpcfrugal.core.errors import DataError
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.rows import ChannelRow, JobRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.spool.cluster_documents import (
    CalibratedModel,
    Calibration,
    ClusterFacts,
    EnergyVerdicts,
    NodeClass,
    SetupVerdict,
    SlurmSetup,
    clusters_dir,
    store_cluster_document,
)

FACTS = ClusterFacts(
    "lab",
    (SlurmSetup(START_NS, "24.11.5", "ipmi", contain=True, step_s=30),),
    (NodeClass("n[1-4]", 8, 8, 16_000), NodeClass("s[1-2]", 8, 8, 16_000, oversubscribed=True)),
)
HOUR_J = 300 * 3600
WHOLE = {"ConsumedEnergyRaw": str(HOUR_J), "AllocCPUS": "8"}


def keep(spool: FakeSpool, verdict: Any = "measured", facts: ClusterFacts = FACTS, left_out: str = "") -> None:
    store_cluster_document(spool.root, facts)
    setup = facts.setups[-1]
    verdicts = (SetupVerdict(setup.release, setup.plugin, verdict),)
    store_cluster_document(spool.root, EnergyVerdicts("lab", 1, START_NS, verdicts, left_out))


def by_source(job: JobRow) -> dict[tuple[str, str], ChannelRow]:
    return {(channel.component, channel.source): channel for channel in job.channels}


def test_measured_energy_of_the_node_takes_the_place_of_the_model(spool: FakeSpool) -> None:
    """300 W for an hour; at each edge one of Slurm's readings every 30 s may be the neighbour's."""
    answer(spool, row("1", **WHOLE))
    keep(spool)
    (job,) = synced(spool)
    node = by_source(job)["node", "slurm-energy"]
    assert (node.energy_uj, node.quality, node.boundary, node.counted) == (HOUR_J * 10**6, "measured", "node", True)
    assert node.range_uj == (HOUR_J * 10**6 * 119 // 120, HOUR_J * 10**6 * 121 // 120)
    assert node.detail == "acct_gather_energy/ipmi"
    assert {(one.component, one.counted) for one in job.channels} == {("node", True), ("cpu", False), ("dram", False)}
    totals = job.totals
    assert (totals.sums.measured_uj, totals.sums.modelled_uj, totals.complete) == (HOUR_J * 10**6, None, True)
    assert (totals.scope, totals.shared) == ("whole node", False)
    with open_ledger(spool.ledger) as connection:
        view = connection.execute("SELECT boundary, measured_j, complete FROM jobs_energy").fetchone()
    assert tuple(view) == ("node", HOUR_J, 1)


def test_energy_of_several_nodes_adds_up(spool: FakeSpool) -> None:
    answer(spool, row("1", ConsumedEnergyRaw="1000001", AllocCPUS="24", NNodes="3", NodeList="n[1-3]"))
    keep(spool)
    (job,) = synced(spool)
    parts = [one.energy_uj for one in job.channels if one.component == "node"]
    assert (len(parts), sum(part or 0 for part in parts)) == (3, 1_000_001 * 10**6)


@pytest.mark.parametrize(
    ("cells", "verdict", "use"),
    [
        (WHOLE, "measured", "measured"),
        ({**WHOLE, "AllocCPUS": "4"}, "measured", "upper bound"),
        ({**WHOLE, "NodeList": "s1"}, "measured", "upper bound"),  # its partition lets jobs share CPUs
        ({**WHOLE, "NodeList": "n9"}, "measured", "upper bound"),  # not known how many CPUs it has
        (WHOLE, "upper bound", "upper bound"),
        (WHOLE, "unusable", None),
        ({**WHOLE, "ConsumedEnergyRaw": "0"}, "measured", None),
        ({**WHOLE, "ConsumedEnergyRaw": "4294967294"}, "measured", None),
        ({**WHOLE, "ConsumedEnergyRaw": str(100_000 * 3600)}, "measured", None),
        ({**WHOLE, "NodeList": "n4"}, "measured", None),  # left out
    ],
)
def test_what_is_not_measured_leaves_the_model(
    spool: FakeSpool, cells: dict[str, str], verdict: str, use: str | None
) -> None:
    answer(spool, row("1", **cells))
    keep(spool, verdict, left_out="n4")
    (job,) = synced(spool)
    channel = by_source(job).get(("node", "slurm-energy"))
    assert (None if channel is None else channel.quality) == use
    assert channel is None or channel.counted == (use == "measured")
    assert (job.totals.sums.measured_uj is None) == (use != "measured")
    assert (job.totals.sums.modelled_uj is None) == (use == "measured")
    assert job.totals.complete


def test_rapl_is_that_of_processors_and_memory(spool: FakeSpool) -> None:
    """GPUs are not in it, so their model counts beside it."""
    facts = ClusterFacts("lab", (SlurmSetup(START_NS, "25.05.1", "rapl", contain=True),), FACTS.classes)
    joules = 150 * 3600
    resources = "cpu=8,mem=16G,node=1,gres/gpu:a100=2,gres/gpu=2"
    cells = {**WHOLE, "ConsumedEnergyRaw": str(joules), "AllocTRES": resources}
    answer(spool, row("1", **cells))
    keep(spool, facts=facts)
    (job,) = synced(spool)
    found = by_source(job)
    assert found["cpu", "slurm-energy"].boundary == "components"
    assert {one.component for one in job.channels if one.counted} == {"cpu", "gpu"}
    sums = job.totals.sums
    assert (sums.measured_uj, sums.modelled_uj, job.totals.complete) == (joules * 10**6, 2 * 220 * 3600 * 10**6, True)


def test_the_setup_at_the_end_of_a_job_counts(spool: FakeSpool) -> None:
    """A verdict on one release says nothing about another."""
    later_ns = START_NS + 5 * 3600 * SECOND
    setups = (*FACTS.setups, SlurmSetup(later_ns, "25.05.1", "ipmi", contain=True))
    answer(spool, row("1", **WHOLE), row("2", 5 * 3600, 6 * 3600, **WHOLE))
    keep(spool, facts=ClusterFacts("lab", setups, FACTS.classes))
    before, after = synced(spool)
    assert before.totals.sums.measured_uj is None
    assert after.totals.sums.measured_uj == HOUR_J * 10**6


def test_a_verdict_that_is_kept_or_changed_later_counts_for_all_jobs(spool: FakeSpool) -> None:
    answer(spool, row("1", **WHOLE))
    assert synced(spool)[0].totals.sums.measured_uj is None
    keep(spool)
    assert synced(spool)[0].totals.sums.measured_uj == HOUR_J * 10**6
    keep(spool, "unusable")
    assert synced(spool)[0].totals.sums.measured_uj is None


CALIBRATION = Calibration(
    "lab",
    3,
    START_NS,
    (
        CalibratedModel("n[1-2]", "cpu", False, True, 34, 620_000, 120, 1, FACTS.classes[0].hardware, 900, 1150),
        CalibratedModel("n[1-2]", "cpu", False, False, 8, 1_500_000, 200, 1, FACTS.classes[0].hardware),
    ),
)


def test_the_calibrated_model_and_its_range(spool: FakeSpool) -> None:
    """By the class of node and of job; with few jobs, the range of the model moves along."""
    answer(
        spool,
        row("1", AllocCPUS="8"),
        row("2", AllocCPUS="4", TotalCPU="03:45:00"),
        row("3", AllocCPUS="8", NodeList="n3"),
        row("4", AllocCPUS="16", NodeList="n[2-3]", NNodes="2"),
        row("5", AllocCPUS="8", AllocTRES="cpu=8,mem=16G,node=1,gres/gpu=1"),
    )
    store_cluster_document(spool.root, FACTS)
    plain = {job.job_id: by_source(job)["cpu", "model-tdp"] for job in synced(spool)}
    store_cluster_document(spool.root, CALIBRATION)
    found = {job.job_id: by_source(job)["cpu", "model-tdp"] for job in synced(spool)}
    alone, shared = found["1"], found["2"]
    assert alone.energy_uj == (plain["1"].energy_uj or 0) * 620_000 // 10**6
    assert alone.range_uj == (alone.energy_uj * 900 // 1000, alone.energy_uj * 1150 // 1000)
    assert shared.energy_uj == (plain["2"].energy_uj or 0) * 15 // 10
    assert shared.range_uj == tuple(end * 15 // 10 for end in plain["2"].range_uj or ())
    assert (
        "times 0.62 by 34 measured jobs of its kind on such nodes (calibration 3; of held-out jobs half were off by"
        " more than 12 %)"
    ) in (alone.inputs or "")
    for other in "345":
        assert found[other] == plain[other]


def test_a_factor_counts_only_for_the_model_and_the_hardware_that_it_was_found_for(spool: FakeSpool) -> None:
    answer(spool, row("1", AllocCPUS="8"))
    store_cluster_document(spool.root, CALIBRATION)

    def inputs(facts: ClusterFacts) -> str:
        store_cluster_document(spool.root, facts)
        return by_source(synced(spool)[0])["cpu", "model-tdp"].inputs or ""

    factor, outdated = "times 0.62 by 34 measured jobs", "calibration 3 is outdated and does not count"
    assert factor in inputs(FACTS)
    assert outdated not in inputs(FACTS)
    classes = (replace(FACTS.classes[0], tdp_w=150.0), FACTS.classes[1])
    changed = inputs(replace(FACTS, classes=classes))
    assert factor not in changed
    assert outdated in changed
    assert outdated not in inputs(replace(FACTS, suspend_s=900))
    models = tuple(replace(one, model=2) for one in CALIBRATION.models)
    store_cluster_document(spool.root, replace(CALIBRATION, models=models))
    changed = inputs(FACTS)
    assert factor not in changed
    assert outdated in changed


def test_a_document_that_is_not_sound_does_not_count(spool: FakeSpool) -> None:
    answer(spool, row("1", **WHOLE))
    keep(spool)
    path = clusters_dir(spool.root) / "lab/energy.json"
    content = json.loads(path.read_text())
    for wrong, why in (
        ({**content, "schema": 9}, "has schema 9, this program reads 1"),
        ({**content, "cluster": "other"}, "is of another cluster than its folder"),
        ({**content, "left_out": "n[1-"}, "is not valid: nodes: "),
        ({**content, "version": 0}, "is not valid: version"),
    ):
        path.write_text(json.dumps(wrong))
        assert sync(spool.root, spool.ledger).problem_files == 1
        assert any(why in problem for problem in check_ledger(spool.root, spool.ledger, compare=False).problems)
        assert jobs(spool)[0].totals.sums.measured_uj is None
    path.write_text(json.dumps(content))
    assert synced(spool)[0].totals.sums.measured_uj == HOUR_J * 10**6
    path.unlink()
    result = sync(spool.root, spool.ledger)
    assert result.vanished_files == ("clusters/lab/energy.json",)
    assert jobs(spool)[0].totals.sums.measured_uj == HOUR_J * 10**6
    with pytest.raises(DataError, match="would be lost"):
        rebuild(spool.root, spool.ledger)
