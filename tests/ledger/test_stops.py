"""A job that was stopped for a time had its node no longer alone; one whose sidecar was late had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_spool import DRAM, GPU, PACKAGE, SECOND, FakeRun, FakeSpool, read

from hpcfrugal.accounting.tables import cpu_tdp, gpu_tdp
from hpcfrugal.ledger.channel_totals import ChannelTotals
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.derive import MAYBE_STOPPED, derive
from hpcfrugal.ledger.nodes import find_nodes
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync

A100 = {"index": 0, "uuid": "GPU-a", "name": "A100"}
PACKAGE_NAME = "cpu/package-0/rapl-powercap"


def channels(path: Path) -> dict[str, ChannelTotals]:
    found = derive(read(path).sessions, cpu_tdp(), gpu_tdp())
    return {str(channel.key): channel for channel in found.channels}


def silent(run: FakeRun, cpu_s: float | None, silent_s: float = 200, watts: Sequence[int] = (100,)) -> list[Any]:
    """Records of a busy CPU with a silence from 20 s on, in which the job has used ``cpu_s`` of CPU time."""
    lines = []
    for at_s in (0, 10, 20, 20 + silent_s, 30 + silent_s):
        used_s = at_s if at_s <= 20 else None if cpu_s is None else at_s - silent_s + cpu_s
        cpu_us = None if used_s is None else round(used_s * 10**6)
        lines.append(run.record(at_s, [round(power * at_s * 10**6) for power in watts], job_cpu_us=cpu_us))
    return lines


@pytest.mark.parametrize(
    ("cpu_s", "stopped"),
    # By half of its usual CPU time the sidecar alone was late; 2 CPUs have 40 s in the time of two records.
    [(0, True), (20, True), (99, False), (100, False), (200, False), (None, True)],
)
def test_cpu_time_distinguishes_a_stopped_job_from_a_late_sidecar(
    spool: FakeSpool, cpu_s: float | None, stopped: bool
) -> None:
    run = spool.run()
    header = run.header(channels=[PACKAGE], cpus_alloc=2 if cpu_s != 99 else 1)
    package = channels(run.samples([header, *silent(run, cpu_s)]))[PACKAGE_NAME]
    seconds = 30 if stopped else 230
    assert (package.energy_uj, package.measured_ns) == (100 * seconds * 10**6, seconds * SECOND)
    assert package.node_energy_uj == 100 * 230 * 10**6
    assert package.reason == (MAYBE_STOPPED if stopped else None)
    assert sum(package.by_time.energies_uj.values()) == package.energy_uj


def test_a_serial_job_on_a_large_node_is_recognised_by_its_usual_cpu_time(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header(channels=[PACKAGE], cpus_alloc=256)
    for cpu_s, known_s in ((99, 30), (100, 230)):
        package = channels(run.samples([header, *silent(run, cpu_s)]))[PACKAGE_NAME]
        assert package.measured_ns == known_s * SECOND


def test_a_sidecar_that_slowed_down_is_not_a_sensor_gap(spool: FakeSpool) -> None:
    run = spool.run()
    lines = [{**line, "note": {"slowed": 100}} for line in silent(run, 0)]
    package = channels(run.samples([run.header(channels=[PACKAGE]), *lines]))[PACKAGE_NAME]
    assert (package.measured_ns, package.reason) == (230 * SECOND, None)


def test_a_gpu_stays_with_the_job_that_is_stopped(spool: FakeSpool) -> None:
    run = spool.run()
    # Slurm gives the CPUs of a suspended job to others, but not its GPUs.
    path = run.samples([run.header(channels=[PACKAGE, GPU], gpus=[A100]), *silent(run, 0, watts=(100, 400))])
    gpu = channels(path)["gpu/gpu-0/nvml-energy"]
    assert (gpu.energy_uj, gpu.measured_ns, gpu.reason) == (400 * 230 * 10**6, 230 * SECOND, None)


def test_the_model_leaves_out_what_the_node_did_meanwhile(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(channels=[]), *silent(run, 0, watts=())])
    cpu = channels(path)["cpu/cpu/model-tdp"]
    # Four of eight cores are busy, by the fake, 30 s of the time for the job.
    assert (cpu.energy_uj, cpu.measured_ns) == (30 * 35_700_000, 30 * SECOND)
    assert "may have been stopped" in (cpu.inputs or "")
    only = run.samples([run.header(channels=[]), run.record(200, [], job_cpu_us=0)])
    assert channels(only)["cpu/cpu/none"].energy_uj is None


def test_coverage_shows_a_stop_and_the_nodes_add_up(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(channels=[PACKAGE, DRAM]), *silent(run, 0, watts=(100, 10))])
    run.slurm(end_s=230)
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
        (node,) = find_nodes(connection, spool.root).nodes
    total = job.totals.sums
    assert total.energy_uj == 110 * 30 * 10**6
    assert total.coverage == pytest.approx(30 / 230)
    assert node.total.energy_uj == 110 * 230 * 10**6
    assert node.total.jobs_uj == 110 * 30 * 10**6
    assert node.total.residual_uj == 110 * 200 * 10**6
    assert node.total.unknown == {(run.run_id, "17", 0)}
    assert check_ledger(spool.root, spool.ledger).differences == ()


def test_a_job_that_ran_meanwhile_has_its_part_in_the_report_of_nodes(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header(channels=[PACKAGE]), *silent(run, 0)])
    other = spool.run("18")
    lines = [
        other.record(at_s, [100 * 10**6 * at_s], job_cpu_us=4 * 10**6 * (at_s - 30)) for at_s in range(30, 211, 10)
    ]
    for line in lines:
        line |= {
            "energy_uj": [line["energy_uj"][0] - 3000 * 10**6],
            "measured_ns": [line["measured_ns"][0] - 30 * SECOND],
        }
        line["node_busy_us"] = line["job_cpu_us"]
    header = other.header("18", channels=[PACKAGE])
    header |= {"wall_ns": header["wall_ns"] + 30 * SECOND, "boottime_ns": header["boottime_ns"] + 30 * SECOND}
    other.samples([header, *lines], "18")
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (node,) = find_nodes(connection, spool.root).nodes
    shares = {job[1]: share.energy_uj for job, share in node.total.shares.items()}
    assert node.total.energy_uj == 100 * 230 * 10**6
    assert shares == {"17": 100 * 30 * 10**6, "18": 100 * 180 * 10**6}
