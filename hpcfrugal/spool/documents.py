"""The small JSON files of a run directory: what was requested, what it became, how it ended, what Slurm reports.

Each is one record. A reader raises ``UnsafeFile`` where the
file as a whole does not count and otherwise returns the record with a list of the fields that were wrong (and have
their defaults). The sidecar's log is here too, for its last line.
"""

from __future__ import annotations

import os
import re
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.core.host import host_name
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import DROP_INVALID, IsoTime, Key, Range, UnixTime
from hpcfrugal.core.safe_read import FileState, StrPath, UnsafeFile, read_tail
from hpcfrugal.core.text import clean_text, plain
from hpcfrugal.core.time import instant_ns
from hpcfrugal.core.user import owner_name, user_name
from hpcfrugal.core.version import __version__
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.spool.json_document import document_json, read_record
from hpcfrugal.spool.layout import JobKey, mark_changed

MAX_LOG_CHARACTERS = 300
"""So much of a log's last line is kept."""

MAX_IDLE_POWER_UW = 10**12
"""An idle power above a megawatt is invalid."""

_LOG_TAIL_BYTES = 8192

_END_OF_THE_JOB = re.compile(
    r"srun: (error: Unable to create step for job .*already completing|Cancelled pending job step|Step created for"
    r"|Job step aborted|forcing job termination|Force Terminated)"
)
"""What srun writes when the job ends while the step of the sidecar waits: the line before it has the reason."""


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a run's energy counts, as known at the submission.

    ``zone`` is the grid zone, ``pue`` how much more the data centre drew for each unit that its machines did
    (ISO/IEC 30134-2, at least 1).
    """

    zone: str | None = None
    pue: Annotated[float | None, Range(1)] = None


@dataclass(frozen=True, slots=True)
class CodeState:
    """The version of the code in a run's working directory when it was submitted or started.

    ``git_clean``: no tracked file differed from the commit. ``dvc_lock_sha256`` is in hexadecimal.
    """

    git_commit: str | None = None
    git_clean: bool | None = None
    dvc_lock_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class RunDocument:
    """``run.json``: what was requested, who requested it, when.

    ``user`` is, of a document that was read, the name that the system gives to the owner of the run; the name in the
    file where it gives none. ``source`` is the job file, ``template`` that of the batch script.
    """

    run_id: str
    user: str | None
    uid: int
    created_wall_ns: Annotated[int | None, IsoTime("created_at")]
    version: Annotated[str | None, Key("hpcfrugal_version")]
    backend: str | None
    host: str | None
    spec: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] | None = None
    carbon: RunPlace = RunPlace()
    code: CodeState = CodeState()
    source: str | None = None
    template: str | None = None

    @property
    def zone(self) -> str | None:
        """The grid zone: that of its plan, else that of the settings at the submission."""
        zone = (self.plan or {}).get("zone")
        return clean_text(zone) if isinstance(zone, str) and zone else self.carbon.zone

    @property
    def pue(self) -> float | None:
        return self.carbon.pue

    @property
    def name(self) -> str | None:
        return _scalar_text(self.spec.get("name"))

    @property
    def sampled(self) -> bool | None:
        """Whether its energy was to be sampled; None where it does not say."""
        energy = self.spec.get("energy")
        enabled = energy.get("enabled") if isinstance(energy, dict) else None
        return enabled if isinstance(enabled, bool) else None

    @property
    def tags(self) -> dict[str, str]:
        """Project, phase and free keys of the job's ``tags``, as texts."""
        return _texts(self.spec.get("tags"))

    def tags_of_task(self, task: str | None) -> dict[str, str]:
        """The tags of a task of its array: its own parameters, where the job has a matrix, and the tags of all."""
        matrix = self.spec.get("matrix")
        tasks = matrix.get("tasks") if isinstance(matrix, dict) else None
        if not isinstance(tasks, list) or task is None or not (task.isascii() and task.isdigit() and len(task) < 8):
            return self.tags
        parameters = tasks[int(task)] if int(task) < len(tasks) else None
        return {**_texts(parameters), **self.tags}


@dataclass(frozen=True, slots=True)
class LabelsDocument:
    """``labels.json``: what its owner changed of a run that exists, with `tag` and `forget`.

    ``name`` replaces that of the run. ``tags`` are added to its own; None removes one. A ``forgotten`` run counts in no
    report, while its files stay.
    """

    name: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    forgotten: bool = False

    def of(self, document: RunDocument) -> RunDocument:
        """The document of the run with these changes."""
        if not self.name and not self.tags:
            return document
        changed = {clean_text(key): None if value is None else _scalar_text(value) for key, value in self.tags.items()}
        tags = {key: text for key, text in {**document.tags, **changed}.items() if text is not None}
        return replace(document, spec={**document.spec, "name": self.name or document.name, "tags": tags})


@dataclass(frozen=True, slots=True)
class SubmittedDocument:
    """``submitted.json``: the job that the run became. For an array, its base id."""

    job_id: str
    cluster: str = ""
    submitted_wall_ns: Annotated[int | None, IsoTime("submitted_at")] = None


@dataclass(frozen=True, slots=True)
class EndDocument:
    """``<job>.<restart>.end.json``: how it ended, as the batch script noted."""

    job_id: str
    restart: int
    array_job_id: str | None = None
    array_task_id: str | None = None
    exit_code: Annotated[int | None, Range(high=255)] = None
    started_wall_ns: Annotated[int | None, UnixTime("started_wall_s")] = None
    ended_wall_ns: Annotated[int | None, UnixTime("ended_wall_s")] = None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of a node beside what was sampled on it.

    ``slurm_cpus`` is Slurm's own count, ``oversubscribed`` whether Slurm may give one CPU of it to several jobs.
    ``idle_power_uw`` has microwatts by component, from ``idle_power_source`` in words; ``tdp_uw`` is the design power
    of all its CPUs.
    """

    node: str
    slurm_cpus: Annotated[int | None, Range(1)] = None
    oversubscribed: bool | None = None
    idle_power_uw: Annotated[tuple[tuple[str, int], ...], Range(1, MAX_IDLE_POWER_UW)] = ()
    idle_power_source: str | None = None
    tdp_uw: Annotated[int | None, Range(1, MAX_IDLE_POWER_UW)] = None


@dataclass(frozen=True, slots=True)
class NodesDocument:
    """``<job>.<restart>.nodes.json``: facts of the nodes of a job, kept when it was over and not changed after.

    One without a name is left out.
    """

    job_id: str
    restart: int
    nodes: Annotated[tuple[NodeFacts, ...], DROP_INVALID]


@dataclass(frozen=True, slots=True)
class LocalDocument:
    """``local.json``: when a job of the local backend starts (None: at once), and the tasks of its array."""

    begin_at: datetime | None = None
    array: str | None = None


Document = RunDocument | LabelsDocument | SubmittedDocument | EndDocument | JobState | NodesDocument | LocalDocument


class _OfJob(Protocol):
    @property
    def job_id(self) -> str: ...
    @property
    def restart(self) -> int: ...


_J = TypeVar("_J", bound=_OfJob)


def write_document(path: Path, document: Document) -> None:
    """Write ``document`` to ``path``, whole or not at all. Raises ``OSError``."""
    write_json_atomic(path, document_json(document))
    mark_changed(path.parent)


def own_run(run_id: str, created_at: datetime, backend: str, spec: dict[str, Any], **more: Any) -> RunDocument:
    """The document of a run that this process makes; ``more`` are fields that not every run has."""
    return RunDocument(
        run_id=run_id,
        user=user_name(),
        uid=os.getuid(),
        created_wall_ns=instant_ns(created_at),
        version=__version__,
        backend=backend,
        host=host_name(),
        spec=spec,
        **more,
    )


def read_run(path: StrPath, owner_uid: int) -> tuple[RunDocument, FileState, list[str]]:
    """Read ``run.json``; its uid must be the owner of the directory, else nothing in it counts."""
    document, state, problems = read_record(RunDocument, path, owner_uid)
    if document.uid != owner_uid:
        raise UnsafeFile(f"has uid {document.uid}, but the directory belongs to uid {owner_uid}")
    if document.run_id != os.path.basename(os.path.dirname(path)):
        raise UnsafeFile("is of another run")
    user = owner_name(owner_uid, document.user)
    if document.user not in (None, user, str(owner_uid)):
        problems.append(f"user: is {(document.user or '')[:80]!r}, but uid {owner_uid} is {user}")
    return document if document.user == user else replace(document, user=user), state, problems


def read_labels(path: StrPath, owner_uid: int) -> tuple[LabelsDocument, FileState, list[str]]:
    """Read ``labels.json``."""
    return read_record(LabelsDocument, path, owner_uid)


def read_submitted(path: StrPath, owner_uid: int) -> tuple[SubmittedDocument, FileState, list[str]]:
    """Read ``submitted.json``; it does not count without a job id."""
    document, state, problems = read_record(SubmittedDocument, path, owner_uid)
    if re.fullmatch(r"[A-Za-z0-9_+-]{1,64}", document.job_id) is None:
        raise UnsafeFile("has no valid job id")
    return document, state, problems


def read_local(path: StrPath, owner_uid: int) -> tuple[LocalDocument, FileState, list[str]]:
    """Read ``local.json``."""
    return read_record(LocalDocument, path, owner_uid)


def read_end(path: StrPath, owner_uid: int, job: JobKey) -> tuple[EndDocument, FileState, list[str]]:
    """Read the end document of ``job``."""
    return _of_job(job, read_record(EndDocument, path, owner_uid))


def read_slurm(path: StrPath, owner_uid: int, job: JobKey) -> tuple[JobState, FileState, list[str]]:
    """Read what Slurm reported of ``job``."""
    return _of_job(job, read_record(JobState, path, owner_uid))


def read_nodes(path: StrPath, owner_uid: int, job: JobKey) -> tuple[NodesDocument, FileState, list[str]]:
    """Read the facts of the nodes of ``job``."""
    return _of_job(job, read_record(NodesDocument, path, owner_uid))


def read_log(path: StrPath, owner_uid: int) -> tuple[str | None, FileState]:
    """The last line of a log that is not blank, harmless to print; None where there is none. Lines about the end of the
    job are only taken where there is no other.

    Other programs (srun, a shell) write to it too, so control characters are replaced.
    """
    tail, status = read_tail(path, _LOG_TAIL_BYTES, owner_uid)
    texts = (line.decode("utf-8", "replace").replace("\t", " ").strip() for line in reversed(tail.split(b"\n")))
    lines = [text for text in texts if text]
    reasons = (text for text in lines if not _END_OF_THE_JOB.match(text))
    last = next(reasons, lines[0] if lines else None)
    return None if last is None else plain(last, MAX_LOG_CHARACTERS), FileState.of(status)


def _of_job(job: JobKey, found: tuple[_J, FileState, list[str]]) -> tuple[_J, FileState, list[str]]:
    """A document that has to be of this very job."""
    document = found[0]
    if (document.job_id, document.restart) != (job.job_id, job.restart):
        raise UnsafeFile(f"is of job {document.job_id[:40]} restart {document.restart}")
    return found


def _texts(values: Any) -> dict[str, str]:
    """The scalars of an object as texts; none where it is no object."""
    if not isinstance(values, dict):
        return {}
    texts = {clean_text(key): _scalar_text(value) for key, value in values.items()}
    return {key: text for key, text in texts.items() if text is not None}


def _scalar_text(value: Any) -> str | None:
    """A scalar as text; None for null, lists and objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return clean_text(value)
    return str(value) if isinstance(value, int | float) else None
