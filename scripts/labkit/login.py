"""Running a command in the lab: as whom, on which node, and in a clean login environment."""

from __future__ import annotations

import os
import pwd
from typing import NoReturn

from . import hardware, nodes, paths
from .errors import LabError


def execute(argv: list[str], *, user: str, node: str | None, cwd: str | None, extra_env: dict[str, str]) -> NoReturn:
    """Replace this process by the command: its exit code, signals and standard streams are the caller's.

    Raises LabError for an unknown user or node, or where the lab is not up.
    """
    if os.geteuid() != 0:
        raise LabError("only root can run commands as somebody else or on a node")
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise LabError(f"no user {user!r} on this machine") from None
    if not paths.SLURM_CONF.exists():
        raise LabError("the lab is not up; run `scripts/lab up`")
    prefix = ["/usr/bin/env", f"--chdir={cwd or account.pw_dir}"]
    if node is not None:
        if node not in hardware.NODES or not nodes.is_mounted(paths.namespace_file(node)):
            raise LabError(f"no node {node!r}; there are {', '.join(hardware.NODES)}")
        prefix = ["/usr/bin/nsenter", f"--wdns={cwd or account.pw_dir}", f"--mount={paths.namespace_file(node)}"]
    if account.pw_uid:
        prefix += [
            "/usr/bin/setpriv",
            f"--reuid={user}",
            f"--regid={account.pw_gid}",
            "--init-groups",
            "--inh-caps=-all",
        ]
    env = login_environment(account) | extra_env
    os.umask(0o022)
    os.execve(prefix[0], prefix + argv, env)


def login_environment(account: pwd.struct_passwd) -> dict[str, str]:
    """What a login shell of this user would have on a cluster's login node."""
    sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"] if account.pw_uid == 0 else []
    env = {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell,
        "PATH": ":".join([f"{paths.VENV}/bin", *sbin, "/usr/local/bin", "/usr/bin", "/bin"]),
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(paths.SLURM_CONF),
    }
    if "TERM" in os.environ:
        env["TERM"] = os.environ["TERM"]
    return env


def parse_env(pairs: list[str]) -> dict[str, str]:
    """K=V words to a dictionary. Raises LabError for a word without `=`."""
    bad = [pair for pair in pairs if "=" not in pair[1:]]
    if bad:
        raise LabError(f"--env wants NAME=VALUE, not {bad[0]!r}")
    return dict(pair.split("=", 1) for pair in pairs)
