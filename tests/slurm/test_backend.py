"""The Slurm backend on answers of Slurm's commands, also odd ones; the commands are scripts of the tests."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, job_ids, sacct_row, squeue_row, submitted

from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.job.backend import SubmittedRun
from hpcfrugal.settings.config import load_config
from hpcfrugal.slurm.accounting import AccountingCheck
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.client import slurm_client
from hpcfrugal.slurm.command import NoAnswer, available
from hpcfrugal.slurm.states import Refreshed, refresh_states
from hpcfrugal.slurm.submission import SubmitJob
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.submission import Submission, prepare, submit_prepared
from hpcfrugal.submission.tracked_jobs import TrackedJob, foreign, pick, refresh, tracked_jobs


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{fake.bin}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HPCFRUGAL_SPOOL", "HPCFRUGAL_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    return fake


def states(*job_ids: str) -> dict[str, list[JobState]]:
    runs = {job_id: RunDir(f"/nowhere/20261121T100000Z-{number:08x}") for number, job_id in enumerate(job_ids)}
    found = SlurmBackend().states([SubmittedRun(run_dir.path, job_id) for job_id, run_dir in runs.items()]).runs
    return {job_id: list(found[run.run_id].states) for job_id, run in runs.items() if run.run_id in found}


def words(found: list[JobState]) -> list[tuple[str, int, str | None, str]]:
    return [(state.job_id, state.restart, state.array_task_id, state.state) for state in found]


def at(minute: int, second: int) -> datetime:
    return datetime(2026, 11, 21, 10, minute, second, tzinfo=UTC)


# Submission -------------------------------------------------------------------------------------------------------


def submit_job(tmp_path: Path, text: str = "command: 'true'\n") -> str:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    backend = SlurmBackend()
    result = submit_prepared(prepare(path, Submission(backend, load_config()), at(0, 0)), backend)
    return f"{result.job_id};{result.cluster}"


def spool(tmp_path: Path) -> Path:
    return tmp_path / ".local/share/hpcfrugal/spool"


@pytest.mark.parametrize(
    ("answer", "job"),
    [
        ("17\n", "17;c1"),
        ("17;c2\nsee the site's news\n", "17;c2"),
        ("17;clusterA\n", "17;clusterA"),
        ("site notice: be kind\n17;c2\n", "17;c2"),
        ("17", "17;c1"),
    ],
)
def test_sbatch_answers(slurm: FakeSlurm, tmp_path: Path, answer: str, job: str) -> None:
    slurm.answer("sbatch", answer, err="sbatch: info: hello\n")
    assert submit_job(tmp_path) == job
    (kept,) = submitted(spool(tmp_path))
    assert f"{kept['job_id']};{kept['cluster']}" == job


def test_sbatch_gets_the_script_and_what_fits_on_no_line(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sbatch", "17\n")
    submit_job(tmp_path, 'command: "true"\nname: "a\'; touch /tmp/pwned #"\nworkdir: "/tmp/a\\nb"\n')
    (call,) = slurm.calls("sbatch")
    (script,) = spool(tmp_path).glob("*/*/script.sbatch")
    assert call[:-2] == ["--parsable", "--chdir=/tmp/a\nb", str(script)]
    # The environment goes to the job: it is the user's own.
    assert call[-2] != "TZ=UTC"


def test_a_refused_job_leaves_nothing_behind(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sbatch", err="sbatch: error: invalid partition specified: x\nsbatch: error: more\n", code=1)
    with pytest.raises(SetupError, match=r"^sbatch refused the job: invalid partition specified: x$"):
        submit_job(tmp_path)
    assert not list(spool(tmp_path).glob("20*/*"))


def test_a_missing_sbatch_leaves_nothing_behind(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slurm.bin / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(slurm.bin))
    with pytest.raises(SetupError, match="sbatch cannot be run: No such file or directory"):
        submit_job(tmp_path)
    assert not list(spool(tmp_path).glob("20*/*"))


@pytest.mark.parametrize("answer", ["", "\n", "Submitted batch job 17\n", "17x\n", "-1\n", "１７\n"])
def test_an_answer_without_a_job_id_keeps_the_run(slurm: FakeSlurm, tmp_path: Path, answer: str) -> None:
    slurm.answer("sbatch", answer)
    with pytest.raises(NoAnswer, match="is not a job id"):
        submit_job(tmp_path)
    assert len(list(spool(tmp_path).glob("*/*/script.sbatch"))) == 1
    assert submitted(spool(tmp_path)) == []


def test_a_run_is_kept_if_sbatch_does_not_answer(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.answer("sbatch", then="exec sleep 30")
    monkeypatch.setattr(SubmitJob, "timeout_s", 0.5)
    with pytest.raises(NoAnswer, match=r"sbatch did not answer within 0.5 s"):
        submit_job(tmp_path)
    # The job may be in the queue, and then it needs these.
    assert len(list(spool(tmp_path).glob("*/*/script.sbatch"))) == 1
    assert len(list(spool(tmp_path).glob("*/*/sidecar.pyz"))) == 1


def test_a_wrapped_command_that_hangs_is_not_waited_for(slurm: FakeSlurm) -> None:
    slurm.answer("sacct", then="sleep 20")
    started = time.monotonic()
    with pytest.raises(NoAnswer):
        slurm_client().ask(AccountingCheck(), timeout_s=0.3)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "broken",
    [
        {"err": "slurm_load_ctl_conf error: Unable to contact slurm controller\n", "code": 1},
        {"out": "Configuration data\n"},
    ],
)
def test_a_job_in_the_queue_needs_no_cluster_name(slurm: FakeSlurm, tmp_path: Path, broken: dict[str, str]) -> None:
    slurm.answer("sbatch", "17\n")
    slurm.answer("scontrol", **broken)  # type: ignore[arg-type]
    assert submit_job(tmp_path) == "17;"
    with pytest.raises(SetupError, match="Slurm"):
        SlurmBackend().cluster()


# States -----------------------------------------------------------------------------------------------------------


def test_many_jobs_are_one_request(slurm: FakeSlurm) -> None:
    ids = [str(number) for number in range(1, 301)]
    slurm.sacct(*(sacct_row(job_id, "COMPLETED") for job_id in ids))
    assert len(states(*ids)) == 300
    assert [job_ids(call) for name in ("squeue", "sacct") for call in slurm.calls(name)] == [ids, ids]
    assert len(slurm.calls()) == 3  # and one for the cluster's name


def test_more_than_a_thousand_jobs_are_asked_for_in_parts(slurm: FakeSlurm) -> None:
    ids = [str(number) for number in range(1, 2002)]
    states(*ids)
    assert [len(job_ids(call)) for call in slurm.calls("sacct")] == [1000, 1000, 1]


def test_the_form_of_the_answers_is_fixed(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SQUEUE_FORMAT", "SACCT_FORMAT", "TZ", "SLURM_TIME_FORMAT", "LC_ALL"):
        monkeypatch.setenv(name, "Europe/Berlin")
    states("1")
    for name in ("squeue", "sacct"):
        (call,) = slurm.calls(name)
        assert call[-2:] == ["TZ=UTC", ""]
    (call,) = slurm.calls("squeue")
    # A job's name could hold the separator; it is not asked for.
    assert "%j" not in call[call.index("-o") + 1]
    assert "JobName" not in "".join(slurm.calls("sacct")[0])


def test_a_finished_job(slurm: FakeSlurm) -> None:
    slurm.sacct(sacct_row("17", "FAILED", code="3:0"))
    slurm.answer("squeue", err="slurm_load_jobs error: Invalid job id specified\n", code=1)
    (state,) = states("17")["17"]
    assert (state.cluster, state.job_id, state.restart, state.state, state.final) == ("c1", "17", 0, "FAILED", True)
    assert (state.exit_code, state.signal, state.shell_code) == (3, 0, 3)
    assert (state.submit_at, state.start_at, state.end_at) == (at(0, 0), at(0, 1), at(1, 1))
    assert (state.elapsed_s, state.alloc_cpus, state.nodes) == (60, 8, ("n1", "n2"))
    assert (state.partition, state.account, state.qos, state.user) == ("batch", "proj", "normal", "alice")
    assert state.array_job_id is state.array_task_id is None


@pytest.mark.parametrize(
    ("word", "code", "state", "shell"),
    [
        ("COMPLETED", "0:0", "COMPLETED", 0),
        ("CANCELLED by 1000", "0:0", "CANCELLED", None),
        ("CANCELLED by 1000", "0:15", "CANCELLED", 143),
        ("CANCELLED", "0:9", "CANCELLED", 137),
        ("TIMEOUT", "0:0", "TIMEOUT", None),
        ("OUT_OF_MEMORY", "0:125", "OUT_OF_MEMORY", 253),
        ("NODE_FAIL", "1:0", "NODE_FAIL", 1),
        ("FAILED", "0:0", "FAILED", 0),
        ("COMPLETED", "", "COMPLETED", None),
    ],
)
def test_ends(slurm: FakeSlurm, word: str, code: str, state: str, shell: int | None) -> None:
    slurm.sacct(sacct_row("17", word, code=code))
    (found,) = states("17")["17"]
    assert (found.state, found.shell_code, found.final) == (state, shell, True)


def test_a_running_job_has_no_exit_code(slurm: FakeSlurm) -> None:
    slurm.sacct(sacct_row("17", "RUNNING", end="Unknown"))
    slurm.squeue(squeue_row("17", "RUNNING"))
    (state,) = states("17")["17"]
    assert (state.state, state.final, state.exit_code, state.end_at) == ("RUNNING", False, None, None)


def test_squeue_is_newer_on_what_is_not_over(slurm: FakeSlurm) -> None:
    slurm.sacct(sacct_row("17", "PENDING", start="Unknown", end="Unknown", nodes="None assigned"))
    slurm.squeue(squeue_row("17", "RUNNING"))
    assert words(states("17")["17"]) == [("17", 0, None, "RUNNING")]


@pytest.mark.parametrize("past", ["RUNNING", None])
def test_accounting_decides_how_a_job_ended(slurm: FakeSlurm, past: str | None) -> None:
    slurm.squeue(squeue_row("17", "COMPLETED", end="2026-11-21T10:01:01"))
    slurm.sacct(*([sacct_row("17", past, end="Unknown")] if past else []))
    (state,) = states("17")["17"]
    assert (state.state, state.final) == ("COMPLETING", False)
    slurm.sacct(sacct_row("17", "CANCELLED by 1000", code="0:15"))
    (state,) = states("17")["17"]
    assert (state.state, state.final) == ("CANCELLED", True)


def test_a_waiting_job_says_why(slurm: FakeSlurm) -> None:
    slurm.squeue(squeue_row("17", "PENDING", start="2026-11-22T00:00:00", nodes="", reason="Odd|Reason"))
    (state,) = states("17")["17"]
    # Slurm's estimate of a start is not a start.
    assert (state.state, state.reason, state.start_at, state.nodes) == ("PENDING", "Odd|Reason", None, ())


def test_an_array(slurm: FakeSlurm) -> None:
    slurm.sacct(
        sacct_row("15", "PENDING", shown="15_[3-9%2]", start="Unknown", end="Unknown", nodes="None assigned"),
        sacct_row("16", "COMPLETED", shown="15_1"),
        sacct_row("17", "RUNNING", shown="15_2", end="Unknown"),
    )
    slurm.squeue(
        squeue_row("17", "RUNNING", base="15", task="2"),
        *(squeue_row("15", "PENDING", base="15", task=f"{task}", nodes="", reason="Priority") for task in range(3, 9)),
    )
    found = states("15")
    assert list(found) == ["15"]
    by_id = {state.job_id: state for state in found["15"]}
    assert len(by_id) == len(found["15"]) == 3
    assert (by_id["15"].state, by_id["15"].array_task_id, by_id["15"].final) == ("PENDING", None, False)
    assert (by_id["16"].state, by_id["16"].array_task_id, by_id["16"].array_job_id) == ("COMPLETED", "1", "15")
    assert (by_id["17"].state, by_id["17"].array_task_id) == ("RUNNING", "2")


def test_the_last_task_of_an_array_has_the_id_of_the_array(slurm: FakeSlurm) -> None:
    slurm.sacct(sacct_row("16", "COMPLETED", shown="15_0"), sacct_row("15", "FAILED", shown="15_1", code="2:0"))
    assert words(states("15")["15"]) == [("15", 0, "1", "FAILED"), ("16", 0, "0", "COMPLETED")]


def test_a_requeued_job_has_one_state_for_each_start(slurm: FakeSlurm) -> None:
    rows = [
        sacct_row("17", "REQUEUED", start="2026-11-21T10:00:01", end="2026-11-21T10:00:31"),
        sacct_row("17", "NODE_FAIL", start="2026-11-21T10:02:01", end="2026-11-21T10:03:00", code="1:0"),
        sacct_row("17", "PENDING", start="Unknown", end="Unknown", submit="2026-11-21T10:03:00", nodes="None assigned"),
    ]
    slurm.sacct(*reversed(rows))
    slurm.squeue(squeue_row("17", "PENDING", submit="2026-11-21T10:03:00", nodes="", reason="BeginTime"))
    found = states("17")["17"]
    assert words(found) == [("17", 0, None, "REQUEUED"), ("17", 1, None, "NODE_FAIL"), ("17", 2, None, "PENDING")]
    assert [state.final for state in found] == [True, True, False]
    assert found[2].reason == "BeginTime"


def test_a_requeued_job_that_accounting_does_not_know_yet(slurm: FakeSlurm) -> None:
    slurm.sacct(sacct_row("17", "REQUEUED"))
    slurm.squeue(squeue_row("17", "RUNNING"))
    assert words(states("17")["17"]) == [("17", 0, None, "REQUEUED"), ("17", 1, None, "RUNNING")]


def test_without_accounting_squeue_is_enough(slurm: FakeSlurm) -> None:
    slurm.answer("sacct", err="Slurm accounting storage is disabled\n", code=1)
    slurm.squeue(squeue_row("17", "RUNNING"), squeue_row("18", "COMPLETED", end="2026-11-21T10:01:01"))
    found = states("17", "18", "19")
    assert {job_id: words(one) for job_id, one in found.items()} == {
        "17": [("17", 0, None, "RUNNING")],
        "18": [("18", 0, None, "COMPLETED")],
    }
    assert found["18"][0].final


def test_both_failing_is_an_error_and_no_answer_about_jobs(slurm: FakeSlurm) -> None:
    slurm.answer("sacct", err="sacct: error: slurmdbd: Connection refused\n", code=1)
    slurm.answer("squeue", err="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    with pytest.raises(SetupError, match="sacct failed"):
        states("17")


def test_a_missing_command_is_an_error_with_advice(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not available()
    with pytest.raises(SetupError, match="scontrol cannot be run") as error:
        states("17")
    assert "slurm module" in str(error.value.hint)


@pytest.mark.parametrize(
    "noise", ["\n\n", "sacct: warning: something\n", "a|b|c\n", "x|" * 40 + "\n", "\x00\x1b[31m\n", "é" * 100 + "\n"]
)
def test_lines_that_are_not_rows_are_skipped(slurm: FakeSlurm, noise: str) -> None:
    slurm.answer("sacct", noise + sacct_row("17", "COMPLETED") + "\n" + noise)
    slurm.answer("squeue", noise + squeue_row("18", "RUNNING") + "\n" + noise)
    found = states("17", "18")
    assert {job_id: words(one) for job_id, one in found.items()} == {
        "17": [("17", 0, None, "COMPLETED")],
        "18": [("18", 0, None, "RUNNING")],
    }


def test_an_unreadable_node_list_gives_no_nodes(slurm: FakeSlurm) -> None:
    slurm.sacct(sacct_row("17", "COMPLETED", nodes="n[1-"), sacct_row("18", "COMPLETED", nodes="n[01-03,7],gpu1"))
    found = states("17", "18")
    assert found["17"][0].nodes == ()
    assert found["18"][0].nodes == ("n01", "n02", "n03", "n7", "gpu1")


def test_cancel(slurm: FakeSlurm) -> None:
    SlurmBackend().cancel(["17", "18"])
    assert [call[:-2] for call in slurm.calls("scancel")] == [["17", "18"]]
    over = "scancel: error: Kill job error on job id 17: Job/step already completing or completed\n"
    slurm.answer("scancel", err=over, code=1)
    SlurmBackend().cancel(["17"])
    slurm.answer("scancel", err="scancel: error: Kill job error on job id 17: Access/permission denied\n", code=1)
    with pytest.raises(SetupError, match="Access/permission denied"):
        SlurmBackend().cancel(["17"])


# Stored states -----------------------------------------------------------------------------------------------


def test_refresh_keeps_the_answers_and_asks_no_more(slurm: FakeSlurm, tmp_path: Path) -> None:
    for job_id in ("17", "18"):
        slurm.answer("sbatch", f"{job_id}\n")
        submit_job(tmp_path)
    slurm.sacct(sacct_row("17", "COMPLETED"), sacct_row("18", "RUNNING", end="Unknown"))
    before = len(slurm.calls())
    assert refresh_states(spool(tmp_path)) == Refreshed()
    assert len(slurm.calls()) - before == 3
    (kept,) = spool(tmp_path).glob("*/*/17.0.slurm.json")
    document = json.loads(kept.read_text())
    assert (document["state"], document["exit_code"]) == ("COMPLETED", 0)
    assert (document["end_at"], document["nodes"]) == ("2026-11-21T10:01:01Z", ["n1", "n2"])
    stamp = kept.stat().st_mtime_ns
    slurm.sacct(sacct_row("18", "COMPLETED"))
    refresh_states(spool(tmp_path))
    assert [sorted(job_ids(call)) for call in slurm.calls("sacct")] == [["17", "18"], ["18"]]
    # All is settled: Slurm is left alone, and what is the same is not written again.
    before = len(slurm.calls())
    refresh_states(spool(tmp_path))
    assert len(slurm.calls()) == before
    assert kept.stat().st_mtime_ns == stamp


def test_refresh_leaves_the_jobs_of_another_cluster_alone(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sbatch", "17;other\n")
    submit_job(tmp_path)
    slurm.sacct(sacct_row("17", "COMPLETED"))
    refresh_states(spool(tmp_path))
    assert slurm.calls("sacct") == []
    assert not list(spool(tmp_path).glob("*/*/*.slurm.json"))


def test_refresh_changes_nothing_where_slurm_does_not_answer(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sbatch", "17\n")
    submit_job(tmp_path)
    slurm.sacct(sacct_row("17", "RUNNING", end="Unknown"))
    refresh_states(spool(tmp_path))
    (kept,) = spool(tmp_path).glob("*/*/17.0.slurm.json")
    before = kept.read_bytes()
    slurm.answer("sacct", err="down\n", code=1)
    with pytest.raises(SetupError):
        refresh_states(spool(tmp_path))
    assert kept.read_bytes() == before


# A user's jobs ----------------------------------------------------------------------------------------------------


def tracked(tmp_path: Path) -> list[TrackedJob]:
    return tracked_jobs([spool(tmp_path)], since=None, now=datetime.now(UTC))


def test_an_id_of_another_cluster_is_not_asked_for_nor_cancelled(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sbatch", "17;elsewhere\n")
    submit_job(tmp_path)
    slurm.sacct(sacct_row("17", "COMPLETED"))  # another job, which has the same id here
    jobs = tracked(tmp_path)
    assert refresh(jobs, lambda name: SlurmBackend()) == []
    assert jobs[0].states == []
    assert not any("17" in job_ids(call) for call in slurm.calls("sacct"))
    (problem,) = foreign(jobs, SlurmBackend())
    assert "is a job of cluster elsewhere" in str(problem)


def test_a_controller_that_is_down_leaves_what_was_known(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sbatch", "17\n")
    submit_job(tmp_path)
    slurm.sacct(sacct_row("17", "RUNNING"))
    assert refresh_states(spool(tmp_path)) == Refreshed()
    slurm.answer("sacct", "", err="sacct: error: no slurmdbd\n", code=1)
    slurm.answer("squeue", "", err="down\n", code=1)
    jobs = tracked(tmp_path)
    (trouble,) = refresh(jobs, lambda name: SlurmBackend())
    assert "no slurmdbd" in trouble
    assert words(jobs[0].states) == [("17", 0, None, "RUNNING")]


def test_sbatch_does_not_wait_for_the_job(slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_WAIT", "1")
    slurm.answer("sbatch", "17\n", then='[ -z "${SBATCH_WAIT-}" ] || sleep 30', code=1)
    started = time.monotonic()
    assert submit_job(tmp_path) == "17;c1"  # a job id means that it is in the queue, whatever the exit code
    assert time.monotonic() - started < 10


def test_an_id_that_sbatch_printed_before_it_hung_counts(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.answer("sbatch", "17\n", then="exec sleep 30")
    monkeypatch.setattr(SubmitJob, "timeout_s", 0.5)
    assert submit_job(tmp_path) == "17;c1"


def test_a_run_whose_sbatch_did_not_answer_is_listed(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.answer("sbatch", then="exec sleep 30")
    monkeypatch.setattr(SubmitJob, "timeout_s", 0.5)
    with pytest.raises(NoAnswer):
        submit_job(tmp_path)
    (job,) = tracked(tmp_path)
    assert refresh([job], lambda name: SlurmBackend()) == []
    assert (job.job_id, job.over, pick([job], [job.run_dir.run_id])) == ("", False, [job])


def test_ways_to_name_a_job(slurm: FakeSlurm, tmp_path: Path) -> None:
    for job_id, name in (("17", "train"), ("18", "train"), ("695", "sweep"), ("695", "again")):
        slurm.answer("sbatch", f"{job_id}\n")
        submit_job(tmp_path, f"command: 'true'\nname: {name}\n")
    slurm.sacct(
        sacct_row("696", "FAILED", shown="695_2", code="3:0"),
        sacct_row("695", "PENDING", shown="695_[4]", start="Unknown", end="Unknown", nodes="None assigned"),
    )
    jobs = tracked(tmp_path)
    last = max((job for job in jobs if job.job_id == "695"), key=lambda job: job.run_dir.run_id)
    names = ("17", "sweep", "latest", "695", last.run_dir.run_id, last.run_dir.run_id[-8:])
    if last.run_dir.run_id[-8:].isdigit():
        names = names[:-1]
    assert [job.job_id for job in pick(jobs, names)] == ["17", "695", jobs[-1].job_id, *["695"] * (len(names) - 3)]
    with pytest.raises(InputError, match="means 2 jobs"):
        pick(jobs, ["train"])
    with pytest.raises(InputError, match="is not a job that you submitted"):
        pick(jobs, ["2026"])
    two, four = pick(jobs, ["695_2", "695_4"])
    refresh([two, four], lambda name: SlurmBackend())
    assert [(job.label, job.state, job.over) for job in (two, four)] == [
        ("695_2", "FAILED", True),
        ("695_4", "PENDING", False),
    ]


def test_components_of_a_heterogeneous_job_are_jobs_of_its_run(slurm: FakeSlurm) -> None:
    slurm.sacct(
        sacct_row("17", "FAILED", code="3:0", shown="17+0", nodes="n1"),
        sacct_row("18", "FAILED", code="3:0", shown="17+1", nodes="n[2-3]"),
    )
    slurm.squeue(squeue_row("18", "FAILED", shown="17+1"), squeue_row("19", "RUNNING", shown="17+2"))
    listed = states("17")["17"]
    assert [(state.job_id, state.het_job_id, state.state) for state in listed] == [
        ("17", "17", "FAILED"),
        ("18", "17", "FAILED"),
        ("19", "17", "RUNNING"),
    ]
    assert listed[1].nodes == ("n2", "n3")
