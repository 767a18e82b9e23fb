"""Options that sbatch may not know are noted where they are like one that it has; and jobs of a federation."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.backend import Submitted
from hpcfrugal.submission.warnings import warnings_of, warnings_of_submitted


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("--jobname=train", "job-name"),
        ("--cpu-per-task=4", "cpus-per-task"),
        ("--ntasks_per_node=2", "ntasks-per-node"),
        ("--jobname", "job-name"),
    ],
)
@pytest.mark.parametrize("place", ["script", "sbatch"])
def test_a_mistyped_option_is_noted(tmp_path: Path, option: str, other: str, place: str) -> None:
    """sbatch refuses these: "unrecognized option"."""
    lines = {"directives": [f"#SBATCH {option}"]} if place == "script" else {"sbatch": [option]}
    spec = job_from_mapping({"command": "true", **lines})
    name = option.partition("=")[0]
    assert warnings_of(spec, tmp_path, slurm=True) == (f"{name} is not an option of sbatch; did you mean --{other}?",)


@pytest.mark.parametrize(
    "option", ["--spank-site=x", "--energy-bios", "--ntasks-per-n=2", "--job-name=a", "--contig", "-v"]
)
def test_options_of_plugins_and_shortened_ones_are_not(tmp_path: Path, option: str) -> None:
    spec = job_from_mapping({"command": "true", "directives": [f"#SBATCH {option}"]})
    assert warnings_of(spec, tmp_path, slurm=True) == ()


def test_a_job_of_a_federation_is_noted() -> None:
    """Its id has the number of its cluster above the 26 bits that a cluster alone gives out."""
    spec = job_from_mapping({"command": "true"})
    inside, outside = Submitted(cluster="c1", job_id="67108865"), Submitted(cluster="c1", job_id="67108863")
    assert warnings_of_submitted(spec, inside, slurm=True) == (
        "federations are not supported: if another cluster than this one starts job 67108865, its energy is not known; "
        "a batch script with `#SBATCH --clusters=c1` stays here",
    )
    assert warnings_of_submitted(spec, outside, slurm=True) == ()
    pinned = job_from_mapping({"command": "true", "directives": ["#SBATCH -M c1"]})
    assert warnings_of_submitted(pinned, inside, slurm=True) == ()
    assert warnings_of_submitted(spec, Submitted(cluster="", job_id="100000000"), slurm=False) == ()
