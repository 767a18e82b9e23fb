"""squeue's lines as jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hpcfrugal.queues.snapshot import QueuedJob, queued_jobs
from hpcfrugal.slurm.command import Result
from hpcfrugal.slurm.queue import QueueSnapshot

SEPARATOR = "\x1f0123\x1f"
COMMENT = "hpcfrugal:queue=green;latest=1795300000"


def line(**cells: str) -> str:
    known = {
        "job_id": "17", "user": "alice", "state": "PENDING", "nodes": "2", "cpus": "16", "limit": "1:30:00",
        "submit": "2026-11-21T09:00:00", "eligible": "2026-11-21T10:00:00", "end": "2026-11-21T11:30:00",
        "reason": "BeginTime", "priority": "4294901747", "het": "N/A", "array_id": "17", "array": "N/A",
        "partition": "batch", "qos": "normal", "name": "train",
        "comment": COMMENT,
    }  # fmt: skip
    return SEPARATOR.join((known | cells).values()) + SEPARATOR


def jobs_of(text: str) -> list[QueuedJob]:
    rows = QueueSnapshot(separator=SEPARATOR).answer(Result("squeue", 0, text, ""))
    return queued_jobs(rows)


def test_a_waiting_job() -> None:
    (job,) = jobs_of(line(name="a|b'; rm -rf ~ #", comment=f"my words {COMMENT}") + "\n")
    assert (job.job_id, job.user, job.name, job.nodes, job.cpus) == ("17", "alice", "a|b'; rm -rf ~ #", 2, 16)
    assert (job.limit, job.waits, job.held) == (timedelta(minutes=90), True, False)
    assert job.begin_at == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert job.end_at is None
    assert job.comment.queue == "green"
    assert job.comment_text == f"my words {COMMENT}"


def test_a_heterogeneous_job_has_the_nodes_of_all_its_components() -> None:
    first = line(het="17")
    # Slurm gives a changed comment to all components.
    second = line(job_id="18", array_id="18", het="17", nodes="3", cpus="24", limit="2:00:00")
    third = line(job_id="19", array_id="19", het="17", nodes="1", cpus="1", comment="")
    other = line(job_id="20", array_id="20")
    for text in (f"{first}\n{second}\n{third}\n{other}", f"{third}\n{second}\n{first}\n{other}"):
        job, alone = jobs_of(text)
        assert (job.job_id, job.nodes, job.cpus, job.limit) == ("17", 6, 41, timedelta(hours=2))
        assert (alone.job_id, alone.nodes) == ("20", 2)


def test_a_running_job() -> None:
    (job,) = jobs_of(line(state="RUNNING", reason="None"))
    assert (job.waits, job.begin_at, job.end_at) == (False, None, datetime(2026, 11, 21, 11, 30, tzinfo=UTC))
    assert (job.array_id, job.partition, job.qos) == ("17", "batch", "normal")
    assert (job.held, job.throttled, job.blocked, job.movable) == (False, False, False, False)


@pytest.mark.parametrize(
    ("array", "nodes", "hours"),
    [
        ("1-5%2", 4, 4.5),
        ("0-9", 20, 1.5),
        ("1,3,5-7", 10, 1.5),
        ("0-8:2%5", 10, 1.5),
        ("4", 2, 1.5),
        ("1-[x", 2, 1.5),
        ("1,3,5,...", 6, 1.5),
        ("1-4,7...%2", 4, 4.5),
    ],
)
def test_an_array_is_all_its_tasks(array: str, nodes: int, hours: float) -> None:
    (job,) = jobs_of(line(array=array))
    assert (job.nodes, job.limit) == (nodes, timedelta(hours=hours))


@pytest.mark.parametrize(
    ("reason", "priority"),
    [
        ("JobHeldUser", "0"), ("JobHeldAdmin", "0"), ("launch failed requeued held", "0"),
        ("Dependency", "4294901747"), ("PartitionNodeLimit", "4294901747"), ("BadConstraints", "4294901747"),
    ],
)  # fmt: skip
def test_held_jobs(reason: str, priority: str) -> None:
    (job,) = jobs_of(line(reason=reason, priority=priority))
    assert job.held
    assert not job.movable


@pytest.mark.parametrize("reason", ["BeginTime", "Priority", "Resources", "None", "(null)", ""])
def test_free_to_start(reason: str) -> None:
    (job,) = jobs_of(line(reason=reason))
    assert (job.movable, job.blocked, job.throttled) == (True, False, False)


@pytest.mark.parametrize(
    "reason",
    [
        "QOSMaxNodePerUserLimit", "AssocGrpCpuLimit", "AssociationJobLimit", "Licenses", "Reservation",
        "PartitionDown", "ReqNodeNotAvail, UnavailableNodes:n1", "MaxJobsPerAccount", "AReasonOfTheFuture",
    ],
)  # fmt: skip
def test_jobs_that_slurm_does_not_start(reason: str) -> None:
    (job,) = jobs_of(line(reason=reason))
    assert (job.movable, job.blocked) == (True, True)


def test_the_rest_of_an_array_that_runs() -> None:
    (job,) = jobs_of(line(reason="JobArrayTaskLimit", array_id="10", array="3-100%2"))
    assert (job.throttled, job.held, job.movable) == (True, False, False)
    assert (job.array_id, job.at_once, job.nodes, job.limit) == ("10", 2, 4, timedelta(hours=49 * 1.5))


def test_a_line_before_the_first_row() -> None:
    rows = f"CLUSTER: c1\n{line()}\n{line(job_id='18')}\n"
    assert [job.job_id for job in jobs_of(rows)] == ["17", "18"]


@pytest.mark.parametrize(
    "cells",
    [{"comment": "(null)"}, {"comment": f"{COMMENT}x:"}, {"job_id": "x"}, {"nodes": ""}, {"state": "FAILED"}],
)
def test_rows_that_are_left_out(cells: dict[str, str]) -> None:
    assert jobs_of(f"{line(**cells)}\n") == []
    assert [job.job_id for job in jobs_of(f"{line(**cells)}\n{line(job_id='18')}\n")] == ["18"]


@pytest.mark.parametrize("text", ["", "\n", "slurm is busy\n", line()[:-9]])
def test_no_rows(text: str) -> None:
    assert jobs_of(text) == []


@pytest.mark.parametrize("key", ["name", "comment"])
def test_a_name_cannot_forge_rows_of_other_users(key: str) -> None:
    # squeue writes line breaks in names as they are, and all but what stands between the values can be guessed.
    forged = "x\n" + line(job_id="99", user="bob").replace(SEPARATOR, "\x1f") + "\ny"
    rows = line(**{"job_id": "16", key: forged}) + "\n" + line() + "\n"
    jobs = jobs_of(rows)
    assert "17" in [job.job_id for job in jobs]
    assert {job.user for job in jobs} == {"alice"}
    assert "99" not in [job.job_id for job in jobs]


def test_a_limit_beyond_the_calendar() -> None:
    (job,) = jobs_of(line(array="1-4000000%1", limit="3000-00:00:00"))
    assert job.limit == pytest.approx(timedelta(days=366), abs=timedelta(minutes=1))


def test_without_limit_or_times() -> None:
    (job,) = jobs_of(line(limit="UNLIMITED", submit="N/A", eligible="N/A", nodes="2-4", cpus="2-4"))
    assert (job.limit, job.submit_at, job.begin_at, job.nodes) == (None, None, None, 2)


def test_a_limit_that_slurm_rounded_up() -> None:
    (job,) = jobs_of(line(state="RUNNING", limit="1:00", comment=f"{COMMENT};limit=20"))
    assert (job.limit, job.end_at) == (timedelta(seconds=20), datetime(2026, 11, 21, 11, 29, 20, tzinfo=UTC))


@pytest.mark.parametrize(("limit", "told"), [("20:00:00", "1"), ("2:00", "60"), ("1:00", "61")])
def test_a_limit_that_slurm_does_not_know_of(limit: str, told: str) -> None:
    (job,) = jobs_of(line(state="RUNNING", limit=limit, comment=f"{COMMENT};limit={told}"))
    assert job.end_at == datetime(2026, 11, 21, 11, 30, tzinfo=UTC)
    assert job.limit is not None
    assert job.limit >= timedelta(minutes=1)
    assert job.limit % timedelta(minutes=1) == timedelta()
