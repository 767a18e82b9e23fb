"""Which backend a command uses."""

from __future__ import annotations

from hpcfrugal.backends.base import Backend
from hpcfrugal.config import Config


def select(name: str | None, config: Config, *, patience_s: float | None = None) -> Backend:
    """The backend called ``name`` (or that of the settings); ``auto`` is Slurm wherever there is an sbatch.

    ``patience_s`` is how long a question to Slurm may take, see ``SlurmCli``.
    """
    from hpcfrugal.backends import slurm_cli

    wanted = name or config.backend
    if wanted == "auto":
        wanted = "slurm_cli" if slurm_cli.available() else "local"
    if wanted == "slurm_cli":
        return slurm_cli.SlurmCli(patience_s)
    from hpcfrugal.backends.local import Local

    return Local(config.spool)
