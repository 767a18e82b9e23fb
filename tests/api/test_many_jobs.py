"""Several jobs in one submission: a few at a time, in order, and what becomes of the others where one is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from fake_slurm import FakeSlurm, submitted
from sandbox import Sandbox

import hpcfrugal
from hpcfrugal import InputError, SetupError
from hpcfrugal.job.backend import RenderedJob, Submitted
from hpcfrugal.slurm.backend import SlurmBackend

_NUMBER = 'number=$(sed -n "s/^#SBATCH --job-name=job//p" "${@: -1}")'
"""A job's number by its name."""


@pytest.fixture
def slurm(tmp_path: Path, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm")
    box.env |= {"PATH": f"{fake.bin}:{box.env['PATH']}", "HPCFRUGAL_BACKEND": "slurm_cli"}
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HPCFRUGAL_SPOOL", "HPCFRUGAL_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in box.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(box.work)
    return fake


def files(box: Sandbox, count: int, **more: object) -> Sequence[Path]:
    return [box.job("true", f"job{number}.yaml", **more) for number in range(1, count + 1)]


def test_eight_at_a_time_and_answers_in_order(slurm: FakeSlurm, box: Sandbox, tmp_path: Path) -> None:
    # Each sbatch waits until eight of them run, and the last one answers first.
    all_run = f"until set -- {tmp_path}/*.runs; [ $# = 8 ]; do sleep 0.05; done"
    slurm.answer(
        "sbatch", then=f"{_NUMBER}; touch {tmp_path}/$number.runs; {all_run}; sleep 0.$((8 - number)); echo 10$number"
    )
    told = [json.loads(line) for line in box.ok("submit", "--json", *files(box, 8)).splitlines()]
    assert [(one["name"], one["job_id"]) for one in told] == [(f"job{number}", f"10{number}") for number in range(1, 9)]
    assert {one["cluster"] for one in told} == {"c1"}
    assert {one["job_id"] for one in submitted(box.spool)} == {f"10{number}" for number in range(1, 9)}
    assert len({path.stat().st_ino for path in box.spool.glob("2*/*/sidecar.pyz")}) == 1


def test_where_one_is_refused_no_further_one_is_begun(slurm: FakeSlurm, box: Sandbox) -> None:
    # The others of the first eight wait until the directory of the refused one is gone.
    wait = f"until [ $(ls -d {box.spool}/2*/* | wc -l) = 7 ]; do sleep 0.05; done"
    refuse = "[ $number = 2 ] && { sleep 0.2; echo 'sbatch: error: no such account' >&2; exit 1; }"
    slurm.answer("sbatch", then=f"{_NUMBER}; {refuse}; sleep 0.2; {wait}; echo 10$number")
    done = box.run("submit", *files(box, 10))
    assert done.code == 3
    begun = [1, 3, 4, 5, 6, 7, 8]
    assert [line for line in done.out.splitlines() if "Submitted" in line] == [
        f"Submitted job 10{number} on c1" for number in begun
    ]
    file = {number: box.work / f"job{number}.yaml" for number in range(1, 11)}
    submitted = ", ".join(f"{file[number]} (job 10{number})" for number in begun)
    assert done.err.splitlines() == [
        f"note: submitted: {submitted}; not submitted: {file[9]}, {file[10]}",
        f"error: {file[2]}: sbatch refused the job: no such account",
    ]
    assert len(list(box.spool.glob("2*/*"))) == 7


def test_jobs_that_wait_for_those_of_their_name_are_submitted_one_after_the_other(
    slurm: FakeSlurm, box: Sandbox, tmp_path: Path
) -> None:
    alone = f"mkdir {tmp_path}/alone || exit 1; sleep 0.05; rmdir {tmp_path}/alone"
    slurm.answer("sbatch", then=f"{_NUMBER}; {alone}; echo 10$number")
    box.ok("submit", *files(box, 4, resources={"dependency": "singleton"}))
    assert len(submitted(box.spool)) == 4


def test_from_python(slurm: FakeSlurm, box: Sandbox) -> None:
    slurm.answer("sbatch", then=f'{_NUMBER}; [ "$number" = 3 ] && exit 1; echo 10$number')
    jobs = [{"command": "true", "name": f"job{number}"} for number in (1, 2)]
    assert [job.job_id for job in hpcfrugal.submit_many(jobs)] == ["101", "102"]
    with pytest.raises(SetupError, match=r"^<python, job 2>: sbatch refused the job: ") as refused:
        hpcfrugal.submit_many([jobs[0], {"command": "true", "name": "job3"}])
    assert refused.value.__notes__ == ["submitted: <python, job 1> (job 101); not submitted: no other"]


def test_what_is_being_submitted_on_ctrl_c_gets_its_answer(slurm: FakeSlurm, box: Sandbox) -> None:
    # Each has a group of its own: a terminal sends the signal to the group of `submit`.
    alone = "[ $(cut -d ' ' -f 5 /proc/$$/stat) = $$ ] || exit 1"
    slurm.answer("sbatch", then=f"{_NUMBER}; {alone}; [ $number = 2 ] && kill -INT $PPID; sleep 0.3; echo 10$number")
    paths = files(box, 12)
    done = box.run("submit", *paths)
    assert done.code == 130
    begun = len(slurm.calls("sbatch"))
    assert 8 <= begun < 12
    submissions = ", ".join(f"{path} (job 10{number})" for number, path in enumerate(paths[:begun], 1))
    rest = ", ".join(map(str, paths[begun:]))
    assert done.err.split("\n")[-3:] == [f"note: submitted: {submissions}; not submitted: {rest}", "interrupted", ""]
    assert len(submitted(box.spool)) == begun == len(list(box.spool.glob("2*/*")))


def test_a_job_that_cannot_be_noted_is_submitted_all_the_same(slurm: FakeSlurm, box: Sandbox) -> None:
    """As where the disk is full."""
    blocked = '[ $number = 1 ] && mkdir "$(dirname "$2")/submitted.json"'
    slurm.answer("sbatch", then=f"{_NUMBER}; {blocked}; echo 10$number")
    done = box.run("submit", *files(box, 2))
    assert (done.code, [line for line in done.out.splitlines() if "Submitted" in line]) == (
        0, [f"Submitted job 10{number} on c1" for number in (1, 2)],
    )  # fmt: skip
    (warning,) = done.err.splitlines()
    assert "submitted.json cannot be written: Is a directory; `hpcfrugal status` does not find job 101" in warning


def test_jobs_that_may_be_in_the_queue_are_not_called_not_submitted(slurm: FakeSlurm, box: Sandbox) -> None:
    killed = "[ $number = 1 ] && exit 1; [ $number = 2 ] && kill -KILL $$"
    slurm.answer("sbatch", then=f"{_NUMBER}; sleep 0.2; {killed}; echo 10$number")
    with pytest.raises(SetupError, match=r"^<python, job 1>: sbatch refused the job: ") as refused:
        hpcfrugal.submit_many([{"command": "true", "name": f"job{number}"} for number in (1, 2, 3)])
    assert refused.value.__notes__ == [
        "submitted: <python, job 3> (job 103); perhaps submitted, as Slurm did not answer: <python, job 2>; not "
        "submitted: no other"
    ]
    assert len(list(box.spool.glob("2*/*"))) == 2


def test_every_mistake_of_all_jobs_before_the_first_is_submitted(slurm: FakeSlurm, box: Sandbox) -> None:
    bad = [{"command": "true"}, {"comand": "true"}, {"command": "true", "resources": {"nodes": -1}}]
    with pytest.raises(InputError) as caught:
        hpcfrugal.submit_many(bad)
    places = [problem.where for problem in caught.value.problems]
    assert places == ["<python, job 2>: comand", "<python, job 2>: command", "<python, job 3>: resources.nodes"]
    assert slurm.calls("sbatch") == []
    for given, where in (("job.yaml", "jobs: is one job"), ([None], "<python, job 1>: is a NoneType")):
        with pytest.raises(InputError, match=where):
            hpcfrugal.submit_many(cast("Any", given))
    assert hpcfrugal.submit_many([]) == []


def test_a_document_is_on_the_disk_before_it_has_its_name(
    slurm: FakeSlurm, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure leaves no document that is empty, and Slurm gets no job whose run is not written."""
    steps = list[str]()

    def note(step: str, path: str) -> None:
        name = next((name for name in ("run.json", "submitted.json") if name in path), None)
        steps.extend([] if name is None else [f"{step} {name}"])

    def fsync(descriptor: int) -> None:
        note("sync", os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        note("name", str(target))
        name(source, target)

    def submit(backend: SlurmBackend, job: RenderedJob) -> Submitted:
        steps.append("Slurm has the job")
        return send(backend, job)

    sync, name, send = os.fsync, os.replace, SlurmBackend.submit
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(SlurmBackend, "submit", submit)
    slurm.answer("sbatch", "17\n")
    hpcfrugal.submit({"command": "true"})
    assert steps == [
        "sync run.json", "name run.json", "Slurm has the job", "sync submitted.json", "name submitted.json",
    ]  # fmt: skip
