"""A job as its user describes it: a job file in YAML or an existing batch script, checked, as a JobSpec."""

from __future__ import annotations

from hpcfrugal.job.command_types import PHASES
from hpcfrugal.job.container import Container
from hpcfrugal.job.energy import Energy
from hpcfrugal.job.loader import job_from_mapping, load_job, naming_lines
from hpcfrugal.job.model import JobSpec
from hpcfrugal.job.resources import Resources
from hpcfrugal.job.schedule import Interruptible, Schedule

__all__ = [
    "PHASES",
    "Container",
    "Energy",
    "Interruptible",
    "JobSpec",
    "Resources",
    "Schedule",
    "job_from_mapping",
    "load_job",
    "naming_lines",
]
