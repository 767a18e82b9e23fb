"""The audit of Slurm's energy and the calibration of the model, against jobs that were measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from accounted import answer, row, synced
from fake_agent import FakeAgent
from fake_spool import DRAM, PACKAGE, PSYS, SECOND, START_NS, FakeSpool

from hpcfrugal.ledger.calibrating import calibrate
from hpcfrugal.ledger.energy_audit import AuditedSetup, audit_energy, verdicts_of
from hpcfrugal.ledger.queries import JobFilter
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.spool.cluster_documents import (
    Calibration,
    ClusterFacts,
    EnergyVerdicts,
    NodeClass,
    SlurmSetup,
    store_cluster_document,
    stored_cluster_document,
)

CLASSES = (NodeClass("n[1-9]", 16, 16, 32_000),)


def facts(spool: FakeSpool, plugin: str | None = "ipmi", release: str = "24.11.5") -> None:
    setup = SlurmSetup(START_NS - 10**12, release, plugin, contain=True)
    store_cluster_document(spool.root, ClusterFacts("lab", (setup,), CLASSES))


def minute(job_id: str, joules: int | str = "", **cells: str) -> dict[str, str]:
    """The row of a job of a minute, which is submitted when those of runs are."""
    times = {"Submit": str(START_NS // 10**9 - 9), "NodeList": "n1", "AllocCPUS": "16", "TotalCPU": "00:01:00"}
    return row(job_id, 0, 60, **times | {"ConsumedEnergyRaw": str(joules)} | cells)


def audited(spool: FakeSpool) -> AuditedSetup:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (found,) = audit_energy(connection, JobFilter())
    return found


def measured_runs(spool: FakeSpool, watts: float, number: int = 6) -> list[str]:
    """Runs of a minute with 110 W of processor and memory, and so many watts of the node."""
    names = [str(17 + at) for at in range(number)]
    for job_id in names:
        run = spool.run(job_id)
        header = run.header(job_id, channels=[PACKAGE, DRAM, PSYS])
        run.samples([header, *run.records([100.0, 10.0, watts], 60)], job_id)
        run.end(job_id=job_id)
        run.slurm(job_id=job_id)
    return names


@pytest.mark.parametrize(
    ("joules", "verdict", "ratio"),
    [(160 * 60, "measured", 1.0), (320 * 60, "upper bound", 2.0), (80 * 60, "unusable", 0.5)],
)
def test_it_is_compared_with_the_sensor_of_the_node(spool: FakeSpool, joules: int, verdict: str, ratio: float) -> None:
    names = measured_runs(spool, 160.0)
    answer(spool, *(minute(job_id, joules + at) for at, job_id in enumerate(names)))
    facts(spool)
    found = audited(spool)
    assert (found.verdict, found.boundary, found.left_out) == (verdict, "node", [])
    assert found.comparison is not None
    assert (found.comparison.jobs, found.comparison.median) == (6, pytest.approx(ratio, rel=1e-3))
    assert found.uses == {"measured": 6}


def test_without_a_sensor_of_the_node_it_is_compared_with_the_components(spool: FakeSpool) -> None:
    """A node draws more than its processors and memory: 1.4 times as much is right."""
    names = [str(17 + at) for at in range(5)]
    for job_id in names:
        spool.whole_run(job_id)
    answer(spool, *(minute(job_id, 154 * 60 + at) for at, job_id in enumerate(names)))
    facts(spool)
    found = audited(spool)
    assert (found.verdict, found.boundary) == ("measured", "components")
    assert found.comparison is not None
    assert found.comparison.median == pytest.approx(1.4, rel=1e-3)
    facts(spool, "rapl")
    found = audited(spool)
    assert (found.verdict, found.boundary) == ("upper bound", "same components")


def test_nodes_whose_counter_stands_still_are_left_out(spool: FakeSpool) -> None:
    rows = [row(str(at), at * 7200, at * 7200 + 1800 * (1 + at % 3), AllocCPUS="16") for at in range(12)]
    for at, cells in enumerate(rows):
        node = ("n1", "n2", "n3")[at // 4]
        # n1: the same energy whatever the time; n2: none; n3: as it should be
        joules = (900_000, 0, 300 * int(cells["ElapsedRaw"]))[at // 4]
        cells |= {"NodeList": node, "ConsumedEnergyRaw": str(joules)}
    answer(spool, *rows)
    facts(spool)
    found = audited(spool)
    assert found.left_out == ["n1", "n2"]
    assert found.uses == {"unusable": 8, "measured": 4}
    assert found.whys["unusable", "the counter of a node of the job stands still"] == 4
    assert found.verdict == "measured"
    assert verdicts_of("lab", [found], 3, START_NS).left_out == "n[1-2]"


def test_shared_nodes_and_a_cluster_that_is_not_known(spool: FakeSpool) -> None:
    answer(spool, row("1", ConsumedEnergyRaw=str(300 * 3600), AllocCPUS="8", NodeList="n1"))
    found = audited(spool)
    assert (found.setup, found.verdict) == (None, "unusable")
    assert found.reasons == ["how Slurm gathers energy there is not known: import jobs by asking Slurm itself"]
    facts(spool)
    found = audited(spool)
    assert (found.verdict, found.uses) == ("upper bound", {"upper bound": 1})
    facts(spool, None)
    found = audited(spool)
    assert (found.verdict, found.reasons) == ("unusable", ["Slurm gathers no energy (AcctGatherEnergyType)"])


def calibration(spool: FakeSpool) -> Calibration:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (found,) = calibrate(connection, JobFilter())
    return found.document(1, START_NS)


def test_the_model_is_calibrated_by_measured_jobs(spool: FakeSpool) -> None:
    """100 W of processors where the model has 17.98 W: 16 CPUs of 6.5 W, idle but for one."""
    names = measured_runs(spool, 160.0, 20)
    answer(spool, *(minute(job_id) for job_id in names), row("900", 0, 60, AllocCPUS="16", TotalCPU="00:01:00"))
    facts(spool)
    plain = {job.job_id: job for job in synced(spool)}["900"]
    found = calibration(spool)
    models = {(one.component, one.gpu, one.alone): one for one in found.models}
    assert set(models) == {("cpu", False, True), ("dram", False, True)}
    cpu = models["cpu", False, True]
    modelled_w = 104 * (0.12 + 0.87 / 16)
    assert (cpu.nodes, cpu.jobs) == ("n[1-9]", 20)
    assert cpu.factor_ppm / 1e6 == pytest.approx((100 / modelled_w) ** (20 / 25), rel=1e-3)
    store_cluster_document(spool.root, found)
    job = {job.job_id: job for job in synced(spool)}["900"]
    before, after = (next(channel for channel in one.channels if channel.component == "cpu") for one in (plain, job))
    assert after.energy_uj == (before.energy_uj or 0) * cpu.factor_ppm // 10**6
    # all held-out jobs had more than the factor gives, which is drawn towards 1
    assert after.range_uj is not None
    assert after.range_uj[0] == after.energy_uj < after.range_uj[1]
    measured = {job.job_id: job for job in synced(spool)}["17"]
    assert measured.totals.sums.modelled_uj is None


def test_what_slurm_measured_does_not_calibrate_the_model(spool: FakeSpool) -> None:
    rapl = SlurmSetup(START_NS - 10**12, "25.05.1", "rapl", contain=True)
    store_cluster_document(spool.root, ClusterFacts("lab", (rapl,), CLASSES))
    answer(spool, row("1", ConsumedEnergyRaw=str(100 * 3600), AllocCPUS="16", NodeList="n1"))
    found = audited(spool)
    assert found.verdict == "measured"
    store_cluster_document(spool.root, verdicts_of("lab", [found], 1, START_NS))
    (job,) = synced(spool)
    assert job.totals.sums.measured_uj == 100 * 3600 * 10**6
    with open_ledger(spool.ledger) as connection:
        assert calibrate(connection, JobFilter()) == []
    assert audited(spool).comparison is None


def test_jobs_that_an_agent_measured_are_compared_and_calibrate(spool: FakeSpool) -> None:
    """The agent's figure counts, whatever the verdict: 60 W of processor and 15 W of memory for an hour. Slurm has what
    the node drew, of which the agent's sensor read 1.5 times 70 W."""
    agent = FakeAgent(spool.root, "n1", START_NS - 60 * SECOND)
    rows = []
    for number in range(6):
        agent.advance(60)
        job_id = str(900 + number)
        agent.start(job_id, 60)
        start = number * 3660
        rows.append(
            row(job_id, start, start + 3600, ConsumedEnergyRaw=str(105 * 3600 + number), AllocCPUS="16", NodeList="n1")
        )
        agent.advance(3600)
        agent.end(job_id)
    agent.record("end")
    answer(spool, *rows)
    facts(spool)
    found = audited(spool)
    assert (found.verdict, found.boundary) == ("measured", "node")
    assert found.comparison is not None
    assert (found.comparison.jobs, found.comparison.median) == (6, pytest.approx(1, abs=0.05))
    models = {one.component: one for one in calibration(spool).models}
    assert {one.jobs for one in models.values()} == {6}
    assert models["cpu"].factor_ppm == pytest.approx(
        1e6 * (60 / (104 * (0.12 + 0.87 * 7.5 / 16))) ** (6 / 11), rel=0.01
    )
    before = {job.job_id: job.totals.sums for job in synced(spool)}
    store_cluster_document(spool.root, verdicts_of("lab", [found], 1, START_NS))
    store_cluster_document(spool.root, calibration(spool))
    after = synced(spool)
    assert {job.job_id: job.totals.sums.measured_uj for job in after} == {
        job_id: sums.measured_uj for job_id, sums in before.items()
    }
    assert all(channel.source != "slurm-energy" for job in after for channel in job.channels)
    assert audited(spool).comparison == found.comparison


def test_documents_are_kept_and_read(spool: FakeSpool, tmp_path: Path) -> None:
    facts(spool)
    verdicts = EnergyVerdicts("lab", 7, START_NS, left_out="n[1-2]")
    store_cluster_document(spool.root, verdicts)
    assert stored_cluster_document(spool.root, EnergyVerdicts, "lab") == verdicts
    assert stored_cluster_document(spool.root, Calibration, "lab") is None
    assert stored_cluster_document(tmp_path / "none", ClusterFacts, "lab") is None
