"""A job as its user describes it: a job file in YAML or an existing batch script, checked, as a JobSpec."""

from __future__ import annotations

from hpcfrugal.jobspec.container import Container
from hpcfrugal.jobspec.energy import Energy
from hpcfrugal.jobspec.labels import PHASES
from hpcfrugal.jobspec.loader import job_from_mapping, load_job, naming_lines
from hpcfrugal.jobspec.model import JobSpec
from hpcfrugal.jobspec.resources import Resources
from hpcfrugal.jobspec.schedule import Interruptible, Schedule
from hpcfrugal.jobspec.schema import job_schema

__all__ = [
    "PHASES",
    "Container",
    "Energy",
    "Interruptible",
    "JobSpec",
    "Resources",
    "Schedule",
    "job_from_mapping",
    "job_schema",
    "load_job",
    "naming_lines",
]
