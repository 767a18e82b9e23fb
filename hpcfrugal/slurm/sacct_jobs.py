"""Jobs as sacct lists them: the row of each execution with what its steps add to it.

A requeued job has a row for each execution, with its own time of submission, and a resized one a row for each size
(``RESIZING``, then the rest). Steps follow the row of their job, or stand anywhere in a text that somebody sorted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Annotated

from hpcfrugal.core.record import MAX_INT, Interned
from hpcfrugal.core.units import expand_nodelist
from hpcfrugal.slurm.sacct_fields import NOTHING, AmbiguousInstant, JobName, PerUnit
from hpcfrugal.slurm.sacct_text import NoHeader, SacctRow, SacctStep, SacctText, SetAside
from hpcfrugal.spool.job_state import FINAL_STATES

_TEXT = Interned("texts", "text")
_Name = Annotated[str | None, _TEXT]


@dataclass(slots=True)
class SacctJob:
    """A row of sacct for a job, as the ledger keeps it too. Times are seconds since 1970, amounts of the whole job.

    ``het_job_id`` is the first component of a heterogeneous job, in each of them. ``elapsed_s`` is without the time in
    which it was suspended. ``cpu_us`` is the CPU time of all of its steps, None where Slurm has none, or 0 of a job of
    more than a second: no job does nothing at all, so that was not counted.
    ``max_rss_b`` is that of its largest task. ``nodes`` is Slurm's list, ``gpu_types`` is ``a100=2,v100=1``.
    ``energy_j`` is Slurm's own figure, as printed, beside those of the batch step, the extern step and all numbered
    steps. ``sluid`` is Slurm's unique id of this execution, by which control groups are named from 26.05 on.
    """

    cluster: Annotated[str, _TEXT]
    job_id: str
    submit_s: int
    start_s: int | None = None
    state: Annotated[str, _TEXT] = ""
    array_job_id: str | None = None
    array_task_id: str | None = None
    het_job_id: str | None = None
    eligible_s: int | None = None
    end_s: int | None = None
    elapsed_s: int | None = None
    suspended_s: int | None = None
    user: _Name = None
    account: _Name = None
    partition: _Name = None
    qos: _Name = None
    name: _Name = None
    sluid: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpus: int | None = None
    nodes: Annotated[str, _TEXT] = ""
    node_count: int | None = None
    memory_b: int | None = None
    gpus: int | None = None
    gpu_types: Annotated[str, _TEXT] = ""
    cpu_us: int | None = None
    max_rss_b: int | None = None
    energy_j: int | None = None
    batch_energy_j: int | None = None
    extern_energy_j: int | None = None
    steps_energy_j: int | None = None

    @property
    def final(self) -> bool:
        """Whether this row is over."""
        return self.state in FINAL_STATES or (self.state in ("REQUEUED", "RESIZING") and self.end_s is not None)

    @property
    def shown_id(self) -> str:
        """As Slurm shows its id: ``123_4`` for a task of an array, which has a number of its own beside that."""
        return self.job_id if self.array_task_id is None else f"{self.array_job_id}_{self.array_task_id}"

    @property
    def node_names(self) -> list[str]:
        """The names in the node list, each once."""
        return list(dict.fromkeys(expand_nodelist(self.nodes)))

    @property
    def gpus_by_type(self) -> dict[str, int]:
        """How many GPUs of each type, as far as Slurm names it."""
        pairs = (one.rpartition("=") for one in self.gpu_types.split(",") if one)
        return {kind: int(number) for kind, _, number in pairs}

    @property
    def key(self) -> tuple[str, str, int, int | None]:
        return self.cluster, self.job_id, self.submit_s, self.start_s


@dataclass(frozen=True, slots=True)
class SacctJobs:
    """What a text of sacct holds: its jobs, ``rows`` in all, and what was set aside of them.

    ``repeated`` rows are of a job that another row has too, as where two outputs overlap.
    """

    jobs: tuple[SacctJob, ...]
    rows: int
    steps: int
    repeated: int
    set_aside: tuple[SetAside, ...]


@dataclass(slots=True)
class _Steps:
    """Figures of the steps of one row of a job, by the name of the step: a step that is listed twice counts once."""

    job: SacctJob
    known: dict[str, SacctStep] = field(default_factory=dict)


def read_jobs(lines: Iterable[str], cluster: str, zone: tzinfo | None = None) -> SacctJobs:
    """The jobs in a text of sacct with its header. ``cluster`` is that of rows that do not name one,
    ``zone`` that of times without a zone.

    Raises ``NoHeader`` where the text is not sacct's, or lacks a column that is needed.
    """
    text = SacctText(zone)
    found: dict[tuple[str, str, int, int | None], _Steps] = {}
    by_name: dict[tuple[str, str], list[_Steps]] = {}
    steps: list[tuple[JobName, SacctStep]] = []
    repeated = 0
    for row in text.read(lines):
        name = row.shown_id or row.raw_id
        if name is None:
            continue
        if isinstance(row, SacctStep):
            steps.append((name, row))
            continue
        job = _job(row, name, cluster)
        if job is None:
            text.put_aside(row.line, "Submit", "has no time of submission, or no state", name.job)
            continue
        key = job.key
        before = found.get(key)
        if before is None:
            one = found[key] = _Steps(job)
            by_name.setdefault((job.cluster, _base(name)), []).append(one)
        else:
            repeated += 1
            if job.final or not before.job.final:
                before.job = job
    if lacking := text.lacking():
        raise NoHeader(f"lacks {', '.join(lacking)}: add {'it' if len(lacking) == 1 else 'them'} to --format")
    for name, step in steps:
        jobs = by_name.get((step.cluster or cluster, _base(name)))
        if jobs is None:
            where = f"{_base(name)}.{name.step}"
            text.put_aside(step.line, None, "is a step of a job that has no row here", where)
        else:
            one = jobs[0] if len(jobs) == 1 else _execution(step.start, jobs)
            one.known[name.step or ""] = step
    done = tuple(_with_steps(one) for one in found.values())
    return SacctJobs(done, text.rows, len(steps), repeated, tuple(text.set_aside))


def _base(name: JobName) -> str:
    """The job that a row belongs to, as Slurm shows it."""
    if name.task is None and name.component is None:
        return name.job
    task = "" if name.task is None else f"_{name.task}"
    return f"{name.job}{task}" if name.component is None else f"{name.job}{task}+{name.component}"


def _execution(start: int | None, jobs: list[_Steps]) -> _Steps:
    """Which row of a job a step belongs to: the one that started last before it, else the last one."""
    if start is not None:
        begun = [one for one in jobs if one.job.start_s is not None and one.job.start_s <= max(_both(start))]
        if begun:
            return max(begun, key=lambda one: one.job.start_s or 0)
    return jobs[-1]


def _job(row: SacctRow, name: JobName, cluster: str) -> SacctJob | None:
    if row.submit is None or row.state is None:
        return None
    start_s, end_s, elapsed_s = _times(row)
    resources = row.resources or NOTHING
    cpus = row.cpus or resources.cpus
    nodes = row.nodes or ""
    node_count = row.node_count or resources.nodes or len(set(expand_nodelist(nodes))) or None
    if start_s is not None and not elapsed_s and (row.nodes == "" or not (nodes or cpus)):
        start_s = None  # cancelled before it started: Slurm repeats the time of its end
    exit_code, signal = (None, None) if row.exit is None or end_s is None else row.exit
    if (exit_code, signal) == (0, 0) and row.state not in ("COMPLETED", "FAILED"):
        exit_code = signal = None  # of a job that did not end by itself it means "not known"
    in_array = name.task is not None
    return SacctJob(
        cluster=row.cluster or cluster,
        job_id=_job_id(row),
        submit_s=int(row.submit),
        state=row.state,
        array_job_id=name.job if in_array else None,
        array_task_id=name.task if name.task is not None and "[" not in name.task else None,
        het_job_id=None if name.component is None else name.job,
        eligible_s=None if row.eligible is None else int(row.eligible),
        start_s=start_s,
        end_s=end_s,
        elapsed_s=elapsed_s if start_s is not None else None,
        suspended_s=row.suspended_s,
        user=row.user,
        account=row.account,
        partition=row.partition,
        qos=row.qos,
        name=row.name,
        sluid=row.sluid,
        exit_code=exit_code,
        signal=signal,
        cpus=cpus or None,
        nodes=nodes,
        node_count=node_count,
        memory_b=resources.memory_b or _memory(row.requested_memory, cpus, node_count),
        gpus=_gpus(row),
        gpu_types=resources.gpu_types,
        cpu_us=row.cpu_us,
        max_rss_b=row.max_rss_b,
        energy_j=row.energy_j,
    )


def _gpus(row: SacctRow) -> int | None:
    """How many GPUs; a list of resources without any means none, an empty one that it is not known."""
    resources = row.resources
    if resources is None or resources == NOTHING:
        return None
    return resources.gpus or 0


def _job_id(row: SacctRow) -> str:
    """Slurm's own number of the job. Without ``JobIDRaw``, that of a component of a heterogeneous job follows from the
    first one's, and that of a task of an array is not known: it is called as Slurm shows it."""
    if row.raw_id is not None:
        return _number(row.raw_id)
    return "" if row.shown_id is None else _number(row.shown_id)


def _number(name: JobName) -> str:
    if name.component is not None:
        return str(int(name.job) + name.component)
    return name.job if name.task is None or "[" in name.task else f"{name.job}_{name.task}"


def _memory(requested: PerUnit | None, cpus: int | None, nodes: int | None) -> int | None:
    if requested is None or not requested.unit:
        return None if requested is None else requested.size_b
    size_b = requested.size_b * ((cpus if requested.unit == "cpu" else nodes) or 0)
    return size_b if 0 < size_b <= MAX_INT else None


def _times(row: SacctRow) -> tuple[int | None, int | None, int | None]:
    """Start, end and elapsed time. Where the clock was set back, those that fit the elapsed time are taken."""
    start_s, end_s, elapsed_s = row.start, row.end, row.elapsed_s
    if start_s is None or end_s is None:
        return start_s, end_s, elapsed_s
    if isinstance(start_s, AmbiguousInstant) or isinstance(end_s, AmbiguousInstant):
        length_s = (elapsed_s or 0) + (row.suspended_s or 0)
        pairs = [(first_s, last_s) for first_s in _both(start_s) for last_s in _both(end_s)]
        start_s, end_s = min(pairs, key=lambda pair: abs(pair[1] - pair[0] - length_s))
    end_s = max(start_s, end_s)
    span_s = end_s - start_s
    return start_s, end_s, max(0, span_s - (row.suspended_s or 0)) if elapsed_s is None else min(elapsed_s, span_s)


def _both(at_s: int) -> tuple[int, ...]:
    return (int(at_s), at_s.later) if isinstance(at_s, AmbiguousInstant) else (at_s,)


def _with_steps(one: _Steps) -> SacctJob:
    job, steps = one.job, one.known
    if not job.cpu_us:
        job.cpu_us = _sum(step.cpu_us for step in steps.values())
        if not job.cpu_us and (job.elapsed_s or 0) > 1:
            job.cpu_us = None
    numbered: list[int | None] = []
    for name, step in steps.items():
        if step.max_rss_b is not None and step.max_rss_b > (job.max_rss_b or -1):
            job.max_rss_b = step.max_rss_b
        if name == "batch":
            job.batch_energy_j = step.energy_j
        elif name == "extern":
            job.extern_energy_j = step.energy_j
        else:
            numbered.append(step.energy_j)
    job.steps_energy_j = _sum(numbered)
    return job


def _sum(values: Iterable[int | None]) -> int | None:
    """None where nothing is known, or the sum is more than there can be."""
    known = [value for value in values if value is not None]
    return sum(known) if known and sum(known) <= MAX_INT else None
