"""Slurm through its own commands: sbatch, squeue, sacct, scancel. Needs nothing but a working client."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.units import compress_nodelist, expand_nodelist
from hpcfrugal.job.backend import JobState, Submitted
from hpcfrugal.slurm import commands

SHORT_S = 5.0
"""So long a person who asks for something else waits for Slurm."""

# Ids are 32 bits of which the two highest numbers are no jobs (slurm.h: NO_VAL, INFINITE).
_MOST_ID = 0xFFFF_FFFD
_BOOKS_OFF = "accounting storage is disabled"

# One command line holds this many job ids; Linux allows far longer ones, Slurm's own buffers are happier.
_BATCH = 1000
# squeue -o letters, one per column of _parse_squeue; none of these can hold the separator.
_SQUEUE = "%A|%F|%K|%T|%V|%S|%e|%P|%a|%q|%u|%C|%N|%r"
_SACCT = (
    "JobIDRaw,JobID,State,ExitCode,Submit,Eligible,Start,End,ElapsedRaw,Partition,Account,QOS,User,AllocCPUS,NodeList"
)


# sinfo -o letters: node, CPUs, what the partition lets jobs share ("NO", "EXCLUSIVE", "YES:4", "FORCE:2").
_SINFO = "%N|%c|%h"
_NOT_SHARED = frozenset({"NO", "EXCLUSIVE"})


@dataclass(frozen=True, slots=True)
class NodeCpus:
    """CPUs of a node as Slurm counts them, and whether one of them may be given to several jobs at once."""

    count: int
    oversubscribed: bool


def available() -> bool:
    """Whether there is an sbatch on the PATH."""
    return shutil.which("sbatch") is not None


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None  # "Unknown", "None", "N/A": Slurm does not know


def _int(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _nodes(text: str) -> tuple[str, ...]:
    if not text or text in {"None assigned", "(null)", "N/A"}:
        return ()
    try:
        return tuple(expand_nodelist(text))
    except ValueError:
        return ()


def is_job_id(text: str) -> bool:
    """Whether Slurm can have given this id to a job. One that it cannot have makes sacct refuse all of a list."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) <= _MOST_ID


def _chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(job_ids), _BATCH):
        yield job_ids[at : at + _BATCH]


class SlurmCli:
    """The backend for a Slurm cluster.

    ``timeout_s`` is how long any of its questions may take; None: as long as a busy controller needs. Submitting and
    cancelling have their own limits.
    """

    name = "slurm_cli"

    def __init__(self, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s
        self._cluster: str | None = None
        self._gives_out_cpus = False

    def cluster(self) -> str:
        """``ClusterName`` of slurm.conf.

        Raises:
            SetupError: the controller does not answer.
        """
        if self._cluster is None:
            self._cluster = self._read_cluster(commands.start(["scontrol", "show", "config"]))
        return self._cluster

    def _wait_s(self, usual_s: float) -> float:
        return usual_s if self._timeout_s is None else min(usual_s, self._timeout_s)

    def _read_cluster(self, process: subprocess.Popen[str]) -> str:
        code, out, err = commands.finish(process, timeout_s=self._wait_s(30))
        cells = (line.partition("=") for line in out.splitlines())
        config = {key.strip(): value.strip() for key, _, value in cells}
        # Where memory alone is what jobs consume, any number of them may be given one CPU (slurm.conf(5)).
        consumed = config.get("SelectTypeParameters", "").upper()
        self._gives_out_cpus = config.get("SelectType") == "select/linear" or any(
            word in consumed for word in ("CR_CPU", "CR_CORE", "CR_SOCKET")
        )
        if "ClusterName" in config:
            return config["ClusterName"]
        raise SetupError(f"Slurm does not answer: {commands.first_line(err)}" if code else "Slurm names no cluster")

    def node_cpus(self, nodes: Sequence[str]) -> Mapping[str, NodeCpus]:
        """Slurm's own count of the CPUs of nodes, by one sinfo; a node that Slurm does not know is left out.

        Raises:
            SetupError: Slurm does not answer.
        """
        if not nodes:
            return {}
        self.cluster()
        argv = ["sinfo", "--Node", "--noheader", "--all", "--exact", "--noconvert"]
        argv += [f"--nodes={compress_nodelist(nodes)}", f"--format={_SINFO}"]
        code, out, err = commands.run(argv, timeout_s=self._wait_s(60))
        if code != 0:
            raise SetupError(f"sinfo failed: {commands.first_line(err)}")
        found: dict[str, NodeCpus] = {}
        for line in out.splitlines():
            cells = line.strip().split("|")
            count = _int(cells[1]) if len(cells) == 3 else None
            if count:
                # A node is listed once for each of its partitions, any of which may let jobs share CPUs.
                before = found.get(cells[0])
                shared = not self._gives_out_cpus or cells[2] not in _NOT_SHARED
                found[cells[0]] = NodeCpus(count, shared or (before is not None and before.oversubscribed))
        return found

    def submit(self, script: Path, arguments: Sequence[str], *, run_id: str, workdir: Path) -> Submitted:
        """Submit by ``sbatch --parsable``."""
        argv = ["sbatch", "--parsable", *arguments, str(script)]
        with contextlib.ExitStack() as stack:
            # The user's environment goes to the job as it is, as with plain sbatch.
            sbatch = commands.start(argv, fixed=False)
            stack.callback(commands.end, sbatch)
            # Asked for while sbatch runs: the two take as long as one. A job that is in the queue must not be
            # taken for refused because this second question failed: its sidecar knows the cluster's name as well.
            config = None
            with contextlib.suppress(SetupError):
                if self._cluster is None:
                    config = commands.start(["scontrol", "show", "config"])
                    stack.callback(commands.end, config)
            code, out, err = commands.finish(sbatch, timeout_s=120)
            if config is not None:
                with contextlib.suppress(SetupError):
                    self._cluster = self._read_cluster(config)
        # "id" or "id;cluster", the last line: site plugins may print before it. Where there is one the job is in
        # the queue, whatever sbatch ended with.
        job_id, _, cluster = (out.strip().splitlines() or [""])[-1].partition(";")
        known = job_id.isascii() and job_id.isdigit()
        if code != 0 and not known:
            if "configuration source" in err or "Unable to contact" in err:
                raise SetupError(
                    f"Slurm cannot be reached: {commands.fatal_line(err)}",
                    hint="is this a login node of the cluster? `submit --backend local` runs a job on this machine",
                )
            raise SetupError(f"sbatch refused the job: {commands.first_line(err)}")
        if not known:
            # It did not refuse: the job may well be in the queue.
            raise commands.NoAnswer(f"sbatch answered {out.strip()!r}, which is not a job id")
        return Submitted(cluster=cluster or self._cluster or "", job_id=job_id)

    def states(self, job_ids: Sequence[str]) -> Mapping[str, Sequence[JobState]]:
        """One squeue and one sacct per thousand jobs; sacct knows the past, squeue the present.

        What is no job id of Slurm's is not asked for, and left out.
        """
        return self.states_and_gone(job_ids)[0]

    def states_and_gone(self, job_ids: Sequence[str]) -> tuple[Mapping[str, Sequence[JobState]], Sequence[str]]:
        """The same, and the ids that neither its books nor its controller know, where the books could be asked.

        Raises:
            SetupError: Slurm does not answer.
        """
        gone: list[str] = []
        found: dict[str, dict[tuple[str, int], JobState]] = {}
        cluster = self.cluster()
        for chunk in _chunks([job_id for job_id in job_ids if is_job_id(job_id)]):
            listed = ",".join(chunk)
            with contextlib.ExitStack() as stack:
                squeue = commands.start(
                    ["squeue", "--noheader", "--array", "--states=all", "-j", listed, "-o", _SQUEUE]
                )
                stack.callback(commands.end, squeue)
                sacct = commands.start(
                    ["sacct", "--parsable2", "--noheader", "--allocations", "--duplicates", "-j", listed,
                     f"--format={_SACCT}"]
                )  # fmt: skip
                stack.callback(commands.end, sacct)
                until = time.monotonic() + self._wait_s(120)
                code, past, err = commands.finish(sacct, timeout_s=self._wait_s(120))
                _, present, _ = commands.finish(squeue, timeout_s=max(until - time.monotonic(), 0.5))
            # A cluster without accounting still has squeue; and squeue fails where every job is long gone.
            if code != 0 and not present:
                raise SetupError(f"sacct failed: {commands.first_line(err)}")
            for state in _parse_sacct(past, cluster):
                found.setdefault(state.array_job_id or state.job_id, {})[state.job_id, state.restart] = state
            for state in _parse_squeue(present, cluster):
                if state.final and code == 0:
                    # Only the books know how it ended, and they are a second or two behind.
                    state = replace(state, state="COMPLETING")
                _merge(found.setdefault(state.array_job_id or state.job_id, {}), state)
            if code == 0 or _BOOKS_OFF in err:
                gone += [job_id for job_id in chunk if job_id not in found]
        known: Mapping[str, Sequence[JobState]] = {
            job_id: list(found[job_id].values()) for job_id in job_ids if job_id in found
        }
        return known, gone

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel by scancel."""
        for chunk in _chunks(list(job_ids)):
            code, _, err = commands.run(["scancel", *chunk])
            if code != 0 and "already completing or completed" not in err:
                raise SetupError(f"scancel failed: {commands.first_line(err)}")


def _parse_squeue(text: str, cluster: str) -> Iterable[JobState]:
    for line in text.splitlines():
        cells = line.strip().split("|", 13)
        if len(cells) != 14:
            continue
        raw, base, task, state, submit, start, end, partition, account, qos, user, cpus, nodes, reason = cells
        in_array = task not in {"N/A", ""}
        running = state not in {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD"}
        yield JobState(
            cluster=cluster,
            job_id=raw,
            restart=0,
            array_job_id=base if in_array else None,
            # Tasks that wait are listed one by one under the array's own id, which none of them has yet.
            array_task_id=task if in_array and (running or raw != base) else None,
            state=state,
            exit_code=None,
            signal=None,
            submit_at=_time(submit),
            eligible_at=None,
            start_at=_time(start) if running else None,
            end_at=_time(end) if state in {"COMPLETED", "FAILED"} else None,
            elapsed_s=None,
            partition=partition or None,
            account=account or None,
            qos=qos or None,
            user=user or None,
            nodes=_nodes(nodes),
            alloc_cpus=_int(cpus) if running else None,
            reason=reason if reason not in {"None", ""} else None,
        )


def _parse_sacct(text: str, cluster: str) -> Iterable[JobState]:
    restarts: dict[str, int] = {}
    rows = [line.split("|", 14) for line in text.splitlines()]
    # --duplicates lists each execution of a requeued job; in the order of their starts they are restart 0, 1, ...
    rows = sorted((row for row in rows if len(row) == 15), key=lambda row: (row[0], row[6], row[4]))
    for raw, shown, state, exit_code, submit, eligible, start, end, elapsed, *rest in rows:
        partition, account, qos, user, cpus, nodes = rest
        restart = restarts.get(raw, -1) + 1
        restarts[raw] = restart
        base, separator, task = shown.partition("_")
        code, _, signal = exit_code.partition(":")
        word = state.split(" ")[0]  # "CANCELLED by 1000"
        ended = _time(end)
        # 0:0 is an exit code only of a script that came to its end; of a cancelled one it means "not known".
        known = ended is not None and (word in {"COMPLETED", "FAILED"} or exit_code != "0:0")
        yield JobState(
            cluster=cluster,
            job_id=raw,
            restart=restart,
            array_job_id=base if separator else None,
            array_task_id=task if separator and "[" not in task else None,
            state=word,
            exit_code=_int(code) if known else None,
            signal=_int(signal) if known else None,
            submit_at=_time(submit),
            eligible_at=_time(eligible),
            start_at=_time(start),
            end_at=ended,
            elapsed_s=_int(elapsed),
            partition=partition or None,
            account=account or None,
            qos=qos or None,
            user=user or None,
            nodes=_nodes(nodes),
            alloc_cpus=_int(cpus) or None,
        )


def _merge(known: dict[tuple[str, int], JobState], state: JobState) -> None:
    """Add what squeue says to what sacct said: it is newer on what is not over, and sacct may lag or be absent."""
    past = [restart for job_id, restart in known if job_id == state.job_id]
    restart = max(past, default=0)
    last = known.get((state.job_id, restart))
    if last is not None and last.final:
        # Over in the books: squeue still lists it for MinJobAge, or it waits to be started again.
        if state.final or state.state == "COMPLETING":
            return
        restart += 1
    if last is not None and not last.final:
        known[state.job_id, restart] = replace(last, state=state.state, reason=state.reason)
    else:
        known[state.job_id, restart] = replace(state, restart=restart)
