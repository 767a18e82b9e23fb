"""``hpcfrugal.submit`` and ``hpcfrugal.plan`` from Python."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from sandbox import Sandbox

import hpcfrugal
from hpcfrugal import InputError, SetupError, SubmittedJob


@pytest.fixture
def home(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox whose home and working directory are those of the test itself."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HPCFRUGAL_SPOOL", "HPCFRUGAL_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in box.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(box.work)
    return box


def ended(home: Sandbox, job: SubmittedJob) -> str:
    assert home.wait_over(job.job_id) == "COMPLETED"
    return job.output.read_text()


@pytest.mark.slow
def test_a_mapping_a_path_and_a_loaded_job(home: Sandbox) -> None:
    path = home.job("echo from a file", "named.yaml")
    (home.work / "run.sh").write_text("#!/bin/bash\n#SBATCH --job-name=fromscript\necho $1 $2\n")
    found = [
        hpcfrugal.submit({"command": "echo from a mapping"}),
        hpcfrugal.submit(str(path)),
        hpcfrugal.submit(hpcfrugal.load_job(path)),
        hpcfrugal.submit({"script": "run.sh", "args": ["a"]}, arguments=["b"]),
    ]
    outputs = ["from a mapping\n", "from a file\n", "from a file\n", "a b\n"]
    assert [ended(home, job) for job in found] == outputs
    assert [job.name for job in found[1:]] == ["named", "named", "fromscript"]
    assert {job.plan for job in found} == {None}
    sources = [json.loads((job.run_dir / "run.json").read_text())["source"] for job in found]
    assert sources == ["<python>", str(path), "<python>", "<python>"]


def test_arguments_are_a_list(home: Sandbox) -> None:
    """A text would be one argument a letter."""
    with pytest.raises(hpcfrugal.InputError, match="arguments: is a text"):
        hpcfrugal.submit({"script": "run.sh"}, arguments="-v")


def test_the_record_is_that_of_the_command(home: Sandbox) -> None:
    job = hpcfrugal.submit({"name": "one", "command": "true", "resources": {"mem": "1G"}, "output": "x.out"})
    printed = json.loads(home.ok("submit", "--json", home.job("true", resources={"mem": "1G"}, output="x.out")))
    mine = job.to_json()
    assert mine.keys() == printed.keys()
    assert mine["warnings"] == printed["warnings"] == list(job.warnings)
    assert job.warnings[0] == "this machine does not enforce resources.mem"
    assert job.output == home.work / "x.out"
    assert job.run_dir.name == job.run_id == job.job_id


def test_every_mistake_at_once_and_nothing_is_left(home: Sandbox) -> None:
    with pytest.raises(InputError) as caught:
        hpcfrugal.submit({"command": "true", "resources": {"time": "never", "nodes": -1}})
    places = [problem.where for problem in caught.value.problems]
    assert places == ["<python>: resources.nodes", "<python>: resources.time"]
    path = home.write("bad.yaml", "command: 'true'\nresources:\n  nodes: 2\n")
    with pytest.raises(InputError) as caught:
        hpcfrugal.submit(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}:3: resources.nodes"]
    with pytest.raises(InputError, match="there is no such file"):
        hpcfrugal.plan("missing.yaml")
    assert list(home.spool.glob("2*/*")) == []


def test_a_plan_without_slurm(home: Sandbox) -> None:
    made = hpcfrugal.plan({"command": "true", "schedule": {"max_delay": "12h"}, "resources": {"time": "1h"}})
    assert (made.action, made.begin_at) == ("start-now", None)
    assert made.reason.startswith("no forecast: ")
    with pytest.raises(hpcfrugal.ForecastError, match=r"^<python>: schedule\.require_forecast: "):
        hpcfrugal.plan({"command": "true", "schedule": {"max_delay": "12h", "require_forecast": True}})
    assert list(home.spool.glob("2*/*")) == []


def test_public_names_stay_what_they_are_whatever_is_imported() -> None:
    for path in sorted(Path(hpcfrugal.__file__).parent.rglob("*.py")):
        parts = path.relative_to(Path(hpcfrugal.__file__).parent).with_suffix("").parts
        if parts[-1] not in ("__init__", "__main__") and parts[0] != "sidecar":
            importlib.import_module(".".join(("hpcfrugal", *parts)))
    for name in hpcfrugal.__all__:
        assert name in dir(hpcfrugal)
        assert getattr(hpcfrugal, name) is not None
        assert type(getattr(hpcfrugal, name)).__name__ != "module", name
    with pytest.raises(AttributeError, match="has no attribute 'submitt'"):
        _ = hpcfrugal.submitt


def test_an_unknown_backend_is_refused_and_no_message_names_an_option(home: Sandbox) -> None:
    job = {"command": "true"}
    for call in (hpcfrugal.submit, hpcfrugal.plan):
        with pytest.raises(InputError) as caught:
            call(job, backend="nope")
        assert str(caught.value) == "backend: unknown backend 'nope' (use auto, slurm_cli, local)"
        with pytest.raises(InputError) as caught:
            call(job, queue="nope")
        assert str(caught.value).startswith("queue: there is no queue 'nope' in the settings")
    assert not list(home.spool.glob("20*/*"))


def test_a_removed_working_directory_is_named(home: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for job in ({"command": "true"}, home.job("true")):
        with pytest.raises(SetupError, match="the working directory cannot be found"):
            hpcfrugal.submit(job)
