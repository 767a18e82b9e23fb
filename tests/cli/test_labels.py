"""`run --name --tag`, `tag` and `forget`."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sandbox import Sandbox, wait_until

from hpcfrugal.core.lock import take_lock
from hpcfrugal.spool.documents import LabelsDocument, write_document

HOSTILE = "a'; rm -rf ~ # <b>\x1b[31m"


def only_run(box: Sandbox) -> Path:
    (run_dir,) = box.spool.glob("2*/*")
    return run_dir


def spec(box: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((only_run(box) / "run.json").read_text())["spec"]
    return found


def labels(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_dir / "labels.json").read_text())
    return found


def test_a_run_is_named_and_tagged(box: Sandbox) -> None:
    result = box.run("run", "--name", "baseline", "--tag", "project=climate", "--tag", "note=a=b", "--", "true")
    assert result.code == 0
    assert "baseline" in result.err
    assert spec(box) == {"name": "baseline", "command": "true", "tags": {"project": "climate", "note": "a=b"}}


def test_a_run_keeps_the_name_of_its_program(box: Sandbox) -> None:
    assert box.run("run", "--tag", f"note={HOSTILE}", "--", "/bin/true").code == 0
    assert spec(box) == {"name": "true", "command": "/bin/true", "tags": {"note": HOSTILE}}


def test_a_run_of_a_script_is_named_by_the_script(box: Sandbox) -> None:
    box.write("train.sh", "true\n")
    assert box.run("run", "--", "bash", "train.sh").code == 0
    assert spec(box)["name"] == "train.sh"


def test_two_changes_at_once_are_both_kept(box: Sandbox) -> None:
    box.run("run", "--name", "one", "--", "true")
    run_dir = only_run(box)
    with ThreadPoolExecutor(1) as pool:
        with take_lock(run_dir / ".labels.lock"):
            second = pool.submit(box.ok, "tag", "one", "b=2")
            time.sleep(0.3)
            assert not second.done()
            write_document(run_dir / "labels.json", LabelsDocument(tags={"a": "1"}))
        second.result()
    assert labels(run_dir)["tags"] == {"a": "1", "b": "2"}


def test_every_wrong_label_is_named_and_nothing_runs(box: Sandbox) -> None:
    result = box.run("run", "--tag", "x", "--tag", "=y", "--", "touch", "ran")
    lines = [f"error: --tag: '{tag}' is not KEY=VALUE, such as phase=training\n" for tag in ("x", "=y")]
    assert (result.code, result.err) == (2, "".join(lines))
    result = box.run("run", "--name", "two\nlines", "--", "touch", "ran")
    assert result.code == 2
    assert result.err.startswith("error: --name: ")
    assert not (box.work / "ran").exists()
    assert not box.spool.exists()


def test_a_job_is_tagged_renamed_and_a_tag_is_removed(box: Sandbox) -> None:
    job_id, run_dir = box.submit("true", name="one", tags={"project": "old", "note": "x"}, energy="off")
    box.wait_over(job_id)
    printed = box.ok("tag", "one", "project=climate", "note=", "--name", "two")
    assert printed == f"Job {job_id[-8:]}: name two, project=climate, no note\n"
    assert labels(run_dir) == {
        "schema": 1, "name": "two", "tags": {"note": None, "project": "climate"}, "forgotten": False,
    }  # fmt: skip
    assert (run_dir / "labels.json").stat().st_mode & 0o777 == 0o600
    assert box.run("tag", "one", "note=back").code == 2
    box.ok("tag", "two", "note=back")
    assert labels(run_dir)["tags"] == {"note": "back", "project": "climate"}
    assert labels(run_dir)["name"] == "two"
    box.ok("tag", "latest", f"note={HOSTILE}")
    assert labels(run_dir)["tags"]["note"] == HOSTILE


def test_what_cannot_be_tagged(box: Sandbox) -> None:
    job_id, run_dir = box.submit("true", name="same", energy="off")
    box.submit("true", name="same", energy="off")
    assert box.run("tag", job_id).err == (
        "error: tag: nothing to change (write KEY=VALUE, KEY= to remove a tag, or --name NAME)\n"
    )
    assert box.run("tag", "nope", "a=b").code == 2
    two = box.run("tag", "same", "a=b")
    assert (two.code, two.err.startswith("error: same: means 2 jobs, the last of them ")) == (2, True)
    assert not (run_dir / "labels.json").exists()
    (run_dir / "labels.json").write_text("[]")
    damaged = box.run("tag", job_id, "a=b")
    assert (damaged.code, "not a JSON object" in damaged.err) == (3, True)
    assert (run_dir / "labels.json").read_text() == "[]"


@pytest.mark.slow
def test_the_latest_of_two_in_one_second(box: Sandbox) -> None:
    names = [str(number) for number in range(6)]
    for name in names:
        box.submit("true", name=name, energy="off")
    run_id = box.ok("tag", "latest", "a=b").split()[1].rstrip(":")
    (run_dir,) = box.spool.glob(f"2*/*{run_id}")
    assert json.loads((run_dir / "run.json").read_text())["spec"]["name"] == "5"


def test_forget_and_undo(box: Sandbox) -> None:
    job_id, run_dir = box.submit("true", tags={"project": "x"}, energy="off")
    box.ok("tag", job_id, "note=kept")
    assert box.ok("forget", job_id) == f"Job {job_id[-8:]} no longer counts in reports\n"
    assert labels(run_dir)["forgotten"] is True
    assert labels(run_dir)["tags"] == {"note": "kept"}
    assert box.ok("forget", job_id) == f"Job {job_id[-8:]} was forgotten already\n"
    assert job_id[-8:] not in box.ok("status")
    assert job_id[-8:] in box.ok("status", "--all")
    assert box.ok("forget", "--undo", "latest") == f"Job {job_id[-8:]} counts again\n"
    assert job_id[-8:] in box.ok("status")
    assert labels(run_dir)["forgotten"] is False


def jobs(box: Sandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(box.ok("report", "--json"))["jobs"]
    return found


def test_reports_follow_and_a_rebuild_keeps_it(box: Sandbox) -> None:
    box.ok("run", "--name", "one", "--tag", "project=climate", "--", "true")
    assert box.run("run", "--name", "trial", "--", "false").code == 1
    box.ok("tag", "one", "--name", "two", "project=ocean", "phase=analysis")
    box.ok("forget", "trial")
    (first,) = jobs(box)
    assert (first["name"], first["tags"]) == ("two", {"phase": "analysis", "project": "ocean"})
    box.ok("ledger", "rebuild")
    assert jobs(box) == [first]
    assert "the ledger is sound and agrees with the spool" in box.ok("ledger", "check")
    box.ok("forget", "--undo", "trial")
    assert sorted(job["name"] for job in jobs(box)) == ["trial", "two"]
    box.ok("tag", "two", "phase=")
    (again,) = (job for job in jobs(box) if job["name"] == "two")
    assert again["tags"] == {"project": "ocean"}


def test_labels_that_cannot_be_used_are_a_problem_of_their_file(box: Sandbox) -> None:
    box.ok("run", "--name", "one", "--", "true")
    path = only_run(box) / "labels.json"
    path.write_text(json.dumps({"schema": 1, "name": 7, "tags": {"a": [1], "b": "x"}, "forgotten": "yes"}))
    (job,) = jobs(box)
    assert (job["name"], job["tags"]) == ("one", {"b": "x"})
    problems = box.ok("ledger", "check")
    assert "labels.json: name: " in problems
    assert "labels.json: forgotten: " in problems
    path.unlink()
    path.symlink_to("/etc/passwd")
    (job,) = jobs(box)
    assert job["name"] == "one"
    assert "labels.json: a symbolic link, not followed" in box.ok("ledger", "check")


@pytest.mark.slow
def test_a_report_of_a_forgotten_run_names_what_brings_it_back(box: Sandbox) -> None:
    box.ok("run", "--name", "trial", "--", "true")
    run_id = only_run(box).name
    box.ok("forget", "trial")
    for text in ("trial", run_id, run_id[-8:], "latest"):
        result = box.run("report", text)
        assert (result.code, result.out) == (2, "")
        undo = f"`hpcfrugal forget --undo {run_id[-8:]}` brings it back"
        assert result.err == f"error: {text}: was forgotten, so it is in no report ({undo})\n"
    hint = "see `hpcfrugal report --since all --all`"
    assert box.run("report", "other").err == f"error: other: is not a job in the ledger ({hint})\n"
    box.ok("forget", "--undo", run_id)
    assert "trial" in box.ok("report", "trial")


@pytest.mark.slow
def test_a_name_of_several_jobs_is_refused_in_the_same_words_everywhere(box: Sandbox) -> None:
    for _ in range(4):
        box.ok("run", "--name", "same", "--", "true")
    ids = sorted(path.name for path in box.spool.glob("2*/*"))
    said = set()
    for argv in (
        ("report", "same"),
        ("tag", "same", "a=b"),
        ("forget", "same"),
        ("status", "same"),
        ("cancel", "same"),
    ):
        result = box.run(*argv)
        assert result.code == 2, argv
        said.add(result.err)
    (line,) = said
    assert line.startswith("error: same: means 4 jobs, the last of them ")
    assert sum(run_id[-8:] in line for run_id in ids) == 3
    assert line.endswith(" (use one of these ids)\n")


def test_a_task_is_not_tagged_or_forgotten_alone(box: Sandbox) -> None:
    """The labels are the array's: a name or tag of one task would be that of all."""
    job_id, run_dir = box.submit("true", name="sweep", resources={"array": "0-1"}, energy="off")
    for command in (("tag", "sweep_1", "note=x"), ("forget", "sweep_1"), ("forget", f"{job_id}_[0-1]")):
        result = box.run(*command)
        task = "[0-1]" if "[" in command[1] else "1"
        what = f"error: {job_id}_{task}: is a part of a job array, which is named, tagged and forgotten as a whole"
        assert (result.code, result.err) == (2, f"{what} (write {job_id[-8:]})\n")
    assert not (run_dir / "labels.json").exists()
    assert box.ok("forget", job_id[-8:]) == f"Job {job_id[-8:]} no longer counts in reports\n"
    wait_until(lambda: [task.state for task in box.states(job_id)] == ["COMPLETED"] * 2)
