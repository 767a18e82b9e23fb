"""Ids of jobs and arrays as Slurm writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hpcfrugal.job.array_tasks import parse_array

# Ids are 32 bits of which the two highest numbers are no jobs (slurm.h: NO_VAL, INFINITE).
_LARGEST = 0xFFFF_FFFD

# slurm.h: MAX_JOB_ID. The bits above it are the number of the cluster in its federation.
_LARGEST_ALONE = 0x03FF_FFFF

# One command line holds this many ids. Linux allows longer ones; Slurm's own buffers do better with short ones.
_CHUNK = 1000

_DOTS = re.compile(r",?\.\.\.")


def is_job_id(text: str) -> bool:
    """Whether Slurm can have given this id to a job. One that it cannot have makes sacct refuse the whole list."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _LARGEST


def in_federation(job_id: str) -> bool:
    """Whether this is the id of a job of a federation, which any of its clusters may start."""
    return int(job_id) > _LARGEST_ALONE


def chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids in groups that fit on one command line."""
    for at in range(0, len(job_ids), _CHUNK):
        yield job_ids[at : at + _CHUNK]


def array_shape(tasks: str | None) -> tuple[int, int]:
    """How many tasks of an array run at once, and how often in a row: ``1-10%4`` is 4 at once, 3 times.

    1, 1 for a job that is no array and for what cannot be read.
    """
    try:
        # squeue ends a long list of tasks with dots.
        array = parse_array(_DOTS.sub("", tasks or ""))
    except ValueError:
        return 1, 1
    at_once = min(array.count, array.at_once or array.count)
    return at_once, -(-array.count // at_once)


def het_job(shown_id: str) -> str | None:
    """The first component of a heterogeneous job, from an id as Slurm shows it: 123 of ``123+1``; else None."""
    job, plus, component = shown_id.partition("+")
    return job if plus and job.isdecimal() and component.isdecimal() else None
