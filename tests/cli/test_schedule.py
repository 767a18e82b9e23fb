"""What `submit` says of keys that are not acted on, here or yet."""

from __future__ import annotations

import json
from datetime import datetime

from sandbox import Sandbox

from hpcfrugal.jobspec import job_from_mapping
from hpcfrugal.options import sbatch_options


def test_earliest_is_the_begin_of_sbatch() -> None:
    spec = job_from_mapping({"command": "true", "schedule": {"earliest": "2027-01-01T10:00:00+05:00"}})
    (option,) = [option for option in sbatch_options(spec) if option.startswith("--begin=")]
    begin = datetime.fromisoformat(option.partition("=")[2]).astimezone()
    assert begin == datetime.fromisoformat("2027-01-01T10:00:00+05:00")


def test_what_is_not_acted_on_is_said(box: Sandbox) -> None:
    result = box.run("submit", box.job("true", schedule={"max_delay": "12h", "zone": "FR"}))
    assert result.code == 0
    assert "not acted on yet: schedule.max_delay, schedule.zone" in result.err


def test_this_machine_says_which_amounts_it_does_not_hold_a_job_to(box: Sandbox) -> None:
    asked = {"mem": "1G", "cpus_per_task": 2, "gpus": 1, "time": "1:00", "nodes": 1, "partition": "batch"}
    path = box.job("true", resources=asked)
    result = box.run("submit", "--json", path)
    said = "this machine does not hold jobs to resources.cpus_per_task, resources.mem, resources.gpus"
    assert (result.code, result.err) == (0, f"warning: {path}: {said}\n")
    assert json.loads(result.out)["warnings"] == [said]
    result = box.run("submit", "--json", box.job("true", resources={"time": "1:00"}))
    assert (result.err, json.loads(result.out)["warnings"]) == ("", [])


def test_slurm_holds_a_job_to_its_amounts(box: Sandbox) -> None:
    for name, text in (("sbatch", "echo 17"), ("scontrol", "echo 'ClusterName             = c1'")):
        path = box.home / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    path = box.job("true", resources={"mem": "1G"})
    env = {"PATH": f"{box.home}:{box.env['PATH']}"}
    result = box.run("submit", "--json", "--backend", "slurm_cli", path, env=env)
    assert (result.code, result.err, json.loads(result.out)["warnings"]) == (0, "", [])


def test_a_job_that_wants_a_forecast_is_refused(box: Sandbox) -> None:
    result = box.run("submit", box.job("true", schedule={"require_forecast": True, "max_delay": "1h"}))
    assert result.code == 3
    assert "there is no carbon-intensity forecast to be had yet" in result.err
    assert list(box.spool.glob("*/*")) == []
