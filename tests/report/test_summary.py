"""EnergySums that keep measured, modelled and unknown apart."""

from __future__ import annotations

from typing import Any

import pytest
from fake_spool import DRAM, GPU, PACKAGE, PSYS, SECOND, FakeSpool
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.ledger.groups import grouped
from hpcfrugal.ledger.overlap import NodeTime, overlapping
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.report.job import ReportedJob
from hpcfrugal.report.jobs import ReportedGroup

V100 = {"index": 0, "uuid": "GPU-a", "name": "Tesla V100-SXM2-16GB"}


def jobs(spool: FakeSpool) -> dict[str, ReportedJob]:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        return {job.job_id: ReportedJob(job) for job in find_jobs(connection, JobFilter())}


def groups_by(spool: FakeSpool, *by: str) -> list[ReportedGroup]:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        return [ReportedGroup(group) for group in grouped(connection, JobFilter(), by).groups]


def all_jobs(spool: FakeSpool) -> ReportedGroup:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        return ReportedGroup(grouped(connection, JobFilter()).total)


def test_measured_energy_is_complete_and_covered(spool: FakeSpool) -> None:
    spool.whole_run()
    total = jobs(spool)["17"].sums
    assert (total.measured_uj, total.modelled_uj, total.energy_uj) == (6_600_000_000, None, 6_600_000_000)
    assert (total.complete, total.coverage) == (True, 1.0)


def test_measured_and_modelled_stand_apart(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(channels=[PACKAGE]), *run.records([100], 60)])
    run.slurm()
    summary = jobs(spool)["17"]
    assert summary.components["cpu"].measured_uj == 6_000_000_000
    assert summary.components["dram"].modelled_uj == 96_000_000
    assert (summary.sums.measured_uj, summary.sums.modelled_uj) == (6_000_000_000, 96_000_000)


def test_a_modelled_total_has_a_range_and_no_coverage_to_mistake_for_it(spool: FakeSpool) -> None:
    """Of 6 kJ measured and 96 J modelled, of half to twice that; also where days or jobs are summed."""
    for job_id in ("17", "18"):
        run = spool.run(job_id)
        run.samples([run.header(job_id, channels=[PACKAGE]), *run.records([100], 60)], job_id)
        run.slurm(job_id=job_id)
    found = jobs(spool)
    total = found["17"].sums
    assert total.range_uj == (6_048_000_000, 6_192_000_000)
    assert (total.coverage, total.shown_coverage) == (1.0, None)
    assert found["17"].components["cpu"].range_uj is None
    assert found["17"].components["cpu"].shown_coverage == 1.0
    for group in (all_jobs(spool), *groups_by(spool, "day"), *groups_by(spool, "user")):
        assert group.sums.range_uj == (12_096_000_000, 12_384_000_000)


def test_a_total_with_uncertain_edges_has_a_range(spool: FakeSpool) -> None:
    """6 kJ at 100 W as the node agent publishes it, 10 s of it assumed, and 0.6 kJ read all the time."""
    for job_id in ("17", "18"):
        run = spool.run(job_id)
        channels = [{**PACKAGE, "source": "agent", "step_s": 10.0}, DRAM]
        records = [{**record, "assumed_ns": [10 * SECOND, 0]} for record in run.records([100, 10], 60)]
        run.samples([run.header(job_id, channels=channels), *records], job_id)
        run.slurm(job_id=job_id)
    total = jobs(spool)["17"].sums
    assert (total.measured_uj, total.modelled_uj) == (6_600_000_000, None)
    assert total.range_uj == (5_600_000_000, 7_600_000_000)
    for group in (all_jobs(spool), *groups_by(spool, "day"), *groups_by(spool, "user")):
        assert group.sums.range_uj == (11_200_000_000, 15_200_000_000)


def test_a_node_that_was_not_sampled_is_named_and_lowers_the_coverage(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(channels=[PACKAGE, DRAM, GPU], gpus=[V100]), *run.records([100, 10, 200], 60)])
    run.slurm(nodes=("n1", "n2"))
    summary = jobs(spool)["17"]
    assert summary.sums.energy_uj == 18_600_000_000
    assert not summary.sums.complete
    assert summary.unknown == ["n2 cpu: no samples", "n2 dram: no samples", "n2 gpu: no samples"]
    assert summary.sums.coverage == 0.5


def test_a_sampled_node_without_a_gpu_lacks_nothing(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(channels=[PACKAGE, DRAM, GPU], gpus=[V100]), *run.records([100, 10, 200], 60)])
    run.samples([run.header(node="n2"), *run.records([100, 10], 60)], node="n2")
    run.slurm(nodes=("n1", "n2"))
    total = jobs(spool)["17"].sums
    assert (total.complete, total.coverage) == (True, 1.0)


def test_what_the_sidecar_missed_lowers_the_coverage_and_is_not_made_up(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(), *run.records([100, 10], 60)[:4]])
    run.slurm()
    total = jobs(spool)["17"].sums
    assert (total.energy_uj, total.complete, total.coverage) == (3_300_000_000, True, 0.5)


def test_a_failed_sensor_is_unknown_and_a_failed_read_is_not(spool: FakeSpool) -> None:
    died, well = spool.run("17"), spool.run("18")
    lines = died.records([100, 10], 3600)
    for line in lines[7:]:
        line |= {"energy_uj": [None, None], "measured_ns": [60 * SECOND] * 2, "errors": [9, 9]}
    died.samples([died.header(), *lines])
    died.slurm(end_s=3600)
    lines = well.records([100, 10], 60)
    lines[-1] |= {"measured_ns": [59 * SECOND] * 2, "errors": [1, 1]}
    lines[-1]["read_ns"] = [lines[-1]["boottime_ns"] - SECOND] * 2
    well.samples([well.header("18"), *lines], "18")
    well.slurm(job_id="18")
    found = jobs(spool)
    total = found["17"].sums
    assert (total.measured_uj, total.complete, total.coverage) == (6_600_000_000, False, 1.0)
    assert total.modelled_uj == 3540 * (35_700_000 + 1_600_000)
    assert [text.partition(":")[0] for text in found["17"].unknown] == ["n1 cpu package-0", "n1 dram dram-0"]
    assert all("last good reading at 2026-11-21T10:01:00Z" in text for text in found["17"].unknown)
    assert all_jobs(spool).counts.incomplete == 1
    total = found["18"].sums
    assert (total.energy_uj, total.complete, found["18"].unknown) == (6_600_000_000, True, [])


def test_a_gpu_that_was_not_found_is_missing_from_the_total(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(gpus_promised=1), *run.records([100, 10], 60)])
    run.slurm()
    summary = jobs(spool)["17"]
    assert (summary.components["gpu"].energy_uj, summary.sums.complete) == (None, False)
    assert summary.unknown == ["n1 gpu gpu: 1 of 1 GPUs of the job not read: no sensor reported"]


def test_coverage_never_passes_one(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(), *run.records([100, 10], 60)])
    run.slurm(end_s=59)
    assert jobs(spool)["17"].sums.coverage == 1.0


def test_a_source_after_another_adds_its_time(spool: FakeSpool) -> None:
    run = spool.run()
    later = 30 * SECOND
    header = run.header(channels=[])
    header |= {"wall_ns": header["wall_ns"] + later, "boottime_ns": header["boottime_ns"] + later}
    more = [{**line, "boottime_ns": line["boottime_ns"] + later} for line in run.records([], 30)]
    two = [PACKAGE, {**PACKAGE, "domain": "package-1"}, DRAM]
    run.samples([run.header(channels=two), *run.records([100, 80, 10], 30)[:4], header, *more])
    run.slurm()
    summary = jobs(spool)["17"]
    cpu = summary.components["cpu"]
    assert (cpu.measured_uj, cpu.modelled_uj, cpu.coverage) == (5_400_000_000, 30 * 35_700_000, 1.0)
    assert summary.sums.complete


def test_never_sampled_is_unknown_and_not_zero(spool: FakeSpool) -> None:
    run = spool.run()
    run.slurm("FAILED")
    total = jobs(spool)["17"].sums
    assert (total.energy_uj, total.complete, total.coverage) == (None, False, 0.0)


def test_the_node_boundary_is_never_added(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(channels=[PACKAGE, DRAM, PSYS]), *run.records([100, 10, 260], 60)])
    run.slurm()
    assert jobs(spool)["17"].sums.energy_uj == 6_600_000_000


def test_groups_sum_and_count_what_is_missing(spool: FakeSpool) -> None:
    spool.whole_run("17")
    spool.whole_run("18", user="bob", spec={"name": "x", "tags": {"phase": "inference"}})
    failed = spool.run("19")
    failed.slurm("FAILED", job_id="19")
    spool.run("20")
    by_user = {group.group.labels: group for group in groups_by(spool, "user")}
    assert list(by_user) == [("alice",), ("bob",)]
    alice = by_user["alice",]
    assert (alice.counts.jobs, alice.counts.not_started) == (3, 1)
    assert (alice.without_energy, alice.counts.incomplete) == (1, 1)
    assert alice.sums.energy_uj == 6_600_000_000
    assert alice.group.elapsed_ns == 120 * SECOND
    assert [group.group.labels for group in groups_by(spool, "project")] == [("climate",), (None,)]
    assert [group.group.labels for group in groups_by(spool, "tag:phase")] == [("inference",), ("training",)]
    by_component = {group.group.labels: group.sums.energy_uj for group in groups_by(spool, "component")}
    assert by_component == {("cpu",): 12_000_000_000, ("dram",): 1_200_000_000}
    assert all_jobs(spool).sums.energy_uj == 13_200_000_000


def test_days_cut_a_job_where_the_day_ends(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header()
    header["wall_ns"] += 14 * 3600 * SECOND - 15 * SECOND
    run.samples([header, *run.records([100, 10], 60)])
    days = groups_by(spool, "day")
    assert [group.sums.energy_uj for group in days] == [1_650_000_000, 4_950_000_000]
    assert [group.counts.jobs for group in days] == [1, 1]
    assert [group.group.elapsed_ns for group in days] == [15 * SECOND, 45 * SECOND]
    assert all_jobs(spool).counts.jobs == 1


def test_days_keep_what_is_incomplete_and_covered(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header(gpus_promised=1), *run.records([100, 10], 60)[:4]])
    run.slurm()
    spool.run("18").slurm("FAILED", job_id="18")
    (group,) = groups_by(spool, "day")
    assert (group.counts.jobs, group.counts.incomplete, group.without_energy, group.complete) == (2, 2, 1, False)
    assert (group.sums.energy_uj, group.sums.complete) == (3_300_000_000, False)
    # CPU and memory of the first job for half of its time, but not its GPU, nor anything of the other.
    assert (group.sums.coverage, group.group.elapsed_ns) == (60 / 300, 120 * SECOND)


@pytest.mark.parametrize("node_count", [1, 3])
def test_nodes_add(spool: FakeSpool, node_count: int) -> None:
    run = spool.run()
    nodes = tuple(f"n{number}" for number in range(node_count))
    for node in nodes:
        run.samples([run.header(node=node), *run.records([100, 10], 60)], node=node)
    run.slurm(nodes=nodes)
    total = jobs(spool)["17"].sums
    assert (total.energy_uj, total.coverage) == (node_count * 6_600_000_000, 1.0)


def test_coverage_of_a_job_without_a_known_end_is_unknown(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(), *run.records([100, 10], 60)[:4]])
    run.slurm("RUNNING", end_s=None)
    spool.whole_run("18")
    found = jobs(spool)
    total = found["17"].sums
    assert (total.energy_uj, total.complete, total.coverage) == (3_300_000_000, True, None)
    assert [channel.coverage for channel in found["17"].channels] == [None, None]
    # The sum of jobs covers what is known of those that have ended.
    both = all_jobs(spool)
    assert (both.sums.coverage, both.group.elapsed_ns) == (1.0, 90 * SECOND)
    run.end(exit_code=0, end_s=60)
    assert jobs(spool)["17"].sums.coverage == 0.5


def span(start: int, end: int, job: int, part: str = "cpu") -> NodeTime:
    return NodeTime(("lab", 1, part), start, end, job)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.sampled_from(["cpu", "dram"])), max_size=8))
def test_overlaps_are_those_that_a_look_at_all_pairs_finds(drawn: list[tuple[int, int, str]]) -> None:
    times = [span(start, start + length, job, part) for job, (start, length, part) in enumerate(drawn)]
    expected = {
        one.job
        for one in times
        for other in times
        if one is not other
        and one.part == other.part
        and max(one.start_ns, other.start_ns) < min(one.end_ns, other.end_ns)
    }
    assert overlapping(times) == expected


def test_only_whole_nodes_at_one_time_overlap(spool: FakeSpool) -> None:
    for job_id, changes in (("17", {}), ("18", {"exclusive": False}), ("19", {"node": "n2"})):
        run = spool.run(job_id)
        node = str(changes.get("node", "n1"))
        run.samples([run.header(job_id, **changes), *run.records([100, 10], 60)], job_id, node=node)
    later = spool.run("20")
    header = later.header("20")
    lines = later.records([100, 10], 60)
    for line in (header, *lines):
        line |= {name: line[name] + 60 * SECOND for name in ("wall_ns", "boottime_ns")}
    later.samples([header, *lines], "20")
    assert all_jobs(spool).group.overlapping == []
    twice = spool.run("21")
    twice.samples([twice.header("21"), *twice.records([100, 10], 60)], "21")
    assert all_jobs(spool).group.overlapping == ["17", "21"]


def test_two_holders_of_one_gpu_overlap(spool: FakeSpool) -> None:
    header = {"exclusive": False, "channels": [PACKAGE, GPU], "gpus": [V100]}
    for job_id, more in (("17", {}), ("18", {}), ("19", {"channels": [PACKAGE, {**GPU, "gpu_uuid": "GPU-b"}]})):
        run = spool.run(job_id)
        run.samples([run.header(job_id, **{**header, **more}), *run.records([100, 400], 60)], job_id)
    assert all_jobs(spool).group.overlapping == ["17", "18"]


def test_a_run_inside_of_a_job_overlaps_with_it(spool: FakeSpool) -> None:
    spool.whole_run("17")
    inner = spool.run(None)
    inner.cluster = "local:n1"
    inner.submitted(inner.run_id)
    # Its clock was set in between: the time since boot is the same.
    header = inner.header(inner.run_id, cluster="local:n1")
    header["wall_ns"] += 3600 * SECOND
    inner.samples([header, *inner.records([100, 10], 60)], inner.run_id)
    assert all_jobs(spool).group.overlapping == ["17", inner.run_id]
    # After a reboot, or where nobody knows of one, it is another node of another cluster.
    for boot_id in ("later", None):
        inner.samples([{**header, "boot_id": boot_id}, *inner.records([100, 10], 60)], inner.run_id)
        assert all_jobs(spool).group.overlapping == []


def test_between_two_sessions_of_its_sidecar_a_job_has_no_energy(spool: FakeSpool) -> None:
    def session(job_id: str, at_s: int) -> list[dict[str, Any]]:
        lines = [run.header(job_id), *run.records([100, 10], 10)]
        for line in lines:
            line |= {name: line[name] + at_s * SECOND for name in ("wall_ns", "boottime_ns")}
        return lines

    run = spool.run("17")
    run.samples([*session("17", 0), *session("17", 100)], "17")
    for at_s, found in ((50, []), (105, ["17", "18"])):
        run = spool.run("18")
        run.samples(session("18", at_s), "18")
        assert all_jobs(spool).group.overlapping == found
        run.run_dir.run_json.unlink()


@pytest.mark.parametrize(("exclusive", "complete"), [(False, False), (True, True)])
def test_cpu_time_that_was_not_seen_makes_a_share_incomplete(spool: FakeSpool, exclusive: bool, complete: bool) -> None:
    run = spool.run("17")
    usage = {"sources": {}, "reasons": {"cpu_time": "procfs hides processes"}}
    run.samples([run.header(exclusive=exclusive, usage=usage), *run.records([100, 10], 60)])
    run.slurm()
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
    found = ReportedJob(job)
    assert found.sums.energy_uj is not None
    assert found.complete is complete
    expected = [] if complete else ["n1 cpu: procfs hides processes", "n1 dram: procfs hides processes"]
    assert found.unknown == expected
