"""Which backend a command uses."""

from __future__ import annotations

from hpcfrugal.job.backend import Backend
from hpcfrugal.settings.config import Config


def select(name: str | None, config: Config, *, timeout_s: float | None = None) -> Backend:
    """The backend called ``name`` (or that of the settings); ``auto`` is Slurm wherever there is an sbatch.

    ``timeout_s`` is how long a question to Slurm may take, see ``SlurmCli``.
    """
    from hpcfrugal.slurm import backend

    wanted = name or config.backend
    if wanted == "auto":
        wanted = "slurm_cli" if backend.available() else "local"
    if wanted == "slurm_cli":
        return backend.SlurmCli(timeout_s)
    from hpcfrugal.local.backend import Local

    return Local(config.spool)
