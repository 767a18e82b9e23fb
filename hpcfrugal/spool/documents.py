"""The small JSON files of a run directory as typed values: run, submitted, end, what Slurm said and the nodes.

Each reader raises ``UnsafeFile`` where the file as a whole does not count and otherwise returns the value with a
list of the fields that were wrong (and are None). The sidecar's log is here too, for its last line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcfrugal.core.json_fields import Fields, clean_text
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile, open_owned, read_object
from hpcfrugal.core.text import plain
from hpcfrugal.core.user import owner_name
from hpcfrugal.spool.layout import SCHEMA_VERSION, JobKey

MAX_LOG_CHARACTERS = 300
"""So much of a log's last line is kept."""

MAX_IDLE_POWER_UW = 10**12
"""An idle power above a megawatt is garbage."""

_LOG_TAIL_BYTES = 8192
_NO_CLUSTER = ""


@dataclass(frozen=True, slots=True)
class RunDocument:
    """``run.json``: what was asked for, by whom, when.

    ``user`` is the name that the system gives to the owner of the run; what the file says where it gives none.
    ``zone`` is the grid zone in which its energy counts, ``pue`` how much more the data centre drew for each unit that
    its machines did (ISO/IEC 30134-2, at least 1), both as known at the submission.
    """

    run_id: str
    user: str | None
    uid: int
    created_wall_ns: int | None
    version: str | None
    backend: str | None
    host: str | None
    spec: dict[str, Any]
    plan: dict[str, Any] | None
    zone: str | None = None
    pue: float | None = None

    @property
    def name(self) -> str | None:
        return _text(self.spec.get("name"))

    @property
    def sampled(self) -> bool | None:
        """Whether its energy was to be sampled; None where it does not say."""
        energy = self.spec.get("energy")
        enabled = energy.get("enabled") if isinstance(energy, dict) else None
        return enabled if isinstance(enabled, bool) else None

    @property
    def tags(self) -> dict[str, str]:
        """Project, phase and free keys of the job's ``tags``, as texts."""
        tags = self.spec.get("tags")
        if not isinstance(tags, dict):
            return {}
        texts = {clean_text(key): _text(value) for key, value in tags.items()}
        return {key: text for key, text in texts.items() if text is not None}


@dataclass(frozen=True, slots=True)
class SubmittedDocument:
    """``submitted.json``: the job that the run became. For an array, its base id."""

    cluster: str
    job_id: str
    submitted_wall_ns: int | None


@dataclass(frozen=True, slots=True)
class EndDocument:
    """``<job>.<restart>.end.json``: the batch script's own word on how it ended."""

    array_job_id: str | None
    array_task_id: str | None
    exit_code: int | None
    started_wall_ns: int | None
    ended_wall_ns: int | None


@dataclass(frozen=True, slots=True)
class SlurmDocument:
    """``<job>.<restart>.slurm.json``: what Slurm says about this attempt."""

    cluster: str | None
    array_job_id: str | None
    array_task_id: str | None
    state: str | None
    exit_code: int | None
    signal: int | None
    submit_wall_ns: int | None
    start_wall_ns: int | None
    end_wall_ns: int | None
    partition: str | None
    account: str | None
    qos: str | None
    user: str | None
    nodes: tuple[str, ...] | None
    alloc_cpus: int | None
    final: bool
    eligible_wall_ns: int | None = None
    """When it could start: submitted, its begin time come, what it depends on over."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known of a node beside what was sampled on it.

    ``slurm_cpus`` is Slurm's own count, ``oversubscribed`` whether Slurm may give one CPU of it to several jobs.
    ``idle_power_uw`` has microwatts by component, from ``idle_power_source`` in words.
    """

    node: str
    slurm_cpus: int | None
    oversubscribed: bool | None
    idle_power_uw: tuple[tuple[str, int], ...]
    idle_power_source: str | None


@dataclass(frozen=True, slots=True)
class NodesDocument:
    """``<job>.<restart>.nodes.json``: facts of the nodes of a job, kept when it was over and not changed after."""

    nodes: tuple[NodeFacts, ...]

    def of(self, node: str) -> NodeFacts | None:
        """The facts of one node; None where there are none."""
        return next((facts for facts in self.nodes if facts.node == node), None)


def nodes_content(job: JobKey, nodes: Iterable[NodeFacts]) -> dict[str, Any]:
    """The JSON of a document of nodes."""
    return {
        "schema": SCHEMA_VERSION,
        "job_id": job.job_id,
        "restart": job.restart,
        "nodes": [
            {
                "node": facts.node,
                "slurm_cpus": facts.slurm_cpus,
                "oversubscribed": facts.oversubscribed,
                "idle_power_uw": dict(facts.idle_power_uw),
                "idle_power_source": facts.idle_power_source,
            }
            for facts in nodes
        ],
    }


def read_run(path: Path, owner_uid: int) -> tuple[RunDocument, FileState, list[str]]:
    """Read ``run.json``; its uid must be the owner of the directory, else nothing in it counts."""
    fields, state = _open(path, owner_uid)
    uid = fields.integer("uid")
    if uid != owner_uid:
        raise UnsafeFile(f"says uid {uid}, but the directory belongs to uid {owner_uid}")
    run_id = fields.text("run_id")
    if run_id != path.parent.name:
        raise UnsafeFile("is of another run")
    said = fields.text("user")
    user = owner_name(owner_uid, said)
    if said not in (None, user, str(owner_uid)):
        fields.problems.append(f"user: says {said[:80]!r}, but uid {owner_uid} is {user}")
    plan = fields.mapping("plan")
    carbon = Fields(fields.mapping("carbon") or {})
    document = RunDocument(
        run_id=run_id,
        user=user,
        uid=owner_uid,
        created_wall_ns=fields.wall_ns("created_at"),
        version=fields.text("hpcfrugal_version"),
        backend=fields.text("backend"),
        host=fields.text("host"),
        spec=fields.mapping("spec") or {},
        plan=plan,
        zone=Fields(plan or {}).text("zone") or carbon.text("zone"),
        pue=_pue(carbon),
    )
    return document, state, [*fields.problems, *(f"carbon: {problem}" for problem in carbon.problems)]


def _pue(carbon: Fields) -> float | None:
    pue = carbon.number("pue")
    if pue is not None and pue < 1:
        carbon.problems.append("pue: less than 1")
        return None
    return pue


def read_submitted(path: Path, owner_uid: int) -> tuple[SubmittedDocument, FileState, list[str]]:
    """Read ``submitted.json``; without a job id it says nothing."""
    fields, state = _open(path, owner_uid)
    job_id = fields.text("job_id")
    if job_id is None or re.fullmatch(r"[A-Za-z0-9_+-]{1,64}", job_id) is None:
        raise UnsafeFile("has no job id")
    document = SubmittedDocument(
        cluster=fields.text("cluster") or _NO_CLUSTER,
        job_id=job_id,
        submitted_wall_ns=fields.wall_ns("submitted_at"),
    )
    return document, state, fields.problems


def read_end(path: Path, owner_uid: int, job: JobKey) -> tuple[EndDocument, FileState, list[str]]:
    """Read the end document of ``job``."""
    fields, state = _open_for(job, path, owner_uid)
    document = EndDocument(
        array_job_id=fields.text("array_job_id"),
        array_task_id=fields.text("array_task_id"),
        exit_code=fields.integer("exit_code", high=255),
        started_wall_ns=fields.wall_ns_of_seconds("started_wall_s"),
        ended_wall_ns=fields.wall_ns_of_seconds("ended_wall_s"),
    )
    return document, state, fields.problems


def read_slurm(path: Path, owner_uid: int, job: JobKey) -> tuple[SlurmDocument, FileState, list[str]]:
    """Read Slurm's word on ``job``."""
    fields, state = _open_for(job, path, owner_uid)
    document = SlurmDocument(
        cluster=fields.text("cluster"),
        array_job_id=fields.text("array_job_id"),
        array_task_id=fields.text("array_task_id"),
        state=fields.text("state"),
        exit_code=fields.integer("exit_code"),
        signal=fields.integer("signal"),
        submit_wall_ns=fields.wall_ns("submit_at"),
        start_wall_ns=fields.wall_ns("start_at"),
        end_wall_ns=fields.wall_ns("end_at"),
        partition=fields.text("partition"),
        account=fields.text("account"),
        qos=fields.text("qos"),
        user=fields.text("user"),
        nodes=fields.texts("nodes"),
        alloc_cpus=fields.integer("alloc_cpus"),
        final=fields.flag("final") or False,
        eligible_wall_ns=fields.wall_ns("eligible_at"),
    )
    return document, state, fields.problems


def read_nodes(path: Path, owner_uid: int, job: JobKey) -> tuple[NodesDocument, FileState, list[str]]:
    """Read the facts of the nodes of ``job``. One without a name is left out."""
    fields, state = _open_for(job, path, owner_uid)
    listed = fields.data.get("nodes")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise UnsafeFile("has no list of nodes")
    nodes = tuple(facts for item in listed if (facts := _facts(Fields(item), fields.problems)) is not None)
    return NodesDocument(nodes), state, fields.problems


def _facts(fields: Fields, problems: list[str]) -> NodeFacts | None:
    node = fields.text("node")
    if not node:
        problems.append("nodes: one without a name")
        return None
    powers = Fields(fields.mapping("idle_power_uw") or {})
    known = {key: powers.integer(key, low=1, high=MAX_IDLE_POWER_UW) for key in sorted(powers.data)}
    facts = NodeFacts(
        node=node,
        slurm_cpus=fields.integer("slurm_cpus", low=1),
        oversubscribed=fields.flag("oversubscribed"),
        idle_power_uw=tuple((clean_text(key), value) for key, value in known.items() if value is not None),
        idle_power_source=fields.text("idle_power_source"),
    )
    problems.extend(f"nodes: {node[:80]}: {problem}" for problem in (*fields.problems, *powers.problems))
    return facts


def read_log(path: Path, owner_uid: int) -> tuple[str | None, FileState]:
    """The last line of a log that is not blank, harmless to print; None where there is none.

    It is what programs said that are not ours (srun, a shell), so control characters are replaced.
    """
    file, state = open_owned(path, owner_uid)
    with file:
        try:
            file.seek(max(0, state.size - _LOG_TAIL_BYTES))
            tail = file.read(min(state.size, _LOG_TAIL_BYTES))
        except OSError as error:
            raise Unreadable(error) from error
    for line in reversed(tail.split(b"\n")):
        text = line.decode("utf-8", "replace").replace("\t", " ").strip()
        if text:
            return plain(text, MAX_LOG_CHARACTERS), state
    return None, state


def _open(path: Path, owner_uid: int) -> tuple[Fields, FileState]:
    data, state = read_object(path, owner_uid)
    schema = data.get("schema")
    if schema != SCHEMA_VERSION or isinstance(schema, bool):
        raise UnsafeFile(f"has schema {str(schema)[:40]}, this program reads {SCHEMA_VERSION}")
    return Fields(data), state


def _open_for(job: JobKey, path: Path, owner_uid: int) -> tuple[Fields, FileState]:
    """A document that has to be of this very job."""
    fields, state = _open(path, owner_uid)
    said = (fields.text("job_id"), fields.integer("restart"))
    if said != (job.job_id, job.restart):
        raise UnsafeFile(f"is of job {str(said[0])[:40]} restart {said[1]}")
    return fields, state


def _text(value: Any) -> str | None:
    """A scalar as text; None for null, lists and objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return clean_text(value)
    return str(value) if isinstance(value, int | float) else None
