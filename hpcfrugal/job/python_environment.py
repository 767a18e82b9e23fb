"""The Python environments of a job, checked at submission."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hpcfrugal.core.errors import Problem
from hpcfrugal.core.section import KeyPath
from hpcfrugal.job.model import JobSpec

# A file or directory that every environment has.
_HAS = {"venv": "bin/activate", "conda": "conda-meta"}


def missing_environments(job: JobSpec) -> Iterator[tuple[KeyPath, Problem]]:
    """The keys `venv` and `conda` whose path holds no environment.

    A path can't be seen here if the directory that it is in can't: it may be on the nodes alone. A job that waits for
    others may use what they make, and the name of a conda environment is known to conda on the node.
    """
    for key, content in _HAS.items():
        text = getattr(job, key)
        if text is None or "/" not in text or job.resources.dependency is not None:
            continue
        path = Path(text)
        try:
            seen = path.parent.is_dir()
            found = (path / content).exists()
        except OSError:
            continue
        if seen and not found:
            what = f"{path} holds no environment" if path.exists() else f"there is no {path}"
            yield (key,), Problem(key, what, f"give the directory of the environment, which has {content} in it")
