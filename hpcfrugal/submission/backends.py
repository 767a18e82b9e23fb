"""Selection of the backend."""

from __future__ import annotations

from hpcfrugal.job.backend import Backend
from hpcfrugal.settings.config import Config


def select_backend(name: str | None, config: Config, *, timeout_s: float | None = None) -> Backend:
    """The backend with this name, else that of the settings; ``auto`` is Slurm where sbatch is on the PATH.

    ``timeout_s``: see ``SlurmBackend``.
    """
    from hpcfrugal.slurm.command import available

    wanted = name or config.backend
    if wanted == "slurm_cli" or (wanted == "auto" and available()):
        from hpcfrugal.slurm.backend import SlurmBackend

        return SlurmBackend(timeout_s)
    from hpcfrugal.local.backend import Local

    return Local(config.spool)
