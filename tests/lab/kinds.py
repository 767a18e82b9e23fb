"""The kinds of jobs that Slurm has: of each a batch script, what is done to its jobs, and how they end.

``test_kinds.py`` submits each script twice, by sbatch and by hpcfrugal, and compares. Where there is an event it is of
both jobs, at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .conftest import SPOOL, Lab, until_sampled

PROLOG_FAILS = Path("/var/lib/hpcfrugal-lab/prolog-fails")
"""The prolog of the lab fails where this folder has a file with the name of the job id."""


WAIT = "sleep 5"
"""In a script: it begins in the job by hpcfrugal when the sidecars of the job have begun."""
UNTIL_SAMPLED = "; ".join((until_sampled(), until_sampled(job="${SLURM_JOB_ID_HET_GROUP_1:-$SLURM_JOB_ID}"), WAIT))


@dataclass(frozen=True)
class Kind:
    """``ends``: the state of each execution, and the exit code of those that Slurm did not end. ``event`` gets the lab
    and the ids of both jobs. ``after``: a condition and the kind whose job has to meet it. ``in_ci``: it ends within a
    minute. ``needs_memory_limit``: there are control groups that limit memory. ``never_ran`` executions ended before
    the batch script began.
    """

    name: str
    script: str
    ends: tuple[str, ...]
    event: Callable[[Lab, Sequence[str]], None] | None = None
    after: tuple[str, str] | None = None
    in_ci: bool = True
    needs_memory_limit: bool = False
    never_ran: int = 0

    def script_of(self, who: str) -> str:
        """``who``: plain, or ours."""
        return self.script.replace(WAIT, UNTIL_SAMPLED) if who == "ours" else self.script


def root(lab: Lab, *argv: str) -> str:
    return lab.exec(argv).stdout


def wait_for_state(lab: Lab, jobs: Sequence[str], *states: str) -> None:
    until = time.monotonic() + 90
    while True:
        found = root(lab, "squeue", "-h", "--states=all", "-j", ",".join(jobs), "-o", "%T").split()
        if found and set(found) <= set(states):
            return
        assert time.monotonic() < until, (jobs, states, found)
        time.sleep(0.3)


def wait_for_sidecar(lab: Lab, jobs: Sequence[str]) -> None:
    """Both jobs run, and the sidecar of that by hpcfrugal has begun."""
    wait_for_state(lab, jobs, "RUNNING")
    _, ours = jobs
    until = time.monotonic() + 90
    while not any("\n" in path.read_text() for path in Path("/home/alice", SPOOL).glob(f"*/*/{ours}.*.jsonl")):
        assert time.monotonic() < until, ours
        time.sleep(0.3)
    time.sleep(3)  # it reads again


def requeue(lab: Lab, jobs: Sequence[str]) -> None:
    wait_for_sidecar(lab, jobs)
    root(lab, "scontrol", "requeue", ",".join(jobs))
    start_again(lab, jobs)


def start_again(lab: Lab, jobs: Sequence[str]) -> None:
    """Slurm lets a requeued job wait for two minutes; a test need not."""
    wait_for_state(lab, jobs, "PENDING")
    time.sleep(2)  # slurmd refuses a job whose credential it revoked within the same second
    for job in jobs:
        root(lab, "scontrol", "update", f"JobId={job}", "StartTime=now")


def suspend(lab: Lab, jobs: Sequence[str]) -> None:
    wait_for_state(lab, jobs, "RUNNING")
    root(lab, "scontrol", "suspend", ",".join(jobs))
    time.sleep(3)
    root(lab, "scontrol", "resume", ",".join(jobs))


def cancel(lab: Lab, jobs: Sequence[str]) -> None:
    wait_for_sidecar(lab, jobs)
    root(lab, "scancel", *jobs)


def move(lab: Lab, jobs: Sequence[str]) -> None:
    """To another partition, and free to start."""
    for job in jobs:
        root(lab, "scontrol", "update", f"JobId={job}", "Partition=green")
        root(lab, "scontrol", "release", job)


def fail_node(lab: Lab, jobs: Sequence[str]) -> None:
    wait_for_sidecar(lab, jobs)
    root(lab, "scontrol", "update", "NodeName=n4", "State=DOWN", "Reason=kinds")
    time.sleep(1)
    resume_node(lab)


def resume_node(lab: Lab) -> None:
    """The node may come back by itself, when its slurmd registers."""
    until = time.monotonic() + 30
    while not {"idle", "mixed"} >= set(root(lab, "sinfo", "-hN", "-n", "n4", "-o", "%T").split()):
        assert time.monotonic() < until
        lab.exec(["scontrol", "update", "NodeName=n4", "State=RESUME"], check=False)
        time.sleep(0.5)


def fail_prolog(lab: Lab, jobs: Sequence[str]) -> None:
    """Slurm drains the node, and requeues the jobs and holds them."""
    PROLOG_FAILS.mkdir(exist_ok=True)
    for job in jobs:
        (PROLOG_FAILS / job).touch()
        root(lab, "scontrol", "release", job)
        until = time.monotonic() + 60
        while "drain" not in root(lab, "sinfo", "-hN", "-n", "n4", "-o", "%T"):
            assert time.monotonic() < until
            time.sleep(0.3)
        wait_for_state(lab, [job], "PENDING")
        (PROLOG_FAILS / job).unlink()
        resume_node(lab)
    time.sleep(2)
    for job in jobs:
        root(lab, "scontrol", "release", job)
        root(lab, "scontrol", "update", f"JobId={job}", "StartTime=now")


def preempt(lab: Lab, jobs: Sequence[str]) -> None:
    """A job of a QOS that goes first takes the node, and gives it back."""
    wait_for_sidecar(lab, jobs)
    words = ["sbatch", "--parsable", "--qos=urgent", "-w", "n4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1"]
    urgent = lab.exec(words, user="alice").stdout.strip()
    wait_for_state(lab, jobs, "PENDING")
    wait_for_state(lab, [urgent], "COMPLETED")
    start_again(lab, jobs)


AGAIN = '[ -n "$SLURM_RESTART_COUNT" ] || exec sleep 60\nsleep 5; exit 2\n'
"""Waits to be requeued. By exec, since Slurm signals children first, and a shell might go on before its own signal."""

KINDS = (
    Kind("plain", "echo out; echo err >&2; sleep 5; exit 3\n", ("FAILED|3:0",)),
    Kind("dependency that is met", "sleep 5; exit 4\n", ("FAILED|4:0",), after=("afternotok", "plain")),
    Kind(
        "array with a limit",
        "#SBATCH --array=0-3%2\nsleep 5; echo $SLURM_ARRAY_TASK_ID; exit $SLURM_ARRAY_TASK_ID\n",
        ("COMPLETED|0:0", "FAILED|1:0", "FAILED|2:0", "FAILED|3:0"),
    ),
    Kind(
        "MPI-like steps",
        "#SBATCH -N2 --ntasks-per-node=2\n"
        "srun --mpi=none sh -c 'exit $((SLURM_PROCID == 3))'\n"
        "srun -N1 -n1 --overlap sleep 3 & sleep 1; srun -N1 -n1 --overlap sh -c 'exit 7'; code=$?; wait\n"
        "sleep 5; exit $code\n",
        ("FAILED|7:0",),
    ),
    Kind(
        "steps first on two nodes", "#SBATCH -N2\nsrun sh -c 'echo $SLURM_NODEID; sleep 5; exit 5'\n", ("FAILED|5:0",)
    ),
    Kind(
        "heterogeneous",
        "#SBATCH -N1\n#SBATCH hetjob\n#SBATCH -N2 --mem=300M --time=3 -x n4\n"
        "srun --het-group=0,1 sh -c 'echo $SLURM_PROCID'\nsleep 5; exit 3\n",
        ("FAILED|3:0", "FAILED|3:0"),
    ),
    Kind("requeue", AGAIN, ("REQUEUED", "FAILED|2:0"), requeue),
    Kind("cancelled", "echo up; exec sleep 60\n", ("CANCELLED",), cancel),
    Kind("suspend", "i=0; while [ $i -lt 40 ]; do sleep 0.5; i=$((i + 1)); done; exit 6\n", ("FAILED|6:0",), suspend),
    Kind("move", "#SBATCH --hold\necho $SLURM_JOB_PARTITION; sleep 5; exit 9\n", ("FAILED|9:0",), move),
    Kind(
        "resize",
        "#SBATCH -N2\nsleep 5; scontrol update JobId=$SLURM_JOB_ID NumNodes=1 >/dev/null\n"
        "rm -f slurm_job_${SLURM_JOB_ID}_resize.*; sleep 5; exit 8\n",
        ("RESIZING", "FAILED|8:0"),
    ),
    Kind(
        "shared node",
        "#SBATCH -w n3 -c2\ni=0; while [ $i -lt 1500000 ]; do i=$((i + 1)); done; sleep 5\n",
        ("COMPLETED|0:0",),
    ),
    Kind(
        "no environment",
        '#SBATCH --export=NONE\necho "$HOME $PATH $FROM_OUTSIDE"; srun sh -c \'echo "$FROM_OUTSIDE"\'\n'
        "sleep 5; exit 11\n",
        ("FAILED|11:0",),
    ),
    Kind(
        "reservation", "#SBATCH --reservation=kinds\necho $SLURM_JOB_RESERVATION; sleep 5; exit 12\n", ("FAILED|12:0",)
    ),
    Kind(
        "node failure",
        "#SBATCH -w n4 --no-requeue\nexec sleep 60\n",
        ("NODE_FAIL",),
        fail_node,
    ),
    Kind(
        "preemption",
        "#SBATCH -w n4 --requeue\n" + AGAIN,
        ("PREEMPTED", "FAILED|2:0"),
        preempt,
        in_ci=False,
    ),
    Kind(
        "prolog failure",
        "#SBATCH -w n4 --hold\nsleep 5; exit 2\n",
        ("REQUEUED", "FAILED|2:0"),
        fail_prolog,
        in_ci=False,
        never_ran=1,
    ),
    Kind("time limit", "#SBATCH --time=1\necho up; exec sleep 200\n", ("TIMEOUT",), in_ci=False),
    Kind(
        "out of memory",
        "#SBATCH --mem=200M\nexec python3 -c 'x = bytearray(10**9)'\n",
        ("OUT_OF_MEMORY",),
        needs_memory_limit=True,
    ),
)
"""Federations are out: ``--clusters`` may name no other cluster than this one."""
