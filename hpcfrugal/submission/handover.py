"""Submission of a prepared job: run directory, sidecar, backend."""

from __future__ import annotations

import re
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import HpcfrugalError, SetupError
from hpcfrugal.core.files import new_file, write_all
from hpcfrugal.core.stop import StopRequest, stop_noted
from hpcfrugal.core.text import printable
from hpcfrugal.core.time import instant_ns
from hpcfrugal.core.user import user_name
from hpcfrugal.job import JobSpec
from hpcfrugal.job.backend import Backend
from hpcfrugal.job.output_path import DEFAULT_OUTPUT, expand_output, expand_slurm_output
from hpcfrugal.local.code_state import code_state
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.documents import RunPlace, SubmittedDocument, own_run, write_document
from hpcfrugal.spool.used_spools import note_spool
from hpcfrugal.spool.zipapp import put_sidecar
from hpcfrugal.submission.prepare import Prepared
from hpcfrugal.submission.submitted_job import SubmittedJob
from hpcfrugal.submission.warnings import warnings_of_submitted

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", re.IGNORECASE)


def submit_prepared(prepared: Prepared, backend: Backend) -> SubmittedJob:
    """Write the run directory and submit the job. A refused job leaves no files.

    Raises:
        SetupError: the spool cannot be written, or the backend refuses.
    """
    return _Handover([prepared], backend).submit(prepared)


def submit_all(
    jobs: Sequence[Prepared], backend: Backend, on_submitted: Callable[[Prepared, SubmittedJob], None] | None = None
) -> list[SubmittedJob]:
    """Submit several jobs, as many at a time as the backend takes; ``on_submitted`` gets each in the order of ``jobs``.

    Where one is refused, or on Ctrl-C, no further one is begun, and those that were begun get their answer. The error
    names the job, and has a note on what became of the others.

    Raises:
        SetupError: as for ``submit_prepared``.
        KeyboardInterrupt: on Ctrl-C.
    """
    handover = _Handover(jobs, backend)
    # These count on the order in which Slurm got to see them.
    ordered = any((job.spec.resources.dependency or "").startswith("singleton") for job in jobs)
    at_once = 1 if ordered else min(backend.submits_at_once, len(jobs))
    done: dict[str, SubmittedJob] = {}
    failed: dict[str, HpcfrugalError] = {}
    # An interrupt is not raised in the middle of a submission.
    with stop_noted(signal.SIGINT) as interrupt:
        for job, outcome in _outcomes(handover.submit, jobs, at_once, interrupt):
            if isinstance(outcome, HpcfrugalError):
                failed[job.run_id] = outcome
                continue
            done[job.run_id] = outcome
            if on_submitted is not None:
                on_submitted(job, outcome)
    first = next((job for job in jobs if job.run_id in failed), None)
    error: BaseException | None = None
    if first is not None:
        error = failed[first.run_id]
        if len(jobs) > 1:
            failed[first.run_id].name_place(printable(str(first.source)))
    elif interrupt.requested:
        error = KeyboardInterrupt()
    if error is not None:
        if len(jobs) > 1:
            error.add_note(_what_became([job for job in jobs if job is not first], done, failed))
        raise error
    return [done[job.run_id] for job in jobs]


def _outcomes(
    submit: Callable[[Prepared], SubmittedJob], jobs: Sequence[Prepared], at_once: int, interrupt: StopRequest
) -> Iterator[tuple[Prepared, SubmittedJob | HpcfrugalError]]:
    """What became of each job, in their order, until one is refused or an interrupt comes; then of those that were
    being submitted.
    """
    refused: list[HpcfrugalError] = []

    def attempt(job: Prepared) -> SubmittedJob | HpcfrugalError:
        try:
            return submit(job)
        except HpcfrugalError as error:
            refused.append(error)
            return error

    if at_once <= 1:
        for job in jobs:
            if refused or interrupt.requested:
                return
            yield job, attempt(job)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting = iter(jobs)
    with ThreadPoolExecutor(at_once) as pool:
        running: deque[tuple[Prepared, Future[SubmittedJob | HpcfrugalError]]] = deque(
            (job, pool.submit(attempt, job)) for job in islice(waiting, at_once)
        )
        while running:
            job, future = running.popleft()
            outcome = future.result()
            if not (refused or interrupt.requested):
                running.extend((following, pool.submit(attempt, following)) for following in islice(waiting, 1))
            yield job, outcome


def _what_became(
    jobs: Sequence[Prepared], done: Mapping[str, SubmittedJob], failed: Mapping[str, HpcfrugalError]
) -> str:
    names = {job.run_id: printable(str(job.source)) for job in jobs}
    submitted = [f"{names[job.run_id]} (job {done[job.run_id].job_id})" for job in jobs if job.run_id in done]
    unknown = [names[job.run_id] for job in jobs if isinstance(failed.get(job.run_id), NoAnswer)]
    rest = [name for run_id, name in names.items() if run_id not in done and name not in unknown]
    parts = [f"submitted: {', '.join(submitted) or 'none'}"]
    if unknown:
        parts.append(f"perhaps submitted, as Slurm did not answer: {', '.join(unknown)}")
    return "; ".join([*parts, f"not submitted: {', '.join(rest) or 'no other'}"])


class _Handover:
    """Hands jobs over to a backend; what they have in common is found out once."""

    def __init__(self, jobs: Iterable[Prepared], backend: Backend) -> None:
        self._backend = backend
        self._code = {folder: code_state(folder) for folder in {job.workdir for job in jobs}}
        self._sidecar: Path | None = None
        self._months = set[Path]()

    def submit(self, prepared: Prepared) -> SubmittedJob:
        """See ``submit_prepared``."""
        run_dir = prepared.run_dir
        try:
            self._make(run_dir, prepared.ledger)
        except OSError as error:
            raise SetupError(
                f"the run directory {run_dir.path} cannot be created: {error.strerror}",
                hint="set `spool` in the configuration to a directory that you can write and the nodes can see",
            ) from None
        try:
            self._write(prepared, run_dir)
            # Before the submission: a local job may start, and even end, before that call returns.
            submitted_at = datetime.now(UTC)
            submitted = self._backend.submit(prepared.for_backend)
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
        slurm = self._backend.name != "local"
        warnings = [*prepared.warnings, *warnings_of_submitted(prepared.spec, submitted, slurm=slurm)]
        document = SubmittedDocument(submitted.job_id, submitted.cluster, instant_ns(submitted_at))
        try:
            write_document(run_dir.submitted_json, document)
        except OSError as error:
            # The job is in the queue all the same.
            what = f"{run_dir.submitted_json} cannot be written: {error.strerror}"
            warnings.append(f"{what}; `hpcfrugal status` does not find job {submitted.job_id} by its id")
        return SubmittedJob(
            submitted.job_id,
            submitted.cluster,
            prepared.run_id,
            run_dir.path,
            prepared.spec.name,
            _output(prepared, submitted.job_id, slurm=slurm),
            tuple(warnings),
            prepared.plan,
        )

    def _make(self, run_dir: RunDir, ledger: Path) -> None:
        if (month := run_dir.path.parent) not in self._months:
            run_dir.make_month()
            note_spool(ledger, run_dir.spool)
            self._months.add(month)
        run_dir.make()

    def _write(self, prepared: Prepared, run_dir: RunDir) -> None:
        document = own_run(
            prepared.run_id,
            prepared.created_at,
            self._backend.name,
            public_spec(prepared.spec),
            plan=None if prepared.plan is None else prepared.plan.to_json(),
            carbon=RunPlace(prepared.zone, prepared.pue),
            code=self._code[prepared.workdir],
            source=str(prepared.source),
            template=prepared.rendered.template_path,
        )
        write_document(run_dir.run_json, document)
        if prepared.spec.energy.enabled:
            put_sidecar(run_dir.spool, run_dir.sidecar, self._sidecar)
            self._sidecar = run_dir.sidecar
        if prepared.user_script is not None:
            _write_private(run_dir.user_script, prepared.user_script, 0o700)
        _write_private(run_dir.script, prepared.rendered.data, 0o600)


def _write_private(path: Path, data: bytes, mode: int) -> None:
    with new_file(path, mode) as descriptor:
        write_all(descriptor, data)


def public_spec(spec: JobSpec) -> dict[str, Any]:
    """The spec as stored with the run, without the values of environment variables that look like secrets."""
    data: dict[str, Any] = spec.to_json()
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
