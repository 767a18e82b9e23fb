"""Submission: ``prepare`` checks, plans and renders a job file, ``handover`` submits it to the backend."""

from hpcfrugal.submission.handover import missing_directories, output_path, submit_prepared
from hpcfrugal.submission.local_limits import ignored_schedule, not_enforced
from hpcfrugal.submission.prepare import Prepared, Submission, check_queue, prepare

__all__ = [
    "Prepared",
    "Submission",
    "check_queue",
    "ignored_schedule",
    "missing_directories",
    "not_enforced",
    "output_path",
    "prepare",
    "submit_prepared",
]
