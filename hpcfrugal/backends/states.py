"""Ask Slurm about the runs of a spool and keep its answers there, so that the ledger needs nothing else."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from hpcfrugal.backends import slurm_cli
from hpcfrugal.backends.base import JobState
from hpcfrugal.spool import RunDir, iter_runs, read_json, write_json_atomic

# Fields of a JobState that are the same in JSON.
_PLAIN_KEYS = (
    *("cluster", "job_id", "restart", "array_job_id", "array_task_id", "state", "exit_code", "signal"),
    *("elapsed_s", "partition", "account", "qos", "user", "alloc_cpus"),
)


def refresh_states(spool_root: Path) -> list[str]:
    """Bring ``<job>.<restart>.slurm.json`` up to date for every run that Slurm had not called final.

    All jobs are asked for together. Returns a sentence for each run directory that could not be written.

    Raises:
        SetupError: Slurm does not answer. Nothing is changed then.
    """
    open_runs: dict[tuple[str, str], RunDir] = {}
    for run_dir in iter_runs(spool_root):
        submitted = read_json(run_dir.submitted_json)
        if submitted is None or str(submitted.get("cluster", "")).startswith("local:"):
            continue
        if not _settled(run_dir, str(submitted.get("job_id"))):
            open_runs[str(submitted.get("cluster") or ""), str(submitted.get("job_id"))] = run_dir
    if not open_runs or not slurm_cli.available():
        return []
    backend = slurm_cli.SlurmCli()
    here = backend.cluster()
    runs = {job_id: run_dir for (cluster, job_id), run_dir in open_runs.items() if cluster in {here, ""}}
    refused = []
    for job_id, states in backend.states(list(runs)).items():
        run_dir = runs[job_id]
        try:
            for state in states:
                _keep(run_dir, state)
        except OSError as error:
            refused.append(f"what Slurm says of job {job_id} cannot be kept: {run_dir.path}: {error.strerror}")
    return refused


def kept_states(run_dir: RunDir) -> list[JobState]:
    """What Slurm had said of a run when it was last asked; empty where it was not."""
    states = []
    for path, _ in run_dir.files("slurm"):
        document = read_json(path)
        if document is not None:
            states.append(_state(document))
    return states


def _state(document: dict[str, Any]) -> JobState:
    def time(key: str) -> datetime | None:
        value = document.get(key)
        return datetime.fromisoformat(value) if isinstance(value, str) else None

    known = {key: document.get(key) for key in _PLAIN_KEYS}
    return JobState(
        **known,  # type: ignore[arg-type]
        nodes=tuple(document.get("nodes") or ()),
        submit_at=time("submit_at"),
        eligible_at=time("eligible_at"),
        start_at=time("start_at"),
        end_at=time("end_at"),
    )


def _keep(run_dir: RunDir, state: JobState) -> None:
    path = run_dir.slurm_json(state.job_id, state.restart)
    document = state_document(state)
    if read_json(path) != document:
        write_json_atomic(path, document)


def _settled(run_dir: RunDir, job_id: str) -> bool:
    """Whether everything that this run can still become is known."""
    documents = [document for path, _ in run_dir.files("slurm") if (document := read_json(path)) is not None]
    if not documents or not all(document.get("final") for document in documents):
        return False
    # An array's tasks turn up one by one as they start: it is settled when none waits any more, which the pending
    # remainder (listed under the array's own id) tells. A requeued job comes back under a higher restart.
    last: dict[str, dict[str, Any]] = {}
    for document in sorted(documents, key=lambda document: int(document.get("restart", 0))):
        last[str(document.get("job_id"))] = document
    return (
        all(document.get("state") not in {"PREEMPTED", "NODE_FAIL", "REQUEUED"} for document in last.values())
        and job_id in last
    )


def state_document(state: JobState) -> dict[str, Any]:
    """What is kept of a state in the spool."""

    def iso(time: datetime | None) -> str | None:
        return time.isoformat() if time else None

    return {
        "schema": 1,
        **{key: getattr(state, key) for key in _PLAIN_KEYS},
        "submit_at": iso(state.submit_at),
        "eligible_at": iso(state.eligible_at),
        "start_at": iso(state.start_at),
        "end_at": iso(state.end_at),
        "elapsed_s": state.elapsed_s if state.final else None,
        "nodes": list(state.nodes),
        "final": state.final,
    }
