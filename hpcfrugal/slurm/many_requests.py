"""How many requests reach Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm.client import SlurmClient, slurm_client
from hpcfrugal.slurm.pyslurm_probe import is_installed

_MANY = 40
"""From so many requests on it pays to start pyslurm, which takes a few tenths of a second."""


@contextmanager
def client_for(requests: int) -> Iterator[SlurmClient]:
    """The client for so many requests: by pyslurm for many, once it is ready and where it can be used, else by Slurm's
    commands.
    """
    if requests < _MANY or not is_installed():
        yield slurm_client()
        return
    from hpcfrugal.slurm.pyslurm_client import PyslurmClient
    from hpcfrugal.slurm.pyslurm_process import PyslurmProcess

    try:
        process = PyslurmProcess()
    except SetupError:
        yield slurm_client()
        return
    with process:
        yield PyslurmClient(process, slurm_client())
