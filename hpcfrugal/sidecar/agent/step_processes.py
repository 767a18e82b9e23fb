"""What the processes of a job's steps show: its id, its user, and the CPUs and GPUs that Slurm gave it.

The id is in the title of slurmstepd, which belongs to root, as ``slurmstepd: [17.batch]``. What a user could have
written counts only where it takes nothing from others: the environment names GPUs, and one that two jobs name counts
for neither; its number of CPUs divides idle energy where no control group has them, and all jobs together get no more
than there is.
"""

from __future__ import annotations

import os

from ..gpu_selection import entries_of, slurm_list
from ..proc_stat import read_process
from ..sysfs import read_bytes, read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .node_job import NodeJob

DAEMON = b"slurmstepd"
_TITLE = b"slurmstepd: ["
_MOST_FOLDERS = 64
_MOST_PROCESSES = 8
"""Groups of a job, and processes of each, that are looked at: the first task of the first step is enough."""

_MOST_GPUS = 256
"""What environments name beyond that is left out: a user could name any number of them."""

_MOST_CPUS = 8192
"""Linux knows no more (``NR_CPUS`` in arch/x86/Kconfig). A record with a larger number than the reader's own limit does
not count, and with it the energy of all jobs of the node."""


def job_of_title(proc: str, pid: int) -> str | None:
    """The job id in the title of a slurmstepd that root, or the agent's own user, has started; None for any other."""
    try:
        if os.stat(f"{proc}/{pid}").st_uid not in (0, os.geteuid()):
            return None
        title = read_bytes(f"{proc}/{pid}/cmdline", 256)
    except OSError:
        return None
    if not title.startswith(_TITLE):
        return None
    name = title[len(_TITLE) :]
    digits = name[: len(name) - len(name.lstrip(b"0123456789"))]
    if not 0 < len(digits) <= 10 or name[len(digits) : len(digits) + 1] not in (b".", b"+", b"]"):
        return None
    return digits.decode()


def environ_of(proc: str, pid: int) -> dict[str, str] | None:
    """The environment with which a process was started; None where that may not be read."""
    try:
        text = read_whole(f"{proc}/{pid}/environ").decode("utf-8", "surrogateescape")
    except OSError:
        return None
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)


def note_task(job: NodeJob, proc: str, pid: int) -> None:
    """Note the user of a task of ``job``, and the CPUs and GPUs that its environment names."""
    try:
        uid = os.stat(f"{proc}/{pid}").st_uid
    except OSError:
        return
    environ = environ_of(proc, pid)
    if not environ or "SLURM_JOB_ID" not in environ:
        return
    job.uid = uid if job.uid is None else job.uid
    job.slurm_cpus = job.slurm_cpus or _cpus(environ)
    if not job.is_confined:
        named = (job.gpus or set()) | _gpus(environ)
        job.gpus = named if len(named) <= _MOST_GPUS else job.gpus or set()


def note_group(job: NodeJob, proc: str, directory: str, *, again: bool) -> None:
    """Note what the processes in the groups below ``directory`` show, until all is known; ``again``: those of each
    step that have not been looked at, since another one may have other GPUs."""
    there: set[int] = set()
    for pid in _pids_below(directory):
        there.add(pid)
        if pid in job.looked:
            continue
        process = read_process(proc, pid)
        if process is None:
            continue
        if process.comm == DAEMON:
            job.job_id = job.job_id or job_of_title(proc, pid)
        elif again or None in (job.uid, job.held_cpus, job.gpus):
            note_task(job, proc, pid)
            job.looked.add(pid)
        if job.is_known and not again:
            return
    job.looked &= there


def first_task(proc: str, directory: str) -> int | None:
    """A process of the job with the group ``directory`` that is not Slurm's."""
    for pid in _pids_below(directory):
        process = read_process(proc, pid)
        if process is not None and process.comm != DAEMON:
            return pid
    return None


def _pids_below(directory: str) -> Iterator[int]:
    folders = 0
    for folder, _, files in os.walk(directory):
        folders += 1
        if folders > _MOST_FOLDERS:
            return
        if "cgroup.procs" in files:
            try:
                pids = read_bytes(f"{folder}/cgroup.procs", 4096).split()
            except OSError:
                continue
            yield from [int(pid) for pid in pids[:_MOST_PROCESSES] if pid.isdigit()]


def _cpus(environ: dict[str, str]) -> int | None:
    """The CPUs that a job holds on this node, in Slurm's count. The second variable has those of the step."""
    # "4(x2)": 4 on each of two nodes; "4,2" does not show which of them this node has
    of_job = environ.get("SLURM_JOB_CPUS_PER_NODE", "")
    of_job = "" if "," in of_job else of_job.partition("(")[0]
    for text in (of_job, environ.get("SLURM_CPUS_ON_NODE", "")):
        if text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) <= _MOST_CPUS:
            return int(text)
    return None


def _gpus(environ: dict[str, str]) -> set[str]:
    """The GPUs that Slurm gave a job, or one of its steps, by their numbers on the node or by UUID; none of those that
    it shares.

    The numbers of a job are those of the node on which its script runs; steps have the variable too, on any node.
    """
    if "SLURM_SHARDS_ON_NODE" in environ or "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" in environ:
        return set()
    is_step = "SLURM_STEP_ID" in environ
    if is_step and not environ.get("SLURM_STEP_GPUS") and environ.get("SLURM_JOB_NUM_NODES") != "1":
        environ = {name: value for name, value in environ.items() if name != "SLURM_JOB_GPUS"}
    elif not is_step and environ.get("SLURM_JOB_GPUS"):
        environ = {name: value for name, value in environ.items() if name != "SLURM_STEP_GPUS"}
    given = slurm_list(environ)
    if given is not None:
        return set(given.entries)
    # numbers count what the job can see, so that only UUIDs name a device of the node
    return {entry for entry in entries_of(environ.get("CUDA_VISIBLE_DEVICES", "")) if not entry.isdigit()}
