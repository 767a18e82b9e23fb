"""Ids of jobs and arrays as Slurm writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Ids are 32 bits of which the two highest numbers are no jobs (slurm.h: NO_VAL, INFINITE).
_LARGEST = 0xFFFF_FFFD

# One command line holds this many ids. Linux allows longer ones; Slurm's own buffers do better with short ones.
_CHUNK = 1000

# squeue ends a long list of tasks with dots.
_ARRAY = re.compile(r"([\d,:-]+?)(?:,?\.\.\.)?(?:%(\d+))?", re.ASCII)


def is_job_id(text: str) -> bool:
    """Whether Slurm can have given this id to a job. One that it cannot have makes sacct refuse the whole list."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _LARGEST


def chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids in groups that fit on one command line."""
    for at in range(0, len(job_ids), _CHUNK):
        yield job_ids[at : at + _CHUNK]


def array_shape(tasks: str | None) -> tuple[int, int]:
    """How many tasks of an array run at once, and how often in a row: ``1-10%4`` is 4 at once, 3 times.

    1, 1 for a job that is no array and for what cannot be read.
    """
    match = _ARRAY.fullmatch(tasks or "")
    if match is None:
        return 1, 1
    count = 0
    for part in match[1].split(","):
        bounds, _, step = part.partition(":")
        first, _, last = bounds.partition("-")
        if not first.isdigit():
            return 1, 1
        count += (int(last or first) - int(first)) // max(1, int(step or 1)) + 1
    at_once = min(count, int(match[2] or count) or count)
    return max(1, at_once), -(-count // max(1, at_once))
