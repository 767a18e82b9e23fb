"""What the lab needs from the distribution, and how to get it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import LabError
from .shell import run

SBIN = "/usr/sbin:/usr/bin:/sbin:/bin"

PROGRAMS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "gcc": "gcc",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "useradd": "passwd",
}
FILES = {
    Path("/usr/include/stdio.h"): "libc6-dev",
}


def missing() -> list[str]:
    """Debian packages that have to be installed, in alphabetical order."""
    wanted = {package for program, package in PROGRAMS.items() if shutil.which(program, path=SBIN) is None}
    wanted |= {package for path, package in FILES.items() if not path.exists()}
    if wanted & {"slurmctld", "slurmd", "slurm-client"}:
        wanted.add("slurm-wlm-basic-plugins")
    return sorted(wanted)


def install(packages: list[str]) -> None:
    """apt-get install. Raises LabError without apt, or with apt's words where it fails.

    A package of a daemon may start that daemon by itself where an init system runs; the lab has its own
    sockets, ports and directories and does not mind.
    """
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise LabError(f"the lab needs {', '.join(packages)} and this machine has no apt-get; install them by hand")
    env = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-q", "update"], env=env)
    run(["apt-get", "-q", "install", "-y", "--no-install-recommends", *packages], env=env)
