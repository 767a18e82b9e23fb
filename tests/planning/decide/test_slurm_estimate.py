"""What Slurm says of a job before it is submitted."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fake_slurm import FakeSlurm

from hpcfrugal.core.errors import ForecastError
from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.sbatch_flags import sbatch_flags
from hpcfrugal.planning.decide import job_plan
from hpcfrugal.planning.decide.slurm_estimate import SlurmEstimate, SlurmQueries
from hpcfrugal.planning.decide.time_budget import TIMEOUT_S, BudgetSpent, TimeBudget
from hpcfrugal.settings.config import Config
from hpcfrugal.slurm.client import PendingAnswer, Request
from hpcfrugal.slurm.cluster import ReleaseRequest
from hpcfrugal.slurm.command import Result

T = TypeVar("T")
NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
WILL_RUN = "sbatch: Job 17 to start at 2026-11-21T{} using 8 processors on nodes n[1-2] in partition batch\n"
PARTITION = "PartitionName={} Default={} DefaultTime={} MaxTime={} State=UP\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{fake.bin}{os.pathsep}{os.environ['PATH']}")
    fake.answer("sbatch", err=WILL_RUN.format("09:00:00"))
    return fake


def ask(folder: Path, **more: Any) -> SlurmEstimate:
    spec = job_from_mapping({"command": "true", **more})
    return SlurmQueries(spec, sbatch_flags(spec), NOW, folder).answers()


def rows(wait: timedelta, count: int, nodes: int = 1, partition: str = "batch") -> list[str]:
    start = datetime(2026, 11, 20, 6, 0) + wait
    return [f"{partition}|{nodes}|2026-11-20T06:00:00|2026-11-20T06:00:00|{start.isoformat()}"] * count


def test_the_options_of_the_test_submission(slurm: FakeSlurm, tmp_path: Path) -> None:
    schedule = {"max_delay": "1h", "earliest": "2026-11-22T00:00Z"}
    resources = {"time": "1:00:00", "partition": "batch", "dependency": "singleton", "array": "0-3", "nodes": 2}
    found = ask(tmp_path, schedule=schedule, resources=resources, name="a'; rm -rf ~ #", output="x", error="y")
    (call,) = slurm.calls("sbatch")
    assert call[:-2] == [
        "--test-only", "--job-name=a'; rm -rf ~ #", "--nodes=2", "--time=01:00:00", "--partition=batch", "--wrap=:",
    ]  # fmt: skip
    assert (found.limit, found.limit_source) == (HOUR, "time limit")
    assert (found.wait_now, found.wait.expected, found.wait.most) == (HOUR / 2, HOUR / 2, HOUR / 2)
    assert (found.wait.source, found.notes) == ("sbatch --test-only", ())
    assert slurm.calls("scontrol") == []


def test_a_start_in_the_past_is_a_wait_of_0(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sbatch", err=WILL_RUN.format("08:29:59"))
    assert ask(tmp_path).wait_now == timedelta()


def test_waits_of_jobs_of_its_size_in_its_partition(slurm: FakeSlurm, tmp_path: Path) -> None:
    small = [*rows(HOUR, 10), *rows(2 * HOUR, 10)]
    slurm.sacct(*small, *rows(9 * HOUR, 30, nodes=16), *rows(7 * HOUR, 50, partition="gpu"))
    found = ask(tmp_path)
    assert (found.wait_now, found.wait.expected, found.wait.most) == (HOUR / 2, HOUR, 2 * HOUR)
    assert found.wait.source == "accounting, 20 jobs of the same partition and size"
    assert found.notes == ("Slurm expects a wait of 00:30:00 now; similar jobs waited 01:00:00",)
    found = ask(tmp_path / "other", resources={"nodes": 16})
    assert found.wait.expected == 9 * HOUR
    slurm.answer("sbatch", err="sbatch: error: no\n", code=1)
    found = ask(tmp_path / "third", resources={"partition": "gpu"})
    assert (found.wait_now, found.wait.expected) == (7 * HOUR, 7 * HOUR), "without Slurm's word, what is usual"
    assert found.notes == ("expected start unknown: sbatch --test-only: no",)


@pytest.mark.parametrize(
    ("reasons", "code", "wait"),
    [
        ("Priority\nBeginTime\n", 0, HOUR / 10),
        ("Priority\nResources\n", 0, HOUR / 2),
        ("", 0, HOUR / 2),
        ("BeginTime\n", 1, HOUR / 2),
    ],
)
def test_delayed_jobs_do_not_lengthen_the_wait_now(
    slurm: FakeSlurm, tmp_path: Path, reasons: str, code: int, wait: timedelta
) -> None:
    slurm.sacct(*rows(timedelta(), 15), *rows(HOUR / 10, 5))
    slurm.answer("squeue", reasons, code=code)
    found = ask(tmp_path)
    assert found.wait_now == wait
    assert any("delayed until later" in note for note in found.notes) is (wait < HOUR / 2)
    assert slurm.calls("squeue")[0][:-2] == [
        "--noheader", "--states=PENDING", "--format=%r", "--partition=batch",
    ]  # fmt: skip


def test_pending_reasons_are_not_asked_for_without_need(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.sacct(*rows(HOUR, 20))
    assert ask(tmp_path).wait_now == HOUR / 2
    assert slurm.calls("squeue") == []


@pytest.mark.parametrize(
    ("partitions", "resources", "limit"),
    [
        (PARTITION.format("batch", "YES", "00:30:00", "1-00:00:00"), {}, HOUR / 2),
        (PARTITION.format("batch", "YES", "NONE", "1-00:00:00"), {}, 24 * HOUR),
        (PARTITION.format("batch", "YES", "NONE", "UNLIMITED"), {}, None),
        (PARTITION.format("batch", "NO", "00:30:00", "NONE"), {}, None),
        (PARTITION.format("gpu", "NO", "00:30:00", "NONE"), {"partition": "gpu"}, HOUR / 2),
        ("", {"partition": "batch,gpu"}, None),
    ],
)
def test_the_limit_of_a_partition(
    slurm: FakeSlurm, tmp_path: Path, partitions: str, resources: dict[str, str], limit: timedelta | None
) -> None:
    slurm.answer("scontrol", partitions)
    found = ask(tmp_path, resources=resources)
    assert found.limit == limit
    assert found.limit_source == "time limit of the partition"
    (call,) = slurm.calls("scontrol")
    assert call[:-2] == ["show", "partition", *resources.values(), "--oneliner"]


def test_nothing_is_known_without_an_answer(slurm: FakeSlurm, tmp_path: Path) -> None:
    for name in ("sbatch", "sacct", "scontrol"):
        slurm.answer(name, err=f"{name}: error: Unable to contact slurm controller\n", code=1)
    found = ask(tmp_path)
    assert found.wait_now is found.wait.expected is found.wait.most is found.wait.source is found.limit is None
    assert len(found.notes) == 2


@pytest.mark.slow
def test_a_program_that_hangs_is_waited_for_once(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.sacct(*rows(HOUR, 20))
    slurm.answer("sbatch", then="sleep 20")
    spec = job_from_mapping({"command": "true", "resources": {"partition": "batch"}})
    time_budget = TimeBudget()
    begun = time.monotonic()
    first, *others = [SlurmQueries(spec, (), NOW, tmp_path, time_budget).answers() for _ in range(5)]
    assert time.monotonic() - begun < 2 * TIMEOUT_S
    assert len(slurm.calls("sbatch")) == 1
    assert first.notes == ("expected start unknown: sbatch did not answer within 2.5 s",)
    for one in others:
        assert one.notes == ("expected start unknown: sbatch took too long before; not run again",)
        # What others know is known all the same.
        assert one.wait_now == one.wait.expected == HOUR
    assert len(slurm.calls("scontrol")) == 5


@pytest.mark.slow
def test_sacct_that_hangs_is_asked_once_of_all_partitions(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sacct", then="sleep 20")
    time_budget = TimeBudget()
    specs = [job_from_mapping({"command": "true", "resources": {"partition": name}}) for name in ("a", "b", "c")]
    found = [SlurmQueries(spec, (), NOW, tmp_path, time_budget).answers() for spec in specs]
    assert len(slurm.calls("sacct")) == 1
    assert "sacct took too long before" in found[2].notes[0]
    assert found[2].wait_now == HOUR / 2


class Slow:
    """A client that takes its time."""

    def __init__(self) -> None:
        self.limits_s: list[float | None] = []

    def start(self, request: Request[T]) -> PendingAnswer[T]:
        raise NotImplementedError

    def ask(self, request: Request[T], timeout_s: float | None = None) -> T:
        self.limits_s.append(timeout_s)
        time.sleep(0.6)
        return request.answer(Result("sbatch", 0, "slurm 22.05", ""))


@pytest.mark.slow
def test_slow_answers_are_waited_for_no_longer_than_one_that_does_not_come() -> None:
    client = Slow()
    time_budget = TimeBudget(client=client)
    spent = 0
    for _ in range(20):
        try:
            assert time_budget.ask(ReleaseRequest()) == "slurm 22.05"
        except BudgetSpent:
            spent += 1
    assert (len(client.limits_s), spent) == (4, 16)
    assert client.limits_s == sorted(client.limits_s, reverse=True)
    assert time_budget.left_s("sacct") == TIMEOUT_S, "another command is another matter"


def test_reasons_of_pending_jobs_get_a_second(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, float | None] = {}
    real = TimeBudget.ask

    def ask_within(budget: TimeBudget, request: Request[T], most_s: float | None = None) -> T:
        limits[type(request).__name__] = most_s
        return real(budget, request, most_s)

    monkeypatch.setattr(TimeBudget, "ask", ask_within)
    slurm.sacct(*rows(timedelta(), 15), *rows(HOUR / 10, 5))
    ask(tmp_path)
    assert limits == {"StartTest": None, "StartedJobs": None, "PendingReasons": 1.0, "PartitionsRequest": None}


@pytest.mark.parametrize(("more", "days"), [({}, 14), ({"schedule": {"max_delay": "20d"}}, 14)])
def test_forecasts_are_fetched_for_two_weeks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], days: int
) -> None:
    spans: list[tuple[datetime, datetime]] = []

    def fetched(_config: Config, _zone: str, _signal: str, start: datetime, end: datetime, **_: Any) -> Any:
        spans.append((start, end))
        raise ForecastError("none")

    monkeypatch.setattr(job_plan, "get_forecast", fetched)
    config = Config(ledger=tmp_path / "none.db", spool=tmp_path)
    plan = job_plan.plan_job(job_from_mapping({"command": "true", **more}), config, now=NOW, where="x", slurm=False)
    assert plan.action == "start-now"
    assert spans == [(NOW - timedelta(days=1), NOW + timedelta(days=days))]
