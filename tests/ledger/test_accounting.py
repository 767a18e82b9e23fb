"""Jobs from texts of sacct: their rows, how they meet the jobs of run directories, and what a rebuild makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from accounted import DAY_S, FIRST_S, START_S, answer, jobs, row, saved, synced, text
from fake_spool import SECOND, START_NS, FakeSpool

from hpcfrugal.core.errors import DataError
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.savings import savings
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.spool.accounting_text import AccountingQuery, accounting_dir, store_text
from hpcfrugal.spool.documents import LabelsDocument, write_document


def test_a_job_of_sacct_alone(spool: FakeSpool) -> None:
    """One hour, 8 CPUs of which 7.5 hours were used, 16 GiB: by the model of a part of a node, 6.5 W a core.

    Idle 0.12 and full load 0.99 of 52 W: 6.24 J/s and (51.48 - 6.24) W x 7.5 h / 8; memory 0.2 W/GB.
    """
    answer(spool, row(AllocTRES="cpu=8,mem=16G,node=1"))
    (job,) = synced(spool)
    assert (job.origin, job.run, job.run_id, job.label, job.restart) == ("sacct", None, "", "900", 0)
    assert (job.user, job.account, job.partition, job.state, job.final) == (
        *("alice", "physics", "batch", "COMPLETED"), True,
    )  # fmt: skip
    assert (job.started_wall_ns, job.elapsed_ns, job.elapsed_source) == (START_NS, 3600 * SECOND, "slurm")
    energy = {channel.component: channel for channel in job.channels}
    assert set(energy) == {"cpu", "dram"}
    assert energy["cpu"].energy_uj == 6_240_000 * 3600 + 45_240_000 * 27_000 // 8
    assert energy["dram"].energy_uj == (16 << 30) * 3600 * 2 // 10**4
    assert (energy["cpu"].low_uj or 0) < energy["cpu"].energy_uj < (energy["cpu"].high_uj or 0)
    assert {channel.quality for channel in job.channels} == {"modelled"}
    assert sum(bucket.energy_uj for bucket in energy["cpu"].buckets) == energy["cpu"].energy_uj
    assert (job.totals.complete, job.totals.sums.measured_uj, job.totals.gpus) == (True, None, 0)
    assert job.totals.sums.modelled_uj == sum(channel.energy_uj or 0 for channel in job.channels)


def test_energy_of_several_nodes_adds_up(spool: FakeSpool) -> None:
    """In integers, on two days."""
    whole = row("1", 0, 2 * DAY_S, NNodes="1", NodeList="n1")
    parts = row("2", 0, 2 * DAY_S, NNodes="3", NodeList="n[1-3]")
    answer(spool, whole, parts)
    one, three = synced(spool)
    assert len(three.channels) == 3 * len(one.channels)
    assert three.totals.sums.modelled_uj == one.totals.sums.modelled_uj
    assert {part.day for part in three.energy} == {(FIRST_S // DAY_S) + day for day in range(3)}
    assert sum(part.sums.modelled_uj or 0 for part in three.energy) == one.totals.sums.modelled_uj


def test_gpus_by_their_type(spool: FakeSpool) -> None:
    """Two A100 (400 W) count 0.55 of their limit; one of another type stands for any GPU, in a wide range."""
    answer(
        spool,
        row("1", AllocTRES="cpu=8,mem=16G,node=1,gres/gpu:a100=2,gres/gpu=2"),
        row("2", AllocTRES="cpu=8,mem=16G,node=1,gres/gpu=1"),
        row("3", AllocTRES=""),
    )
    two, one, unknown = synced(spool)
    (known,) = (channel for channel in two.channels if channel.component == "gpu")
    assert known.energy_uj == 2 * 220 * 3600 * 10**6
    (any_gpu,) = (channel for channel in one.channels if channel.component == "gpu")
    assert (any_gpu.high_uj or 0) / (any_gpu.energy_uj or 1) > 5
    assert (two.totals.gpus, one.totals.gpus, unknown.totals.gpus) == (2, 1, None)
    assert not unknown.totals.complete
    assert unknown.totals.unknown == (
        "n1 gpu gpu: no sidecar ran: from Slurm's accounting; whether it held GPUs is unknown",
    )


@pytest.mark.parametrize(
    ("cells", "unknown"),
    [
        ({"End": "Unknown", "State": "RUNNING"}, "the job was not over when Slurm was asked"),
        ({"AllocCPUS": "0", "AllocTRES": "mem=1G,node=1"}, "the number of its CPUs is unknown"),
        ({"ReqMem": "0", "AllocTRES": "cpu=8,node=1"}, "the memory that it held is unknown"),
    ],
)
def test_what_is_missing_is_unknown(spool: FakeSpool, cells: dict[str, str], unknown: str) -> None:
    answer(spool, row(**cells))
    (job,) = synced(spool)
    assert not job.totals.complete
    assert any(unknown in one for one in job.totals.unknown or ())


def test_a_job_of_a_whole_machine_for_two_days_has_energy(spool: FakeSpool) -> None:
    """Two million CPUs: 12.87 MW at full load, up to twice that by the range of the model."""
    answer(spool, row("1", AllocCPUS="2000000", TotalCPU="", end=2 * DAY_S))
    (job,) = synced(spool)
    cpu = next(channel for channel in job.channels if channel.component == "cpu")
    assert (cpu.energy_uj, cpu.high_uj) == (12_870_000 * 2 * DAY_S * 10**6, 2 * 12_870_000 * 2 * DAY_S * 10**6)


def test_figures_that_cannot_be_do_not_stop_the_sync(spool: FakeSpool) -> None:
    """The energy of a billion CPUs for years is no number that SQLite holds."""
    answer(spool, row("1", AllocCPUS="999999999", end=10**9), row("2"))
    wrong, right = synced(spool)
    cpu = next(channel for channel in wrong.channels if channel.component == "cpu")
    assert (cpu.energy_uj, cpu.quality) == (None, "unknown")
    assert "larger than there can be" in (cpu.reason or "")
    assert all(channel.energy_uj for channel in right.channels if channel.component == "cpu")


def test_without_cpu_time_all_cpus_count_as_busy_or_idle(spool: FakeSpool) -> None:
    answer(spool, row("1", TotalCPU="08:00:00"), row("2", TotalCPU="00:00:00"), row("3", TotalCPU="99:00:00"))
    busy, unknown, above = synced(spool)
    energies = [next(one for one in job.channels if one.component == "cpu") for job in (busy, unknown, above)]
    assert energies[0].energy_uj == energies[1].energy_uj == energies[2].energy_uj
    assert (energies[1].low_uj or 0) < (energies[0].low_uj or 0)
    assert "CPU time unknown: all taken to be busy" in (energies[1].inputs or "")


def test_jobs_that_did_not_start(spool: FakeSpool) -> None:
    none = {"NodeList": "None assigned", "AllocCPUS": "0", "AllocTRES": "", "TotalCPU": "00:00:00"}
    answer(
        spool,
        row("1", None, None, **none),
        row("2", 50, 50, State="CANCELLED by 1000", **none),
        row("3", None, 50, State="CANCELLED by 1000", Start="None", **none),
    )
    found = synced(spool)
    assert [(job.state, job.totals.not_started, job.channels) for job in found] == [
        ("PENDING", True, ()),
        ("CANCELLED", True, ()),
        ("CANCELLED", True, ()),
    ]


def test_nodes_without_names(spool: FakeSpool) -> None:
    answer(spool, row(NodeList="", NNodes="2"))
    (job,) = synced(spool)
    assert (job.nodes, job.totals.complete) == ((), True)
    assert (job.totals.sums.modelled_uj or 0) > 0


def test_a_job_over_midnight_is_in_both_days_and_counts_once(spool: FakeSpool) -> None:
    """It was running when the first day was asked for."""
    answer(spool, row("900", 0, None), row("901", None, None), asked_s=13 * 3600)
    assert [job.state for job in synced(spool)] == ["PENDING", "RUNNING"]
    later = row("901", 40_000, 90_000) | {"Submit": row("901", None, None)["Submit"]}
    answer(spool, row("900", 0, 80_000), later, day=1)
    found = synced(spool)
    assert [(job.job_id, job.state, job.elapsed_ns) for job in found] == [
        ("900", "COMPLETED", 80_000 * SECOND),
        ("901", "COMPLETED", 50_000 * SECOND),
    ]
    assert all(job.totals.complete for job in found)


def test_restarts_of_a_requeued_job_are_numbered_over_all_texts(spool: FakeSpool) -> None:
    second = row("900", 90_000, 91_000) | {"Submit": str(START_S + 1000)}
    answer(spool, second, day=1)
    assert [job.restart for job in synced(spool)] == [0]
    answer(spool, row("900", 0, 1000, State="NODE_FAIL"), second)
    assert [(job.restart, job.state) for job in synced(spool)] == [(0, "NODE_FAIL"), (1, "COMPLETED")]


def test_a_number_that_was_used_before_is_another_job(spool: FakeSpool) -> None:
    answer(spool, row("900", 0, 1000), row("900", 30 * DAY_S, 30 * DAY_S + 1000))
    assert [job.restart for job in synced(spool)] == [0, 0]


@pytest.mark.parametrize("own_start", [True, False])
def test_a_resized_job_is_one_with_the_energy_of_both_sizes(spool: FakeSpool, own_start: bool) -> None:
    """Slurm gives the second row the time of the change as that of its submission, and the job's start or its own."""
    first = row("1", 0, 1800, State="RESIZING", TotalCPU="04:00:00", NodeList="n[1-2]")
    rest = row("1", 1800 if own_start else 0, 3600, AllocCPUS="4", TotalCPU="02:00:00", AllocTRES="cpu=4,mem=8G,node=1")
    rest |= {"Submit": str(START_S + 1800)}
    answer(spool, first, rest, row("2", 0, 1800, TotalCPU="04:00:00"), row("3", 1800, 3600, **{
        name: rest[name] for name in ("AllocCPUS", "TotalCPU", "AllocTRES")
    }))  # fmt: skip
    resized, *alone = synced(spool)
    assert (resized.job_id, resized.restart, resized.nodes) == ("1", 0, ("n1", "n2"))
    assert (resized.elapsed_ns, resized.alloc_cpus) == (3600 * SECOND, 4)
    assert resized.totals.sums.modelled_uj == sum(job.totals.sums.modelled_uj or 0 for job in alone)


@pytest.mark.parametrize("order", ["spool first", "sacct first"])
def test_a_job_that_is_in_both_is_one_job_with_the_energy_of_its_sidecar(spool: FakeSpool, order: str) -> None:
    if order == "sacct first":
        answer(spool, row("17", 0, 60, QOS="long"))
        assert [job.origin for job in synced(spool)] == ["sacct"]
    run = spool.whole_run()
    run.slurm(submit_wall_s=START_S - 100, qos=None, alloc_cpus=None)
    (alone,) = synced(spool)[-1:]
    if order == "spool first":
        answer(spool, row("17", 0, 60, QOS="long"))
    (job,) = synced(spool)
    assert (job.origin, job.run_id) == ("spool", run.run_id)
    assert job.totals.sums.measured_uj == alone.totals.sums.measured_uj
    assert (job.qos, job.alloc_cpus) == ("long", 8)


@pytest.mark.parametrize("order", ["numbers first", "numbers last"])
def test_a_task_of_an_array_counts_once_where_a_text_lacks_its_number(spool: FakeSpool, order: str) -> None:
    """Without JobIDRaw a task is called as Slurm shows it. The last task of an array has the number of the array."""
    whole = [row("127", 0, 60, JobID="123_4"), row("123", 0, 90, JobID="123_5")]
    texts = [text(*whole), text(*whole, without="JobIDRaw")]
    for asked_s, one in enumerate(texts if order == "numbers first" else reversed(texts)):
        saved(spool, one, asked_s)
        found = synced(spool)
    assert [(job.job_id, job.label) for job in found] == [("123", "123_5"), ("127", "123_4")]
    assert [job.elapsed_ns for job in found] == [90 * SECOND, 60 * SECOND]


def test_a_later_answer_of_slurm_about_the_job_of_a_run_counts(spool: FakeSpool) -> None:
    """Of a run without an end of its own, such as that of a node that was lost."""
    run = spool.run("17")
    run.samples([run.header("17"), *run.records([100.0, 10.0], 60)], "17")
    answer(spool, row("17", end=1800, State="NODE_FAIL"), asked_s=DAY_S)
    (job,) = synced(spool)
    assert (job.state, job.ended_wall_ns, job.partition) == ("NODE_FAIL", START_NS + 1800 * SECOND, "batch")
    later = row("17", end=2400, State="COMPLETED", Partition="long")
    answer(spool, later, day=1, asked_s=2 * DAY_S)
    (job,) = synced(spool)
    assert (job.state, job.ended_wall_ns, job.elapsed_ns, job.partition) == (
        *("COMPLETED", START_NS + 2400 * SECOND, 2400 * SECOND), "long",
    )  # fmt: skip


def test_a_job_that_slurms_accounting_has_no_more_is_what_its_run_has(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header("17"), *run.records([100.0, 10.0], 60)], "17")
    path = answer(spool, row("17"))
    (job,) = synced(spool)
    assert (job.state, job.account) == ("COMPLETED", "physics")
    path.write_text(text(row("18")))
    run_job = next(job for job in synced(spool) if job.job_id == "17")
    assert (run_job.state, run_job.account, run_job.nodes) == (None, None, ("n1",))


def test_a_task_of_an_array_without_a_number_is_that_of_its_run(spool: FakeSpool) -> None:
    run = spool.whole_run("127")
    run.slurm(job_id="127", array_job_id="123", array_task_id="4", submit_wall_s=START_S - 100, qos=None)
    rows = [row(start=0, end=60, JobID="123_4", QOS="long"), row(start=0, end=60, JobID="123_5")]
    saved(spool, text(*rows, without="JobIDRaw"))
    own, other = sorted(synced(spool), key=lambda job: job.origin, reverse=True)
    assert (own.origin, own.job_id, own.label, own.qos) == ("spool", "127", "123_4", "long")
    assert (other.origin, other.job_id, other.label) == ("sacct", "123_5", "123_5")


def test_a_task_without_a_number_is_not_that_of_an_array_years_ago(spool: FakeSpool) -> None:
    """Slurm begins again with the lowest number at some time."""
    rows = [row("127", 0, 60, JobID="123_4"), row("955", 400 * DAY_S, 400 * DAY_S + 60, JobID="123_4")]
    saved(spool, text(*rows))
    saved(spool, text(*rows, without="JobIDRaw"), 1)
    assert [job.job_id for job in synced(spool)] == ["127", "955"]


@pytest.mark.parametrize("order", ["forgotten later", "forgotten before"])
def test_a_job_of_a_forgotten_run_does_not_come_back_from_accounting(spool: FakeSpool, order: str) -> None:
    """Nor does another restart of it, of which the run knows nothing; a job of the same number years later is another
    one, and so is one of another cluster. Undone, all is as before."""
    run = spool.whole_run()
    if order == "forgotten before":
        write_document(run.run_dir.labels_json, LabelsDocument(forgotten=True))
    own = [row("17", 0, 60, Submit=str(START_S - 9)), row("17", 100, 160, Submit=str(START_S + 60))]
    answer(spool, *own, row("17", 400 * DAY_S, 400 * DAY_S + 60), row("17", 0, 60, Cluster="other"))
    before = synced(spool)
    if order == "forgotten later":
        assert [(job.origin, job.restart) for job in before if job.run or job.restart] == [("spool", 0), ("sacct", 1)]
        write_document(run.run_dir.labels_json, LabelsDocument(forgotten=True))
    left = [(job.origin, job.cluster, job.submitted_wall_ns) for job in synced(spool)]
    assert left == [
        ("sacct", "other", START_NS - 100 * SECOND),
        ("sacct", "lab", (START_S + 400 * DAY_S - 100) * SECOND),
    ]
    write_document(run.run_dir.labels_json, LabelsDocument())
    after = synced(spool)
    assert sorted((job.origin, job.restart) for job in after) == [("sacct", 0)] * 2 + [("sacct", 1), ("spool", 0)]


def test_a_task_of_a_forgotten_array_does_not_come_back_from_accounting(spool: FakeSpool) -> None:
    """Whether or not the text has its number."""
    run = spool.whole_run("127")
    run.slurm(job_id="127", array_job_id="123", array_task_id="4")
    rows = [row("127", 0, 60, JobID="123_4"), row("955", 0, 60, JobID="955")]
    saved(spool, text(*rows))
    saved(spool, text(*rows, without="JobIDRaw"), 1)
    assert [job.origin for job in synced(spool)] == ["spool", "sacct"]
    write_document(run.run_dir.labels_json, LabelsDocument(forgotten=True))
    assert [job.job_id for job in synced(spool)] == ["955"]


def test_a_job_of_another_cluster_or_time_is_another_job(spool: FakeSpool) -> None:
    run = spool.whole_run()
    run.slurm(submit_wall_s=START_S - 100)
    answer(spool, row("17", 0, 60, Cluster="other"), row("17", 40 * DAY_S, 40 * DAY_S + 60))
    assert sorted((job.origin, job.cluster) for job in synced(spool)) == [
        ("sacct", "lab"), ("sacct", "other"), ("spool", "lab"),
    ]  # fmt: skip


def test_what_slurm_knows_of_the_end_of_a_job_that_has_not_recorded_it(spool: FakeSpool) -> None:
    run = spool.whole_run()
    run.run_dir.end_json("17", 0).unlink()
    run.slurm(state="RUNNING", end_s=None, submit_wall_s=START_S - 100)
    answer(spool, row("17", 0, 60, State="TIMEOUT"))
    (job,) = synced(spool)
    assert (job.origin, job.state, job.final, job.elapsed_ns) == ("spool", "TIMEOUT", True, 60 * SECOND)


def test_a_newer_answer_takes_the_place_of_an_older_one_that_has_no_other_job(spool: FakeSpool) -> None:
    """As when Slurm's database was purged in between: then both stay."""
    answer(spool, row("1"), row("2"), asked_s=50_000)
    answer(spool, row("1"), row("2"), row("3"), asked_s=60_000)
    assert [job.job_id for job in synced(spool)] == ["1", "2", "3"]
    assert len(list(accounting_dir(spool.root).glob("*/*.sacct"))) == 1
    answer(spool, row("3"), asked_s=70_000)
    assert [job.job_id for job in synced(spool)] == ["1", "2", "3"]
    assert len(list(accounting_dir(spool.root).glob("*/*.sacct"))) == 2


def test_what_could_not_be_read_is_kept_with_its_line(spool: FakeSpool) -> None:
    answer(spool, row("1"), row("2", State="???"), row("3", MaxRSS="much"))
    assert [job.job_id for job in synced(spool)] == ["1", "3"]
    with open_ledger(spool.ledger) as connection:
        rows = [tuple(each) for each in connection.execute("SELECT line, column_name, reason FROM set_aside")]
    assert rows == [
        (3, None, "State: '???' is not a state of a job"),
        (4, "MaxRSS", "'much' is not an amount of memory such as 4000M, 16Gn or 2Gc"),
    ]
    (problem,) = check_ledger(spool.root, spool.ledger).problems
    assert problem.endswith("could not be read: 2; the first is in line 3: State: '???' is not a state of a job")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "does not begin with what was asked, as JSON"),
        (b"JobID|State\n", "does not begin with what was asked, as JSON"),
        (b'{"schema": 9}\n', "does not begin with what was asked, as JSON with schema 1"),
        (b'{"schema": 1}\n', "is not valid"),
        (b'{"schema": 1, "cluster": "c", "asked_wall_ns": 1795000000000000000, "users": ""}\nhi\n', "has no header"),
        (
            b'{"schema":1,"cluster":"c","asked_wall_ns":1795000000000000000,"users":"","timezone":"Mars"}\nhi\n',
            "is not valid: 'Mars' is not a time zone",
        ),
    ],
)
def test_a_damaged_text_does_not_count(spool: FakeSpool, content: bytes, why: str) -> None:
    answer(spool, row("1"))
    path = answer(spool, row("2"), day=1)
    sync(spool.root, spool.ledger)
    path.write_bytes(content)
    results = [sync(spool.root, spool.ledger) for _ in range(2)]
    assert [(one.problem_files, one.new_problem_files) for one in results] == [(1, 1), (1, 0)]
    assert [job.job_id for job in synced(spool)] == ["1"]
    (problem,) = check_ledger(spool.root, spool.ledger).problems
    assert problem.startswith(f"accounting/{path.parent.name}/{path.name}: {why}")


def test_texts_that_vanish_go_on_to_count_and_a_rebuild_does_not_lose_them_by_surprise(spool: FakeSpool) -> None:
    path = answer(spool, row("1"))
    sync(spool.root, spool.ledger)
    path.unlink()
    assert sync(spool.root, spool.ledger).vanished_files == (f"accounting/{path.parent.name}/{path.name}",)
    assert [job.job_id for job in jobs(spool)] == ["1"]
    with pytest.raises(DataError, match="files of runs that are there: 1"):
        rebuild(spool.root, spool.ledger)
    rebuild(spool.root, spool.ledger, drop_vanished=True)
    assert jobs(spool) == []


def test_jobs_of_sacct_have_no_savings(spool: FakeSpool) -> None:
    answer(spool, row("1"))
    (job,) = synced(spool)
    with open_ledger(spool.ledger) as connection:
        assert savings(connection, [job], Defaults("FR")) == []


def test_links_and_other_entries_are_skipped_with_the_reason(spool: FakeSpool, tmp_path: Path) -> None:
    path = answer(spool, row("1"))
    (path.parent / "link.sacct").symlink_to(path)
    (path.parent / "notes.txt").write_text("x")
    (accounting_dir(spool.root) / "other").mkdir()
    result = sync(spool.root, spool.ledger)
    assert sorted(line.partition(": ")[2] for line in result.skipped) == [
        "not a folder of texts of sacct", "not a text of sacct", "not a text of sacct",
    ]  # fmt: skip
    assert [job.job_id for job in jobs(spool)] == ["1"]


def test_the_same_saved_text_is_kept_once(spool: FakeSpool) -> None:
    query = AccountingQuery("lab", START_NS, "", timezone="Europe/Berlin", title="november.txt")
    data = text(row("1")).encode()
    assert store_text(spool.root, query, data) == store_text(spool.root, query, data)
    (path,) = accounting_dir(spool.root).glob("imported/*.sacct")
    assert json.loads(path.read_text().partition("\n")[0])["title"] == "november.txt"
    assert [job.job_id for job in synced(spool)] == ["1"]
