"""A Debian whose Slurm is of another release, in namespaces of its own: a lab comes up in it as on another machine.

Processes, users, mounts, hostname and control groups are the container's; the network is the machine's, so that pip
works in it, and each release has ports of its own. The project is at the same path inside and outside.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from . import packages, paths, process
from .errors import LabError
from .shell import run, wait_until

SUITES = {"24.11": "trixie", "26.05": "sid", "22.05": "bookworm"}
"""Which release of Debian has which release of Slurm. sid moves on: its Slurm may be newer one day."""

CACHE = Path("/var/cache/hpcfrugal-slurm")
CGROUPS = Path("/sys/fs/cgroup")
HIERARCHIES = ("cpu", "cpuacct", "memory", "freezer")
"""Of cgroup v1: what Slurm asks for."""

INCLUDE = (
    "slurmctld,slurmd,slurm-client,slurmdbd,slurm-wlm-basic-plugins,munge,mariadb-server,python3,python3-venv,gcc,"
    "libc6-dev,ca-certificates,procps,util-linux,passwd"
)

INIT = r"""
set -e
hostname "$name"
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount --rbind /sys sys
umount -l sys/fs/cgroup
if [ "$cgroup" = v2 ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  for hierarchy in $hierarchies; do
    mkdir "sys/fs/cgroup/$hierarchy"
    mount -t cgroup -o "$hierarchy" cgroup "sys/fs/cgroup/$hierarchy"
  done
fi
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
echo "127.0.0.1 localhost $name" >etc/hosts
cp /etc/resolv.conf etc/resolv.conf
# pip may have to trust what this machine trusts.
mount --bind /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ca-certificates.crt
mkdir -p ".$project"
mount --bind "$project" ".$project"
# Not by chroot: what enters a mount namespace that was made in the container has its root as its own.
pivot_root . mnt
exec chroot . /bin/bash -c 'umount -l /mnt; touch /run/ready; while :; do sleep 1000 & wait $!; done'
"""


def here() -> str | None:
    """The release of Slurm that this machine or container has; None where it is no Debian known here."""
    with open("/etc/os-release", encoding="utf-8") as file:
        facts = dict(line.strip().split("=", 1) for line in file if "=" in line)
    by_suite = {suite: release for release, suite in SUITES.items()}
    return paths.CONTAINER.get("slurm") or by_suite.get(facts.get("VERSION_CODENAME", ""))


@dataclass(frozen=True)
class Running:
    """A container's first process, the checkout that is in it, and its control groups on this machine, of version
    ``cgroup``."""

    init: process.Process
    project: str
    cgroup: str
    groups: tuple[Path, ...]


@dataclass(frozen=True)
class Container:
    """The container of one release of Slurm."""

    release: str

    @property
    def name(self) -> str:
        """Its hostname, and the name of its control groups."""
        return f"slurm{self.release.replace('.', '')}"

    @property
    def root(self) -> Path:
        return CACHE / SUITES[self.release]

    @property
    def _note(self) -> Path:
        return Path(f"/run/hpcfrugal-{self.name}.json")

    def running(self) -> Running | None:
        """None where it does not run."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            init = process.Process(*note["init"])
            found = Running(init, note["project"], note["cgroup"], tuple(map(Path, note["groups"])))
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return None
        return found if init.alive else None

    def start(self, cgroup: str | None) -> None:
        """Make it where it is not there yet (minutes), and start it with control groups of this version (None: v1),
        unless it runs. Raises LabError, also where it runs with others or for another checkout."""
        with self._alone():
            if not self.root.exists():
                self._make()
            running = self.running()
            if running is None:
                self._start(cgroup or "v1")
            elif cgroup not in (None, running.cgroup) or running.project != str(paths.PROJECT):
                is_there = f"with cgroup {running.cgroup}, for {running.project}"
                raise LabError(f"this lab is up {is_there}; `scripts/lab down --slurm {self.release}` ends it")

    def stop(self) -> None:
        """End all of its processes. What debootstrap made stays."""
        with self._alone():
            self._end()

    def enter(self, argv: list[str], cwd: str, environ: Mapping[str, str]) -> NoReturn:
        """Replace this process by a command in the container. Raises LabError where it does not run."""
        running = self.running()
        if running is None:
            raise LabError(f"the lab is not up; run `scripts/lab up --slurm {self.release}`")
        for group in running.groups:
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        entry = (f"--target={running.init.pid}", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root")
        os.execve("/usr/bin/nsenter", ["nsenter", *entry, f"--wdns={cwd}", *argv], dict(environ))

    def _make(self) -> None:
        if shutil.which("debootstrap", path=packages.SBIN) is None:
            packages.install(["debootstrap"])
        unfinished = self.root.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        suite = SUITES[self.release]
        run(["debootstrap", "--variant=minbase", f"--include={INCLUDE}", suite, str(unfinished)])
        unfinished.rename(self.root)

    def _start(self, cgroup: str) -> None:
        marker = {"slurm": self.release, "first_port": paths.FIRST_PORT + 100 * (1 + list(SUITES).index(self.release))}
        (self.root / "etc/hpcfrugal-lab.json").write_text(json.dumps(marker), encoding="utf-8")
        groups = self._groups(cgroup)
        for group in groups:
            group.mkdir(exist_ok=True)
        enter = 'set -e; for group in $groups; do echo $$ >"$group/cgroup.procs"; done; exec unshare "$@"'
        namespaces = ["--mount", "--propagation=private", "--pid", "--fork", "--uts", "--ipc", "--cgroup"]
        init = ["--kill-child=KILL", "/bin/bash", "-c", INIT]
        log = CACHE / f"{self.name}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                ["/bin/bash", "-c", enter, "bash", *namespaces, *init],
                env={
                    "PATH": packages.SBIN,
                    "name": self.name,
                    "root": str(self.root),
                    "project": str(paths.PROJECT),
                    "cgroup": cgroup,
                    "hierarchies": " ".join(_hierarchies()),
                    "groups": " ".join(map(str, groups)),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started = process.find(child.pid)
        found: list[process.Process] = []

        def ready() -> bool:
            if started is None or child.poll() is not None:
                raise LabError(f"the container of Slurm {self.release} did not start:\n{log.read_text('utf-8')}")
            children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text("ascii").split()
            if not (children and Path(f"/proc/{children[0]}/root/run/ready").exists()):
                return False
            found.extend(one for one in [process.find(int(children[0]))] if one)
            return True

        wait_until(ready, f"the container of Slurm {self.release}")
        # It outlives this program on purpose; without this, Popen's destructor warns about it.
        child.returncode = 0
        note = {
            "init": [found[0].pid, found[0].started_ticks],
            "project": str(paths.PROJECT),
            "cgroup": cgroup,
            "groups": list(map(str, groups)),
        }
        self._note.write_text(json.dumps(note), encoding="utf-8")

    def _end(self) -> None:
        running = self.running()
        if running is not None:
            process.end([running.init], grace_s=0)
            for group in running.groups:
                wait_until(lambda group=group: not _members(group), f"the end of the processes of {group}")
                remove_groups(group)
        self._note.unlink(missing_ok=True)

    def _groups(self, cgroup: str) -> list[Path]:
        """Its control groups on this machine, below those that this program is in."""
        own = {}
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                own[controllers] = path.partition(f"/{self.name}")[0].lstrip("/")
        if cgroup == "v1":
            return [CGROUPS / name / own[name] / self.name for name in _hierarchies()]
        whole = CGROUPS if (CGROUPS / "cgroup.procs").exists() else CGROUPS / "unified"
        return [whole / own[""] / self.name]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if os.geteuid() != 0:
            raise LabError("only root can make and enter namespaces")
        CACHE.mkdir(mode=0o755, exist_ok=True)
        with (CACHE / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _hierarchies() -> list[str]:
    return [name for name in HIERARCHIES if (CGROUPS / name / "cgroup.procs").exists()]


def _members(group: Path) -> list[str]:
    return [pid for directory, _, _ in os.walk(group) for pid in _processes(Path(directory))]


def _processes(group: Path) -> list[str]:
    try:
        return (group / "cgroup.procs").read_text("ascii").split()
    except OSError:
        return []


def remove_groups(top: Path) -> None:
    """Take away a control group with those in it, the innermost first."""
    for directory, _, _ in os.walk(top, topdown=False):
        Path(directory).rmdir()
