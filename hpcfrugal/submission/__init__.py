"""A job from its file to its backend: ``prepare`` checks, plans and renders it, ``handover`` submits it."""

from hpcfrugal.submission.handover import output_path, submit
from hpcfrugal.submission.local_limits import not_held_to, schedule_left_out
from hpcfrugal.submission.prepare import Company, Prepared, check_queue, prepare

__all__ = [
    "Company",
    "Prepared",
    "check_queue",
    "not_held_to",
    "output_path",
    "prepare",
    "schedule_left_out",
    "submit",
]
