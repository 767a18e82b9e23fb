"""Extra sbatch options: what passes, what is ours, and how sbatch reads words."""

from __future__ import annotations

import pytest

from hpcfrugal.job import JobSpec, Resources
from hpcfrugal.job.fields import Faults
from hpcfrugal.job.sbatch_flags import KNOWN, OWNED, Flag, check_flag, flags_of, read_options, why_refused


@pytest.mark.parametrize(
    "flag",
    [
        "--mail-type=END",
        "--mail-ty=END",
        "--mail-user=a@b.c",
        "--nice",
        "--nice=100",
        "--gres-flags=enforce-binding",
        "--time-min=10",
        "--wait-all-nodes=1",
        "--mem-per-gpu=4G",
        "--exclusive=user",
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
    assert check_flag(flag) == flag


@pytest.mark.parametrize(
    ("flag", "told"),
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
        ("--parsable", "sbatch's answer"),
        ("--export=NONE", "`env`"),
        ("--exp=NONE", "`env`"),
        ("-D/tmp", "`workdir`"),
        ("--chdir=/tmp", "`workdir`"),
        ("--exclusive", "resources.exclusive"),
        ("--excl", "--excl is set by hpcfrugal"),
        ("--test-only", "--dry-run"),
        ("-W", "submit --wait"),
        ("-H", "schedule.earliest"),
        ("-M", "login node"),
        ("--uid=0", "whoever submits"),
        ("--tasks=2", "resources.ntasks"),
        ("--container=x", "`container`"),
        ("--mail-type", "needs a value in the same entry"),
        ("--mail-type END", "write it as one word, such as --mail-type=END"),
        ("-L matlab", "--licenses=matlab"),
        ("--contiguous=yes", "takes no value"),
        ("-Z", "not an option of sbatch"),
        ("foo", "begins with `-`"),
        ("--", "begins with `-`"),
        ("-", "begins with `-`"),
        ("", "is empty"),
        ("--mail-user=a\n#SBATCH --wrap=x", "control character"),
        ("--mail-user=a\0b", "NUL"),
    ],
)
def test_options_that_are_refused_and_why(flag: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        check_flag(flag)
    assert told in str(caught.value)


def test_no_beginning_of_an_owned_option_slips_through() -> None:
    for owned in OWNED:
        for length in range(1, len(owned) + 1):
            beginning = owned[:length]
            if beginning in KNOWN - OWNED:
                continue  # an option of its own, such as --mem-bind's neighbour --tmp
            with pytest.raises(ValueError, match=r"\S"):
                check_flag(f"--{beginning}=1")


def test_every_refusal_names_a_key_that_exists() -> None:
    keys = set(JobSpec.model_fields) | {f"resources.{key}" for key in Resources.model_fields}
    for owned in OWNED:
        reason = why_refused(owned)
        assert reason
        if reason.startswith("use the key `"):
            assert reason.removeprefix("use the key `").rstrip("`") in keys


def test_a_mapping_of_options() -> None:
    assert flags_of({"mail-type": "END", "contiguous": "true", "reboot": "no", "nice": None, "L": "matlab"}) == (
        "--mail-type=END",
        "--contiguous",
        "--nice",
        "-Lmatlab",
    )
    with pytest.raises(Faults) as caught:
        flags_of({"partition": "x", "mail-type": ["a"], "contiguous": False})
    assert [fault.path for fault in caught.value.faults] == [("partition",), ("mail-type",)]


def test_a_text_is_not_a_list() -> None:
    with pytest.raises(ValueError, match="must be a list"):
        flags_of("--mail-type=END")


def test_words_are_read_as_getopt_does() -> None:
    assert read_options(["-N2", "-t", "10", "--mem", "4G", "--exclusive", "--mail-ty=END", "-vJx", "stop", "-n3"]) == [
        Flag("nodes", "2"),
        Flag("time", "10"),
        Flag("mem", "4G"),
        Flag("exclusive", None),
        Flag("mail-type", "END"),
        Flag("verbose", None),
        Flag("job-name", "x"),
    ]
