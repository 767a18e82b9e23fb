"""The tasks of a job array, as ``sbatch --array`` takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpcfrugal.core.quick import dataclass

_SPAN = r"[0-9]{1,9}(?:-[0-9]{1,9}(?::[0-9]{1,9})?)?"
_ARRAY = re.compile(rf"{_SPAN}(?:,{_SPAN})*(?:%[0-9]{{1,9}})?")
MOST_IN_ARRAY = 4_000_001
"""The most that Slurm takes (slurm.conf(5): MaxArraySize)."""

_EXAMPLE = "write 0-15, 1,3,5 or 0-99%10"


@dataclass(frozen=True, slots=True)
class ArrayTasks:
    """``0-8:2,12%3``: the ranges 0, 2 ... 8 and 12, at most 3 tasks ``at_once`` (None: no limit).

    ``step`` is what Slurm gives to the tasks: the first step that is written, else 1 (``_create_job_array`` in Slurm's
    src/slurmctld/job_mgr.c).
    """

    ranges: tuple[range, ...]
    at_once: int | None
    step: int

    @property
    def count(self) -> int:
        """How many tasks there are, where no index is written twice."""
        return sum(map(len, self.ranges))

    @property
    def indices(self) -> Sequence[int]:
        """The index of each task, in order."""
        return sorted({index for one in self.ranges for index in one})


def indices_of(text: str) -> frozenset[int]:
    """The tasks of an array behind the ``_`` of a job id: ``3``, or ``[1-3,7]``. Raises ``ValueError``."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    array = parse_array(inner)
    if (not inner.isdigit() and (inner == text or array.at_once is not None)) or array.count > MOST_IN_ARRAY:
        raise ValueError(f"{text[:60]!r} is not a task of an array, nor several in brackets")
    return frozenset(array.indices)


def is_task(text: str) -> bool:
    """Whether ``text`` is the part of a job id that ``indices_of`` reads."""
    try:
        return bool(indices_of(text))
    except ValueError:
        return False


def parse_array(text: str) -> ArrayTasks:
    """The tasks that ``text`` means. Raises ``ValueError`` where it is none of Slurm's forms, or no task may run."""
    if not _ARRAY.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is not a list of array indices; {_EXAMPLE}")
    indices, _, at_once = text.partition("%")
    ranges, steps = [], []
    for part in indices.split(","):
        span, _, step = part.partition(":")
        low, _, high = span.partition("-")
        steps += [int(step)] if step else []
        if int(high or low) < int(low) or (step and int(step) < 1):
            raise ValueError(f"the range {part} in {text[:60]!r} is empty; {_EXAMPLE}")
        ranges.append(range(int(low), int(high or low) + 1, int(step or 1)))
    if at_once and int(at_once) < 1:
        raise ValueError(f"{text[:60]!r} allows no task to run; {_EXAMPLE}")
    return ArrayTasks(tuple(ranges), int(at_once) if at_once else None, steps[0] if steps else 1)
