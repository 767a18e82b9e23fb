"""hpcfrugal: job wrapper and energy accountant for Slurm clusters.

``submit`` and ``plan`` take a job file, ``Ledger`` gives jobs and energy as pandas tables. Carbon intensities are in
``hpcfrugal.carbon``, optimisers in ``hpcfrugal.planning``. All else is private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcfrugal.core.errors import (
    DataError,
    ForecastError,
    HpcfrugalError,
    InputError,
    Problem,
    SetupError,
    SourceError,
    Unreachable,
)
from hpcfrugal.core.lazy import lazy_names
from hpcfrugal.core.version import __version__

if TYPE_CHECKING:
    from hpcfrugal.api.jobs import plan, submit, submit_many
    from hpcfrugal.api.ledger import Ledger
    from hpcfrugal.job import JobSpec, load_job
    from hpcfrugal.planning.decide.plan import Plan
    from hpcfrugal.submission.submitted_job import SubmittedJob

__all__ = [
    "DataError",
    "ForecastError",
    "HpcfrugalError",
    "InputError",
    "JobSpec",
    "Ledger",
    "Plan",
    "Problem",
    "SetupError",
    "SourceError",
    "SubmittedJob",
    "Unreachable",
    "__version__",
    "load_job",
    "plan",
    "submit",
    "submit_many",
]

# Imported when first used: the sidecar, and commands that need none of it, start without.
__getattr__ = lazy_names(
    __name__,
    {
        "JobSpec": "job",
        "Ledger": "api.ledger",
        "Plan": "planning.decide.plan",
        "SubmittedJob": "submission.submitted_job",
        "load_job": "job",
        "plan": "api.jobs",
        "submit": "api.jobs",
        "submit_many": "api.jobs",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
