"""What meters say of finished jobs, from the spool to the report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fake_spool import BOOT_NS, PSYS, START_NS, FakeRun, FakeSpool

from hpcfrugal.core.errors import SourceError, Unreachable
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.packed import BUCKETS
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.rows import ChannelRow, JobRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.meters.base import SECOND_NS, Meter, MeterAnswer, PowerSeries, Refusal
from hpcfrugal.meters.collect import collect
from hpcfrugal.meters.integrate import curve
from hpcfrugal.meters.record import JobOnNode, lines_of
from hpcfrugal.spool import JobKey, RunDir, parse_name

LOOK_BACK_NS = 30 * 86_400 * SECOND_NS

LATER = START_NS + 3600 * SECOND_NS
SOON = START_NS + 61 * SECOND_NS


class FakeMeter(Meter):
    """Samples each 10 s of a constant power by node, as far as ``until_s`` after START."""

    __setattr__ = object.__setattr__

    def __init__(self, watts: dict[str, float], **more: Any) -> None:
        own: dict[str, Any] = {"until_s": 1e6, "down": None, "confused_about": (), "refuse": None, "asked": []}
        super().__init__(**{"name": "rack3", "kind": "prometheus"} | {k: more[k] for k in more.keys() - own})
        vars(self).update(own | {key: more[key] for key in more.keys() & own}, watts=watts)

    @property
    def detail(self) -> str:
        return "https://prom watts"

    def fetch(self, nodes: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, MeterAnswer]:
        self.asked.append((tuple(nodes), start_ns, end_ns))
        if self.down is not None:
            raise Unreachable(self.down)
        if start_ns + self.terms.max_gap_ns in self.confused_about:
            raise SourceError("too many samples")
        if self.refuse is not None:
            return {node: Refusal(self.refuse) for node in nodes}
        first = -(-start_ns // self.terms.step_ns) * self.terms.step_ns
        last = min(end_ns, START_NS + round(self.until_s * SECOND_NS))
        times = range(first, last + 1, self.terms.step_ns)
        return {
            node: PowerSeries("power", [(at, self.watts[node]) for at in times])
            for node in nodes
            if node in self.watts and len(times)
        }


def job(spool: FakeSpool, job_id: str = "17") -> JobRow:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (row,) = find_jobs(connection, JobFilter(jobs=(job_id,)))
    return row


def of_meter(row: JobRow, node: str = "n1", name: str = "rack3") -> ChannelRow:
    (channel,) = [item for item in row.channels if (item.node, item.domain) == (node, f"meter:{name}")]
    return channel


def gather(spool: FakeSpool, *meters: FakeMeter, now_ns: int = LATER) -> tuple[int, int, tuple[str, ...]]:
    found = collect(spool.root, meters, now_ns)
    return found.written, found.pending, found.troubles


def meter_files(run: FakeRun) -> list[str]:
    return [path.name for path, _ in run.run_dir.files("meter")]


def test_an_exclusive_job_has_the_whole_node(spool: FakeSpool) -> None:
    run = spool.whole_run()
    meter = FakeMeter({"n1": 400.0})
    assert gather(spool, meter) == (1, 0, ())
    assert meter.asked == [(("n1",), START_NS - 30 * SECOND_NS, START_NS + 90 * SECOND_NS)]
    assert meter_files(run) == ["17.0.n1.rack3.meter"]
    row = job(spool)
    channel = of_meter(row)
    assert (channel.energy_uj, channel.node_energy_uj) == (24_000_000_000, 24_000_000_000)
    assert (channel.measured_ns, channel.max_w, channel.errors, channel.gaps) == (60 * SECOND_NS, 400.0, 0, 0)
    assert (channel.component, channel.boundary, channel.counted, channel.quality) == (
        "node",
        "node",
        False,
        "measured",
    )
    assert (channel.source, channel.attribution) == ("prometheus", "exclusive")
    assert channel.detail == "https://prom watts"
    assert (channel.first_wall_ns, channel.first_boottime_ns) == (START_NS, BOOT_NS)
    # It is another boundary: the components' total is what it was.
    assert row.totals.sums.energy_uj == 60 * 110 * 10**6
    assert row.totals.complete


def test_it_is_asked_once(spool: FakeSpool) -> None:
    spool.whole_run()
    meter = FakeMeter({"n1": 400.0})
    gather(spool, meter)
    assert gather(spool, meter) == (0, 0, ())
    assert len(meter.asked) == 1


def test_energy_lies_in_the_ledgers_buckets(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(), *run.records([100.0, 10.0], 900)])
    run.slurm(start_s=0, end_s=900)
    gather(spool, FakeMeter({"n1": 400.0}))
    job(spool)
    with open_ledger(spool.ledger) as connection:
        rows = connection.execute(
            f"SELECT bucket_start_s * 1000000000, energy_uj FROM ({BUCKETS}) JOIN channel_kinds USING (kind)"
            " WHERE channel = 'node/meter:rack3/prometheus'"
        ).fetchall()
    assert [tuple(row) for row in rows] == [(START_NS + k * 300 * SECOND_NS, 300 * 400 * 10**6) for k in range(3)]


def test_a_shared_node_is_shared_by_cpu_time_at_the_sidecars_records(spool: FakeSpool) -> None:
    run = spool.run()
    # The job uses 1 of the 4 busy CPUs, from a sidecar that began 5 s after the job and ended 5 s before it.
    header = run.header(exclusive=False, wall_ns=START_NS + 5 * SECOND_NS, boottime_ns=BOOT_NS + 5 * SECOND_NS)
    lines = [
        run.record(at, [0, 0], job_cpu_us=(at - 5) * 10**6, node_busy_us=(at - 5) * 4 * 10**6)
        for at in (5, 15, 25, 35, 45, 55)
    ]
    run.samples([header, *lines])
    run.slurm()
    gather(spool, FakeMeter({"n1": 400.0}))
    channel = of_meter(job(spool))
    assert channel.attribution == "cpu-share"
    assert (channel.node_energy_uj, channel.energy_uj) == (50 * 400 * 10**6, 50 * 100 * 10**6)
    assert channel.measured_ns == 50 * SECOND_NS


def test_each_session_of_the_sidecar_is_a_session_of_the_meter(spool: FakeSpool) -> None:
    run = spool.run()
    second = run.header(exclusive=False, boot_id="next", wall_ns=START_NS + 40 * SECOND_NS, boottime_ns=7 * SECOND_NS)
    record = run.record(0, [0, 0], boottime_ns=27 * SECOND_NS, job_cpu_us=10**7, node_busy_us=2 * 10**7)
    run.samples([run.header(exclusive=False), *run.records([1.0, 1.0], 20), second, record])
    run.slurm()
    gather(spool, FakeMeter({"n1": 400.0}))
    channel = of_meter(job(spool))
    assert channel.node_energy_uj == 40 * 400 * 10**6
    assert channel.energy_uj == 20 * 100 * 10**6 + 20 * 200 * 10**6


def test_without_a_sidecar_the_job_has_no_known_part(spool: FakeSpool) -> None:
    run = spool.run()
    run.slurm(nodes=("n1",))
    assert gather(spool, FakeMeter({"n1": 400.0})) == (1, 0, ())
    row = job(spool)
    channel = of_meter(row)
    assert (channel.energy_uj, channel.node_energy_uj) == (None, 24_000_000_000)
    assert channel.quality == "unknown"
    assert channel.reason is not None
    assert "CPU time is unknown" in channel.reason
    assert (channel.first_wall_ns, channel.first_boottime_ns) == (START_NS, None)
    # The node still counts as one that was not sampled.
    assert (row.totals.unknown or ())[0] == "n1 cpu: no samples"


def test_edges_lie_between_samples_and_a_lack_of_them_lowers_the_coverage(spool: FakeSpool) -> None:
    run = spool.whole_run()
    run.slurm(start_s=3, end_s=57)
    meter = FakeMeter({"n1": 400.0}, until_s=20)
    assert gather(spool, meter, now_ns=SOON) == (0, 1, ())
    assert meter_files(run) == []
    assert gather(spool, meter) == (1, 0, ())
    channel = of_meter(job(spool))
    assert (channel.energy_uj, channel.measured_ns) == (17 * 400 * 10**6, 17 * SECOND_NS)


def test_data_that_come_late_are_waited_for(spool: FakeSpool) -> None:
    spool.whole_run()
    meter = FakeMeter({"n1": 400.0}, until_s=50)
    assert gather(spool, meter, now_ns=SOON) == (0, 1, ())
    meter.until_s = 60
    assert gather(spool, meter, now_ns=SOON) == (1, 0, ())
    assert of_meter(job(spool)).measured_ns == 60 * SECOND_NS


def test_no_data_is_kept_as_such_when_none_can_come(spool: FakeSpool) -> None:
    run = spool.whole_run()
    meter = FakeMeter({})
    assert gather(spool, meter, now_ns=SOON) == (0, 1, ())
    assert gather(spool, meter) == (1, 0, ())
    assert gather(spool, meter) == (0, 0, ())
    row = job(spool)
    assert not [item for item in row.channels if item.boundary == "node"]
    (absent,) = [item for item in row.missing_sensors if item.source == "meter:rack3"]
    assert (absent.component, absent.reason) == ("node", "prometheus has no samples of this node while the job ran")
    assert check_ledger(spool.root, spool.ledger).differences == ()
    # Whoever removes the file has the meter asked again.
    (run.run_dir.path / "17.0.n1.rack3.meter").unlink()
    assert gather(spool, FakeMeter({"n1": 400.0})) == (1, 0, ())
    row = job(spool)
    assert of_meter(row).energy_uj == 24_000_000_000
    assert not [item for item in row.missing_sensors if item.source == "meter:rack3"]


def test_a_meter_that_is_down_is_named_once_and_tried_again(spool: FakeSpool) -> None:
    runs = [spool.whole_run(job_id) for job_id in ("17", "18", "19")]
    meter, other = FakeMeter({"n1": 400.0}, down="it is dark"), FakeMeter({"n1": 300.0}, name="other")
    assert gather(spool, meter, other) == (3, 0, ("meter rack3: it is dark; the next sync tries again",))
    assert len(meter.asked) == 1
    assert [meter_files(run) for run in runs] == [[f"{job_id}.0.n1.other.meter"] for job_id in ("17", "18", "19")]
    assert not [name for run in runs for name in os.listdir(run.run_dir.path) if name.endswith(".tmp")]
    meter.down = None
    assert gather(spool, meter, other) == (3, 0, ())
    row = job(spool, "18")
    assert of_meter(row).energy_uj == 24_000_000_000
    assert of_meter(row, name="other").energy_uj == 18_000_000_000


def test_an_unusable_answer_writes_no_file(spool: FakeSpool) -> None:
    runs = [spool.whole_run(job_id) for job_id in ("17", "18")]
    assert gather(spool, FakeMeter({}, refuse="two series")) == (0, 0, ("meter rack3: n1: two series",))
    assert [meter_files(run) for run in runs] == [[], []]


def test_nodes_of_a_job_are_asked_for_together_where_the_meter_covers_them(spool: FakeSpool) -> None:
    run = spool.run()
    nodes = ("n1", "n2", "n3", "gpu1.dom.ain")
    for node in nodes[:2]:
        run.samples([run.header(node=node), *run.records([1.0, 1.0], 60)], node=node)
    run.slurm(nodes=nodes)
    meter = FakeMeter(dict.fromkeys(nodes, 100.0), nodes="n1,n3,gpu1")
    assert gather(spool, meter) == (3, 0, ())
    assert [asked for asked, _, _ in meter.asked] == [("gpu1.dom.ain", "n1", "n3")]
    row = job(spool)
    assert [of_meter(row, node).node_energy_uj for node in meter.asked[0][0]] == [6_000_000_000] * 3


def test_short_jobs_are_asked_about_together_and_long_ones_apart(spool: FakeSpool) -> None:
    times = {"1": (0, 60), "2": (60, 90), "3": (3000, 3590), "4": (3000, 9000), "5": (9000, 9010), "6": (3000, 9000)}
    for job_id, (start_s, end_s) in times.items():
        run = spool.run(job_id)
        run.slurm(start_s=start_s, end_s=end_s, job_id=job_id, nodes=("n1", f"n{job_id}"))
    meter = FakeMeter(dict.fromkeys(("n1", *(f"n{job_id}" for job_id in times)), 100.0))
    assert gather(spool, meter, now_ns=START_NS + 20_000 * SECOND_NS) == (11, 0, ())
    assert [
        (nodes, start_ns // SECOND_NS - START_NS // SECOND_NS + 30, end_ns // SECOND_NS - START_NS // SECOND_NS - 30)
        for nodes, start_ns, end_ns in meter.asked
    ] == [
        (("n1", "n2", "n3"), 0, 3590),
        (("n1", "n4", "n6"), 3000, 9000),
        (("n1", "n5"), 9000, 9010),
    ]
    for job_id, (start_s, end_s) in times.items():
        assert of_meter(job(spool, job_id)).node_energy_uj == (end_s - start_s) * 100 * 10**6


def test_many_samples_are_fetched_a_few_nodes_at_a_time(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcfrugal.meters.collect.MAX_SAMPLES", 12)
    nodes = ("n1", "n2", "n3", "n4", "n5")
    spool.run().slurm(nodes=nodes)
    meter = FakeMeter(dict.fromkeys(nodes, 100.0))
    assert gather(spool, meter) == (5, 0, ())
    assert [asked for asked, _, _ in meter.asked] == [("n1", "n2"), ("n3", "n4"), ("n5",)]


def test_a_failed_request_does_not_affect_the_others(spool: FakeSpool) -> None:
    for number in range(3):
        start_s = number * 5000
        spool.run(str(number)).slurm(start_s=start_s, end_s=start_s + 60, job_id=str(number))
    meter = FakeMeter({"n1": 100.0}, confused_about=[START_NS])
    trouble = "meter rack3: too many samples; the next sync tries again"
    assert gather(spool, meter, now_ns=START_NS + 20_000 * SECOND_NS) == (2, 0, (trouble,))


def test_a_meter_is_given_up_after_three_requests_that_failed(spool: FakeSpool) -> None:
    starts_s = [number * 5000 for number in range(5)]
    for start_s in starts_s:
        spool.run(str(start_s)).slurm(start_s=start_s, end_s=start_s + 60, job_id=str(start_s))
    meter = FakeMeter({"n1": 100.0}, confused_about=[START_NS + start_s * SECOND_NS for start_s in starts_s[:2]])
    assert gather(spool, meter, now_ns=START_NS + 30_000 * SECOND_NS)[0] == 3
    meter = FakeMeter({"n1": 100.0}, name="b", confused_about=[START_NS + at_s * SECOND_NS for at_s in starts_s[:3]])
    assert gather(spool, meter, now_ns=START_NS + 30_000 * SECOND_NS)[0] == 0
    assert len(meter.asked) == 3


def test_half_a_million_samples_are_fetched_at_once(spool: FakeSpool) -> None:
    nodes = tuple(f"n{number}" for number in range(14))
    spool.run().slurm(nodes=nodes, start_s=0, end_s=400_000)
    meter = FakeMeter({})
    gather(spool, meter, now_ns=START_NS + 500_000 * SECOND_NS)
    assert [len(asked) for asked, _, _ in meter.asked] == [12, 2]


def test_a_node_of_the_same_name_on_another_cluster_is_another_node(spool: FakeSpool) -> None:
    spool.whole_run("17")
    other = spool.run("18")
    other.slurm(job_id="18", cluster="big")
    local = spool.run("19")
    local.cluster = "local:n1"
    local.submitted("19")
    local.samples([local.header("19"), *local.records([1.0, 1.0], 60)], "19")
    local.end(job_id="19")
    assert gather(spool, FakeMeter({"n1": 1.0}, name="a", cluster="big")) == (1, 0, ())
    assert meter_files(other) == ["18.0.n1.a.meter"]
    assert gather(spool, FakeMeter({"n1": 1.0}, name="b", cluster="local:n1")) == (1, 0, ())
    assert meter_files(local) == ["19.0.n1.b.meter"]
    assert gather(spool, FakeMeter({"n1": 1.0}, name="c")) == (3, 0, ())


@pytest.mark.parametrize("node", ["n1.cluster.org", "a'; rm -rf ~ #", "n1.rack3.meter", "../x", "n\u00fc", "n1.meter"])
def test_names_of_nodes_are_data(spool: FakeSpool, node: str) -> None:
    run = spool.run()
    run.samples([run.header(node=node.encode("utf-8", "replace").decode()), *run.records([1.0, 1.0], 60)], node=node)
    run.end()
    gather(spool, FakeMeter({node: 100.0}))
    path = run.run_dir.meter("17", 0, node, "rack3")
    assert path.parent == run.run_dir.path
    parsed = parse_name(path.name)
    assert parsed is not None
    assert (parsed.kind, parsed.node, parsed.meter) == ("meter", node, "rack3")
    assert path.is_file()
    row = job(spool)
    assert {item.node for item in row.channels} == {node.encode("utf-8", "replace").decode()}
    assert [item.energy_uj for item in row.channels if item.domain == "meter:rack3"] == [6_000_000_000]
    assert not [name for name in os.listdir(run.run_dir.path.parent) if name != run.run_id]


def test_samples_of_a_node_called_like_a_meters_file_stay_samples() -> None:
    for name, kind, node, meter in (
        ("17.0.n1.rack3.meter", "meter", "n1", "rack3"),
        ("17.0.n1.rack3.meter.jsonl", "samples", "n1.rack3.meter", None),
        ("17.0.n1.rack3.meter.x.meter", "meter", "n1.rack3.meter", "x"),
    ):
        parsed = parse_name(name)
        assert parsed is not None
        assert (parsed.kind, parsed.node, parsed.meter) == (kind, node, meter)
    assert parse_name("17.0.meter") is None
    assert parse_name("17.0.x.meter") is None
    with pytest.raises(ValueError, match="not a node name"):
        RunDir("/x").meter("17", 0, "n1", "a/b")
    with pytest.raises(ValueError, match="not a node name"):
        RunDir("/x").meter("17", 0, "n" * 250, "rack3")


def test_meters_are_not_read_for_running_old_or_other_users_jobs(spool: FakeSpool) -> None:
    running = spool.run("1")
    running.slurm("RUNNING", end_s=None, job_id="1")
    waiting = spool.run("2")
    waiting.slurm("PENDING", start_s=None, end_s=None, nodes=(), job_id="2")
    cancelled = spool.run("3")
    cancelled.slurm("CANCELLED", start_s=None, end_s=10, nodes=(), job_id="3")
    spool.run("4")
    meter = FakeMeter({"n1": 1.0})
    assert gather(spool, meter) == (0, 0, ())
    spool.whole_run("5")
    assert gather(spool, meter, now_ns=START_NS + LOOK_BACK_NS + 3600 * SECOND_NS) == (0, 0, ())
    assert meter.asked == []


def test_a_job_of_years_is_a_clock_that_was_wrong(spool: FakeSpool) -> None:
    """A node that booted without a clock says that the job began in 2000: half a million questions to a meter."""
    run = spool.run()
    run.samples([run.header()])
    run.end(start_s=-20 * 365 * 86_400)
    meter = FakeMeter({"n1": 1.0}, step="1h", max_gap="2h")
    assert gather(spool, meter) == (0, 0, ())
    assert meter.asked == []
    run.end(start_s=-3600)
    gather(spool, meter)
    assert len(meter.asked) == 1


def test_every_attempt_of_a_requeued_job_has_its_own(spool: FakeSpool) -> None:
    run = spool.run()
    for restart, (start_s, end_s) in enumerate(((0, 60), (100, 220))):
        wall = {"wall_ns": START_NS + start_s * SECOND_NS, "boottime_ns": BOOT_NS + start_s * SECOND_NS}
        record = {**run.record(end_s, [0, 0]), "measured_ns": [0, 0]}
        run.samples([run.header(restart=restart, **wall), record], restart=restart)
        run.slurm("PREEMPTED" if restart == 0 else "COMPLETED", start_s, end_s, restart=restart)
    gather(spool, FakeMeter({"n1": 100.0}))
    assert meter_files(run) == ["17.0.n1.rack3.meter", "17.1.n1.rack3.meter"]
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        rows = find_jobs(connection, JobFilter(jobs=("17",)))
    assert [of_meter(row).energy_uj for row in rows] == [6_000_000_000, 12_000_000_000]


def test_a_rebuilt_ledger_is_the_same_and_a_sidecar_beside_it_keeps_its_rows(spool: FakeSpool) -> None:
    run = spool.whole_run()
    psys = [run.header(channels=[PSYS]), *run.records([350.0], 60)]
    run.samples(psys)
    sync(spool.root, spool.ledger)
    gather(spool, FakeMeter({"n1": 400.0}), FakeMeter({"n1": 399.0}, name="rack3-2"))
    row = job(spool)
    node = {item.domain: item.energy_uj for item in row.channels if item.boundary == "node"}
    assert node == {"psys": 21 * 10**9, "meter:rack3": 24 * 10**9, "meter:rack3-2": 23_940_000_000}
    # A sidecar's file that changes leaves the meters' rows, and the other way round.
    run.samples([*psys, {"kind": "junk"}])
    assert {item.domain for item in job(spool).channels if item.boundary == "node"} == set(node)
    path = run.run_dir.meter("17", 0, "n1", "rack3")
    path.write_text(path.read_text().replace("24000000000", "12000000000"))
    after = {item.domain: item.energy_uj for item in job(spool).channels if item.boundary == "node"}
    assert after == {**node, "meter:rack3": 12 * 10**9}
    before = dump(spool.ledger)
    assert check_ledger(spool.root, spool.ledger).differences == ()
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == before


@pytest.mark.parametrize(
    "change",
    [{"domain": "meter:other"}, {"domain": "psys"}, {"counted": True}, {"component": "cpu", "boundary": "components"}],
)
def test_a_meters_file_counts_for_its_meter_alone(spool: FakeSpool, change: dict[str, object]) -> None:
    run = spool.whole_run()
    gather(spool, FakeMeter({"n1": 400.0}))
    path = run.run_dir.meter("17", 0, "n1", "rack3")
    header, *records = [json.loads(line) for line in path.read_text().splitlines()]
    header["channels"][0] |= change
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *records)))
    row = job(spool)
    assert {item.component for item in row.channels} == {"cpu", "dram"}
    (problem,) = check_ledger(spool.root, spool.ledger).problems
    assert problem.endswith("rack3.meter: holds something else than what its meter read of the node")


def test_a_meters_file_of_garbage_is_a_problem_and_no_energy(spool: FakeSpool) -> None:
    run = spool.whole_run()
    run.run_dir.meter("17", 0, "n1", "rack3").write_bytes(b"\xff\xfe\n{}\n")
    assert {item.component for item in job(spool).channels} == {"cpu", "dram"}
    assert any("no usable header" in problem for problem in check_ledger(spool.root, spool.ledger).problems)


def test_a_spool_that_cannot_be_written_loses_nothing(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    run = spool.whole_run()

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    meter = FakeMeter({"n1": 400.0})
    with monkeypatch.context() as patch:
        patch.setattr("hpcfrugal.meters.collect.write_atomic", full)
        written, pending, (trouble,) = gather(spool, meter)
    assert (written, pending) == (0, 0)
    assert "No space left on device" in trouble
    assert meter_files(run) == []
    assert gather(spool, meter) == (1, 0, ())


def test_records_of_a_job_without_those_of_a_sidecar_are_a_minute_apart() -> None:
    meter = FakeMeter({"n1": 500.0})
    part = JobOnNode("r", JobKey("17", 0), "n1", START_NS, START_NS + 150 * SECOND_NS)
    answer = meter.fetch(["n1"], START_NS - 60 * SECOND_NS, START_NS + 300 * SECOND_NS)["n1"]
    assert isinstance(answer, PowerSeries)
    lines = [json.loads(line) for line in lines_of(part, meter, curve(answer, meter.terms)).splitlines()]
    assert lines[0]["record_s"] == 60
    seconds = [(line["wall_ns"] - START_NS) / SECOND_NS for line in lines[1:]]
    assert seconds[0] == 0
    assert seconds[-1] == 150
    assert {after - before for before, after in pairwise(seconds[1:-1])} == {60}
