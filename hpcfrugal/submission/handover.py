"""Submission of a prepared job: run directory, sidecar, backend."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import HpcfrugalError, SetupError
from hpcfrugal.core.time import instant_ns
from hpcfrugal.core.user import user_name
from hpcfrugal.job import JobSpec
from hpcfrugal.job.backend import Backend
from hpcfrugal.job.output_path import DEFAULT_OUTPUT, expand_output, expand_slurm_output
from hpcfrugal.local.code_state import code_state
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.documents import RunPlace, SubmittedDocument, own_run, write_document
from hpcfrugal.spool.zipapp import put_sidecar
from hpcfrugal.submission.prepare import Prepared
from hpcfrugal.submission.submitted_job import SubmittedJob

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", re.IGNORECASE)


def submit_prepared(prepared: Prepared, backend: Backend) -> SubmittedJob:
    """Write the run directory and submit the job. A refused job leaves no files.

    Raises:
        SetupError: the spool cannot be written, or the backend refuses.
    """
    try:
        run_dir = RunDir.create(prepared.run_dir.spool, prepared.run_id, prepared.created_at)
    except OSError as error:
        raise SetupError(
            f"the run directory {prepared.run_dir.path} cannot be created: {error.strerror}",
            hint="set `spool` in the configuration to a directory that you can write and the nodes can see",
        ) from None
    try:
        _write(prepared, run_dir, backend)
        # Before the submission: a local job may start, and even end, before that call returns.
        submitted_at = datetime.now(UTC)
        submitted = backend.submit(prepared.for_backend)
    except NoAnswer as error:
        # The job may be in the queue, and needs its directory.
        error.hint = f"the job may be in the queue: see `hpcfrugal status {prepared.run_id}` and `squeue --me`"
        raise
    except HpcfrugalError:
        shutil.rmtree(run_dir.path, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(run_dir.path, ignore_errors=True)
        raise SetupError(f"the run directory {run_dir.path} cannot be written: {error.strerror}") from None
    document = SubmittedDocument(submitted.job_id, submitted.cluster, instant_ns(submitted_at))
    write_document(run_dir.submitted_json, document)
    return SubmittedJob(
        submitted.job_id,
        submitted.cluster,
        prepared.run_id,
        run_dir.path,
        prepared.spec.name,
        _output(prepared, submitted.job_id, slurm=backend.name != "local"),
        prepared.warnings,
        prepared.plan,
    )


def _write(prepared: Prepared, run_dir: RunDir, backend: Backend) -> None:
    document = own_run(
        prepared.run_id,
        prepared.created_at,
        backend.name,
        public_spec(prepared.spec),
        plan=None if prepared.plan is None else prepared.plan.to_json(),
        carbon=RunPlace(prepared.zone, prepared.pue),
        code=code_state(prepared.workdir),
        source=str(prepared.source),
        template=prepared.rendered.template_path,
    )
    write_document(run_dir.run_json, document)
    if prepared.spec.energy.enabled:
        put_sidecar(run_dir.spool, run_dir.sidecar)
    if prepared.user_script is not None:
        _write_private(run_dir.user_script, prepared.user_script, 0o700)
    _write_private(run_dir.script, prepared.rendered.data, 0o600)


def _write_private(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(data)


def public_spec(spec: JobSpec) -> dict[str, Any]:
    """The spec as stored with the run, without the values of environment variables that look like secrets."""
    data: dict[str, Any] = spec.model_dump(mode="json")
    data["env"] = {k: REDACTED if _SECRET_NAME.search(k) else v for k, v in data["env"].items()}
    return data


def _output(prepared: Prepared, job_id: str, *, slurm: bool) -> Path:
    """The path of the job's output; patterns that only Slurm can fill in stay."""
    spec = prepared.spec
    array = spec.resources.array is not None
    if not slurm:
        pattern, own_id = spec.output or DEFAULT_OUTPUT, f"{job_id}_%a" if array else job_id
        return prepared.workdir / expand_output(
            pattern, job_id=own_id, array_job_id=job_id, name=spec.name, user=user_name()
        )
    pattern = spec.output or ("slurm-%A_%a.out" if array else "slurm-%j.out")
    return prepared.workdir / expand_slurm_output(pattern, job_id=job_id, name=spec.name, user=user_name(), array=array)
