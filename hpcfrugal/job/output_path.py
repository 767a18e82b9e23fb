"""Slurm's patterns in the names of output files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hpcfrugal.core.host import this_host

DEFAULT_OUTPUT = "local-%j.out"
"""Output file of a local job whose job file names none."""

_PATTERN = re.compile(r"%([0-9]*)([A-Za-z%])")
_NUMBERS = frozenset("jJAant")


def fill_pattern(pattern: str, known: Mapping[str, str]) -> str:
    """Replace the letters that are known; others stay (sbatch(1), FILENAME PATTERN).

    Slurm pads numbers with zeros up to the width before the letter, of at most 10.
    """

    def value(match: re.Match[str]) -> str:
        width, letter = match.groups()
        if letter not in known:
            return match[0]
        text = known[letter]
        return text.zfill(min(int(width or 0), 10)) if letter in _NUMBERS and text.isdigit() else text

    return _PATTERN.sub(value, pattern)


def expand_output(
    pattern: str, *, job_id: str, array_job_id: str, index: int | None = None, name: str, user: str
) -> str:
    """Expand a pattern as far as it applies to one job, or one task of an array, on one machine."""
    node = this_host()
    known = {"j": job_id, "J": job_id, "A": array_job_id, "x": name, "u": user, "N": node, "n": "0", "t": "0"}
    task = {} if index is None else {"a": str(index)}
    return fill_pattern(pattern, {**known, **task, "s": "batch", "%": "%"})


def expand_slurm_output(pattern: str, *, job_id: str, name: str, user: str, array: bool) -> str:
    """Expand a pattern as far as it is known at the submission to Slurm; of an array, each task has its own id."""
    known = {"A": job_id, "x": name, "u": user, "%": "%"}
    return fill_pattern(pattern, known if array else {**known, "j": job_id, "J": job_id})
