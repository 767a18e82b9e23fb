"""A job from its file to its backend: ``prepare`` checks, plans and renders it, ``handover`` submits it."""

from hpcfrugal.submit.handover import output_path, submit
from hpcfrugal.submit.local_limits import not_enforced, schedule_left_out
from hpcfrugal.submit.prepare import Prepared, SubmissionBatch, check_queue, prepare

__all__ = [
    "Prepared",
    "SubmissionBatch",
    "check_queue",
    "not_enforced",
    "output_path",
    "prepare",
    "schedule_left_out",
    "submit",
]
