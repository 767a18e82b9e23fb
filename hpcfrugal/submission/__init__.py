"""Submission: ``prepare`` checks, plans and renders a job file, ``handover`` submits it to the backend."""

from hpcfrugal.submission.handover import submit_all, submit_prepared
from hpcfrugal.submission.planned import Submission, preview
from hpcfrugal.submission.prepare import Prepared, prepare, prepare_spec
from hpcfrugal.submission.submitted_job import SubmittedJob

__all__ = [
    "Prepared",
    "Submission",
    "SubmittedJob",
    "prepare",
    "prepare_spec",
    "preview",
    "submit_all",
    "submit_prepared",
]
