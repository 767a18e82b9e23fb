"""The systemd units of `hpcfrugal queue run` and `hpcfrugal site agent`, with only the rights that they need.

The former needs the user id of root, by which Slurm (munge) identifies it, network and Unix sockets, and two
directories. It needs no capabilities, devices or home directories (systemd.exec(5)).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpcfrugal.slurm.command import PROGRAMS

_HOMES = ("/home", "/root", "/run/user")
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")

_UNIT = """\
# /etc/systemd/system/hpcfrugal-queue.service
[Unit]
Description=Plans the low-carbon queues of Slurm as forecasts change
After=network-online.target slurmctld.service
Wants=network-online.target

[Service]
ExecStart={program} queue run --every 5m
Restart=on-failure
RestartSec=30
{environment}
# Settings: /etc/hpcfrugal. Data: /var/lib/hpcfrugal and /var/cache/hpcfrugal.
Environment=XDG_CONFIG_HOME=/etc XDG_DATA_HOME=/var/lib XDG_CACHE_HOME=/var/cache
StateDirectory=hpcfrugal
CacheDirectory=hpcfrugal
UMask=0077
PrivateDevices=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
ProtectProc=invisible
{guards}"""

_AGENT_UNIT = """\
# /etc/systemd/system/hpcfrugal-agent.service
[Unit]
Description=Divides the energy of this node among its jobs
After=slurmd.service remote-fs.target
RequiresMountsFor={spool}

[Service]
ExecStart={program} site agent {options}
Restart=on-failure
RestartSec=30
RuntimeDirectory=hpcfrugal
RuntimeDirectoryMode=0755
ReadWritePaths={spool}
UMask=0027
# Sensors are files of root. Environments of jobs name their GPUs; files belong to the operators' group; perf events are
# read where the kernel has no powercap.
CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE CAP_CHOWN CAP_PERFMON
DevicePolicy=closed
DeviceAllow=char-nvidia-frontend rw
DeviceAllow=char-nvidia rw
DeviceAllow=char-nvidiactl rw
DeviceAllow=char-drm r
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
SystemCallFilter=perf_event_open
{guards}"""

_GUARDS = """\
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
NoNewPrivileges=yes
AmbientCapabilities=
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def systemd_unit(environ: Mapping[str, str] = os.environ) -> str:
    """The text of the unit for this program as it was started, with the Slurm commands on its PATH."""
    search = environ.get("PATH", os.defpath)
    found = (shutil.which(name, path=search) for name in PROGRAMS)
    folders = dict.fromkeys([*(os.path.dirname(os.path.abspath(path)) for path in found if path), *_PATH])
    variables = [f"PATH={':'.join(folders)}"]
    if environ.get("SLURM_CONF"):
        variables.append(f"SLURM_CONF={environ['SLURM_CONF']}")
    return _UNIT.format(
        program=_words(_program()),
        environment="\n".join(f"Environment={_quoted(variable)}" for variable in variables),
        guards=_guards(),
    )


def agent_unit(options: Sequence[str], spool: Path) -> str:
    """The text of the unit of `hpcfrugal site agent` with these ``options``, which writes into ``spool``."""
    return _AGENT_UNIT.format(
        program=_words(_program()), options=_words(options), spool=_quoted(str(spool)), guards=_guards(spool)
    )


def _guards(*used: Path) -> str:
    """What both may not do. They read the program, and ``used``, also where these are in a home directory."""
    command = _program()
    program = (*map(os.path.realpath, command[:1]), os.path.abspath(command[0]), sys.prefix, sys.base_prefix)
    paths = (*program, *map(str, used))
    in_home = any(path == home or path.startswith(home + "/") for path in paths for home in _HOMES)
    return _GUARDS.format(protect_home="read-only" if in_home else "yes")


def _words(words: Sequence[str]) -> str:
    """A command line of these words."""
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


def _program() -> Sequence[str]:
    """The command line of this program; `python -m hpcfrugal` runs a file that is not executable."""
    path = os.path.abspath(sys.argv[0])
    if os.path.basename(path) == "__main__.py" or not os.access(path, os.X_OK):
        return sys.executable, "-m", "hpcfrugal"
    return (path,)


def _quoted(word: str) -> str:
    """A word quoted for systemd (systemd.syntax(7), "Quoting"; systemd.unit(5), "Specifiers")."""
    word = word.replace("%", "%%")
    if word and not any(letter in word for letter in " \t\"'\\;"):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
