"""The options of sbatch: which pass, which are refused and why, how words are read, and what follows from a row."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from hpcfrugal.core.section import Faults, keys_below
from hpcfrugal.job import JobSpec, job_from_mapping, load_job
from hpcfrugal.job.batch_script import quote_flag
from hpcfrugal.job.model import SBATCH
from hpcfrugal.job.option_table import Flag
from hpcfrugal.job.problems import key_paths
from hpcfrugal.job.resources import Resources
from hpcfrugal.job.sbatch_flags import sbatch_flags
from hpcfrugal.job.sbatch_options import EXCLUSIVE, GPU_GRES, OTHER_OPTIONS, rivals_of
from hpcfrugal.job.section import dotted, exclusions


@pytest.mark.parametrize(
    "flag",
    [
        "--wckey=END",
        "--wcke=END",
        "--extra=a@b.c",
        "--nice",
        "--nice=100",
        "--gres-flags=enforce-binding",
        "--time-min=10",
        "--wait-all-nodes=1",
        "--exclusive=user",
        "--exclusi=topo",
        "--segment=4",
        "--oom-kill-step",
        "--oversubscribe",
        "--contiguous",
        "-L matlab:1".replace(" ", ""),
        "-v",
        "-vO",
        "--signal=B:USR1@60",
        "--some-spank-plugin=x",
        "--licenses=a'; touch /tmp/pwned #",
    ],
)
def test_options_that_pass(flag: str) -> None:
    assert SBATCH.check(flag) == flag


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--partition=batch", "resources.partition"),
        ("--parti=batch", "resources.partition"),
        ("-p", "resources.partition"),
        ("-pbatch", "resources.partition"),
        ("-vpbatch", "resources.partition"),
        ("-J", "`name`"),
        ("-t10", "resources.time"),
        ("--tim=10", "resources.time"),
        ("--no-r", "resources.requeue"),
        ("--wrap=ls", "`command`"),
        ("--wra=ls", "`command`"),
        ("--begin=now+1hour", "schedule.earliest"),
        ("-b", "schedule.earliest"),
        ("--deadline=now+1hour", "schedule.deadline"),
        ("--parsable", "the output of sbatch"),
        ("--export=NONE", "`export`"),
        ("--exp=NONE", "`export`"),
        ("-D/tmp", "`workdir`"),
        ("--chdir=/tmp", "`workdir`"),
        ("--exclusive", "resources.exclusive"),
        ("--excl", "--excl can't be set here (--exclude)"),
        ("--test-only", "--dry-run"),
        ("-W", "submit --wait"),
        ("-H", "resources.hold"),
        ("-M", "login node"),
        ("--uid=0", "the user who submits"),
        ("--tasks=2", "`resources.ntasks_per_node`"),
        ("--container=x", "`container`"),
        ("--exclusive=allocation", "resources.exclusive"),
        ("--requeue=expedite", "resources.requeue"),
        ("--cluster=x", "login node"),
        ("--external", "no script"),
        ("--wckey", "needs a value in the same entry"),
        ("--wckey END", "write it as one word, such as --wckey=END"),
        ("-L matlab", "--licenses=matlab"),
        ("--contiguous=yes", "takes no value"),
        ("-Z", "not an option of sbatch"),
        ("foo", "options start with `-`"),
        ("--", "options start with `-`"),
        ("-", "options start with `-`"),
        ("", "is empty"),
        ("--extra=a\n#SBATCH --wrap=x", "control character"),
        ("--extra=a\0b", "NUL"),
    ],
)
def test_options_that_are_refused_and_why(flag: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        SBATCH.check(flag)
    assert reason in str(caught.value)


REFUSED = dict(SBATCH.refusals())


def test_no_beginning_of_a_refused_option_slips_through() -> None:
    assert len(REFUSED) > 50
    for refused in REFUSED:
        for length in range(1, len(refused) + 1):
            beginning = refused[:length]
            option = SBATCH.find(beginning)
            if option is not None and beginning == option.name and beginning not in REFUSED:
                continue  # an option of its own, such as --mem-bind's neighbour --tmp
            with pytest.raises(ValueError, match=r"\S"):
                SBATCH.check(f"--{beginning}=1")


def test_every_refusal_names_a_key_that_exists() -> None:
    keys = {dotted(path) for path in key_paths()}
    named = [key for reason in REFUSED.values() for key in re.findall(r"use the key `(.*?)`", reason)]
    assert len(named) > 30
    assert set(named) <= keys


def test_names_and_letters_are_unique() -> None:
    options = [*SBATCH.keys.values(), *OTHER_OPTIONS]
    names = [name for option in options for name in (option.name, *option.other_names, option.opposite) if name]
    letters = [option.short for option in options if option.short]
    assert len(set(names)) == len(names) > 100
    assert len(set(letters)) == len(letters) > 30


@pytest.mark.parametrize("key", SBATCH.keys)
def test_each_key_gives_flags_that_a_script_gives_back(key: str, tmp_path: Path) -> None:
    option = SBATCH.keys[key]
    field = {dotted(path): info for path, info in keys_below(JobSpec)}[key]
    assert field.examples
    for example in field.examples:
        data: Any = example
        for part in reversed(key.split(".")):
            data = {part: data}
        job = job_from_mapping({"command": "true", **data})
        (flag,) = [flag for flag in sbatch_flags(job) if flag.partition("=")[0] == f"--{option.name}"]
        script = tmp_path / "job.sh"
        script.write_text(f"#!/bin/sh\n#SBATCH {quote_flag(flag)}\n")
        assert attrgetter(key)(load_job(script)) == attrgetter(key)(job)
        assert attrgetter(key)(job) != attrgetter(key)(job_from_mapping({"command": "other"}))
        with pytest.raises(ValueError, match=f"use the key `{key}`"):
            SBATCH.check(flag)


def test_false_is_the_opposite_option_or_none() -> None:
    job = job_from_mapping({"name": "x", "command": "x", "resources": {"requeue": "no", "exclusive": "no"}})
    assert sbatch_flags(job) == ["--job-name=x", "--no-requeue"]


def test_options_that_exclude_each_other_are_known_ones() -> None:
    names = {name for row in EXCLUSIVE for name in row} - {GPU_GRES}
    assert all((option := SBATCH.find(name)) is not None and option.name == name for name in names)
    assert rivals_of("mem") == {"mem-per-cpu", "mem-per-gpu"}
    assert "gpus" in rivals_of(GPU_GRES)
    assert rivals_of("partition") == set()


def test_keys_that_exclude_each_other_are_options_that_do() -> None:
    for section in (JobSpec, Resources):
        for key, other, _ in exclusions(section):
            options = {dotted(path): SBATCH.keys.get(dotted(path)) for path, _ in keys_below(JobSpec)}
            pair = [options.get(name) or options.get(f"resources.{name}") for name in (key, other)]
            assert pair == [None, None] or (pair[0] and pair[1] and pair[1].name in rivals_of(pair[0].name))


def test_a_mapping_of_options() -> None:
    options = {"wckey": "END", "contiguous": "true", "reboot": "no", "nice": None, "L": "matlab"}
    assert SBATCH.extra_flags(options) == ("--wckey=END", "--contiguous", "--nice", "-Lmatlab")
    with pytest.raises(Faults) as caught:
        SBATCH.extra_flags({"partition": "x", "wckey": ["a"], "contiguous": False})
    assert [fault.path for fault in caught.value.faults] == [("partition",), ("wckey",)]


def test_a_text_is_not_a_list() -> None:
    with pytest.raises(ValueError, match="must be a list"):
        SBATCH.extra_flags("--wckey=END")


def test_words_are_read_as_getopt_does() -> None:
    assert SBATCH.read(["-N2", "-t", "10", "--mem", "4G", "--exclusive", "--wcke=END", "-vJx", "stop", "-n3"]) == [
        Flag("nodes", "2"),
        Flag("time", "10"),
        Flag("mem", "4G"),
        Flag("exclusive", None),
        Flag("wckey", "END"),
        Flag("verbose", None),
        Flag("job-name", "x"),
    ]
