"""The lab as a whole: up, down, and whether it is healthy."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from . import daemons, database, hardware, nodes, packages, paths, process, slurm, users
from .errors import LabError
from .shell import wait_until

SOURCES = ("waveform.h", "rapl_daemon.c", "nvml.c", "cgroup2_only.c", "nodes.py", "database.py", "users.py")
DAEMONS = (
    "munged",
    "mariadbd",
    "slurmdbd",
    "slurmctld",
    "rapl",
    *(f"slurmd-{node}" for node in hardware.NODES),
)


def up(proctrack: str | None = None) -> str:
    """Bring up whatever isn't; a healthy lab is left alone. Says in a line what was done.

    `proctrack` is how slurmd follows a job's processes: a lab that is there keeps its own where this is None.
    A lab that was made another way (by older scripts, or with another `proctrack`) is made anew. Raises LabError,
    also where that would end jobs.
    """
    with _alone():
        packages.install(packages.missing())
        kept = paths.PROCTRACK.read_text(encoding="utf-8") if paths.PROCTRACK.exists() else slurm.PROCTRACKS[0]
        proctrack = proctrack or kept
        wanted = _fingerprint(proctrack)
        found = paths.FINGERPRINT.read_text(encoding="utf-8") if paths.FINGERPRINT.exists() else None
        if found == wanted and status()["healthy"]:
            return "the lab is up already"
        if found is not None and found != wanted:
            if jobs := slurm.jobs_in_queue():
                raise LabError(
                    f"the lab was made another way and has {jobs} jobs in its queue; run `scripts/lab down` first"
                )
            _take_down(keep=(paths.VENV,))
        began = time.monotonic()
        _bring_up(wanted, proctrack)
        return f"the lab is up ({time.monotonic() - began:.1f} s)"


def down() -> str:
    """End every process, undo every mount, remove every file and user that the lab made."""
    with _alone():
        if not paths.STATE.exists():
            return "there is no lab"
        _take_down()
        return "the lab is gone"


def status() -> dict[str, object]:
    """What runs, what Slurm says of its nodes and partitions, and whether the counters move."""
    alive = {name: daemons.running(name) is not None for name in DAEMONS}
    states: dict[str, str] = {}
    partitions: list[str] = []
    problem: str | None = None
    if alive["slurmctld"]:
        try:
            states, partitions = slurm.node_states(), slurm.partitions()
        except LabError as error:
            problem = str(error)
    moving = _moving()
    healthy = (
        all(alive.values())
        and all(moving.values())
        and all(slurm.usable(states.get(node, "absent")) for node in hardware.NODES)
        and set(slurm.PARTITIONS) <= set(partitions)
    )
    return {
        "healthy": healthy,
        "state_dir": str(paths.STATE),
        "daemons": alive,
        "nodes": states,
        "partitions": partitions,
        "counters_moving": moving,
        "problem": problem,
    }


def _bring_up(fingerprint: str, proctrack: str) -> None:
    for directory in (paths.STATE, paths.ETC, paths.LOG, paths.PIDS, paths.SPOOL, paths.SPOOL / "ctld"):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    paths.PROCTRACK.write_text(proctrack, encoding="utf-8")
    users.ensure()
    slurm.write_configuration(proctrack)
    with ThreadPoolExecutor(2) as pool:
        mariadb = pool.submit(database.start_mariadb)
        _start_simulators()
        database.start_munge()
        mariadb.result()
    slurm.start_database_daemon()
    slurm.ensure_accounts()
    slurm.start_controller()
    for node in hardware.NODES:
        (paths.SPOOL / node).mkdir(exist_ok=True)
        slurm.slurmd(node).start()
    wait_until(_nodes_usable, "the nodes", timeout_s=30, every_s=0.2)
    paths.FINGERPRINT.write_text(fingerprint, encoding="utf-8")


def _start_simulators() -> None:
    if daemons.running("rapl") is None:
        nodes.compile_simulators()
    nodes.ensure_live()
    for node in hardware.NODES:
        nodes.ensure_node(node)
    nodes.RAPL_DAEMON.start()


def _nodes_usable() -> bool:
    states = slurm.node_states()
    for node in hardware.NODES:
        slurm.slurmd(node).require()
        if states.get(node, "").startswith(("down", "drain")) and not states[node].endswith("*"):
            slurm.client("scontrol", "update", f"nodename={node}", "state=resume")
    return all(slurm.usable(states.get(node, "absent")) for node in hardware.NODES)


def _take_down(keep: tuple[Path, ...] = ()) -> None:
    first = ["slurmctld", *(f"slurmd-{node}" for node in hardware.NODES)]
    daemons.stop(first, grace_s=0)
    # Job steps and whatever they started live in the nodes' namespaces, also when their parents are gone.
    process.end(process.in_namespaces(nodes.namespaces()), grace_s=0)
    daemons.stop(daemons.started_names(), grace_s=0)
    users.remove()
    slurm.remove_cgroups()
    nodes.unmount_all()
    for entry in paths.STATE.iterdir():
        if entry in keep:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not keep:
        paths.STATE.rmdir()


def _moving() -> dict[str, bool]:
    def read() -> dict[str, list[str]]:
        return {node: [f.read_text(encoding="ascii") for f in nodes.energy_files(node)] for node in hardware.NODES}

    try:
        before = read()
        time.sleep(0.05)
        after = read()
    except OSError:
        return dict.fromkeys(hardware.NODES, False)
    return {
        node: all(old != new for old, new in zip(before[node], after[node], strict=True)) for node in hardware.NODES
    }


def _fingerprint(proctrack: str) -> str:
    """Of everything that a running lab was made from; a lab made from something else is made anew."""
    made_from = list(slurm.configuration(proctrack).values())
    made_from += [(paths.KIT / name).read_text(encoding="utf-8") for name in SOURCES]
    made_from.append(hardware.c_header())
    return hashlib.sha256("\0".join(made_from).encode()).hexdigest()


@contextmanager
def _alone() -> Iterator[None]:
    """One `up` or `down` at a time. The lock is on a directory that outlives the lab: it leaves no file."""
    if os.geteuid() != 0:
        raise LabError("only root can bring the lab up or down: it makes users, mounts and Slurm daemons")
    lock = os.open(paths.STATE.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
