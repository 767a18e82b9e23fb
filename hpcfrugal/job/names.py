"""Default names of jobs."""

from __future__ import annotations

import re
import shlex

from hpcfrugal.job.text_types import to_name
from hpcfrugal.spool.job_names import name_of_command

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def name_from_command(command: str) -> str:
    """A job's name from the first program of its command (``name_of_command``); ``job`` if there is none."""
    try:
        words = shlex.split(command.strip().splitlines()[0], comments=True)
    except (ValueError, IndexError):
        return "job"
    while words and _ASSIGNMENT.match(words[0]):
        words.pop(0)
    return _name_or_job(name_of_command(words)) if words else "job"


def name_from_path(path: str) -> str:
    """A job's name from the last part of a path, suffix included; ``job`` if that is not a valid name."""
    return _name_or_job(path.rstrip("/").rpartition("/")[2])


def _name_or_job(text: str) -> str:
    try:
        return to_name(text)
    except ValueError:
        return "job"
