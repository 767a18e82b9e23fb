"""Which backend a command uses."""

from __future__ import annotations

from hpcfrugal.backends.base import Backend
from hpcfrugal.config import Config


def select(name: str | None, config: Config) -> Backend:
    """The backend called ``name`` (or that of the settings); ``auto`` is Slurm wherever there is an sbatch."""
    from hpcfrugal.backends import slurm_cli

    wanted = name or config.backend
    if wanted == "auto":
        wanted = "slurm_cli" if slurm_cli.available() else "local"
    if wanted == "slurm_cli":
        return slurm_cli.SlurmCli()
    from hpcfrugal.backends.local import Local

    return Local(config.spool)
