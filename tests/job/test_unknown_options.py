"""Options that sbatch may not know: noted where they are like one that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcfrugal.job import job_from_mapping
from hpcfrugal.submission.warnings import warnings_of


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
