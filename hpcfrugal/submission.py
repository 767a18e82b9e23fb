"""One job on its way from its file to its backend: run directory, script, sidecar, submission."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcfrugal import __version__
from hpcfrugal.backends.base import Backend, Submitted
from hpcfrugal.backends.commands import NoAnswer
from hpcfrugal.backends.output import DEFAULT_OUTPUT, expand_output
from hpcfrugal.bundle import cached_sidecar
from hpcfrugal.config import Config, cache_dir, template_dirs
from hpcfrugal.errors import HpcfrugalError, InputError, Problem, SetupError
from hpcfrugal.jobspec import JobSpec, job_from_mapping, load_job
from hpcfrugal.jobspec.batch_script import read_directives
from hpcfrugal.options import sbatch_options
from hpcfrugal.render import DEFAULT_PYTHONS, Rendered, UserScript, render
from hpcfrugal.spool import RunDir, new_run_id, write_json_atomic

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", re.IGNORECASE)


_HELD_BY_SLURM = ("cpus_per_task", "mem", "mem_per_cpu", "gpus", "gpus_per_node", "gpus_per_task", "gres")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that is checked and rendered, with nothing written yet."""

    source: Path
    spec: JobSpec
    run_id: str
    run_dir: RunDir
    created_at: datetime
    workdir: Path
    rendered: Rendered
    arguments: tuple[str, ...]
    user_script: bytes | None


def prepare(source: Path, backend: Backend, config: Config, *, now: datetime | None = None) -> Prepared:
    """Load, check and render a job file. Writes nothing.

    Raises:
        InputError: every problem of the file at once.
    """
    spec = load_job(source)
    slurm = backend.name != "local"
    if not slurm:
        _refuse_for_local(spec, source)
    created_at = now or datetime.now(UTC)
    run_id = new_run_id(created_at, secrets.token_hex(8))
    run_dir = RunDir.of(config.spool, run_id)
    user_script = script = None
    if spec.script is not None:
        user_script = _read_script(Path(spec.script), source)
        script = UserScript(_interpreter(user_script), str(run_dir.user_script), _text(user_script))
    flags = flags_for(spec)
    rendered = render(
        spec,
        flags=[flag for flag in flags if not _needs_argv(flag)],
        script=script,
        run_id=run_id,
        run_dir=run_dir.path,
        slurm=slurm,
        pythons=config.sidecar_python or (sys.executable, *DEFAULT_PYTHONS),
        template_dirs=template_dirs(),
        where=str(source),
    )
    workdir = Path(spec.workdir) if spec.workdir else Path.cwd()
    arguments = tuple(flag for flag in flags if _needs_argv(flag))
    return Prepared(source, spec, run_id, run_dir, created_at, workdir, rendered, arguments, user_script)


def _needs_argv(flag: str) -> bool:
    """A line break (in a directory's name, say) fits on no #SBATCH line, but well in an argument."""
    return "\n" in flag or "\r" in flag


def schedule_left_out(prepared: Prepared, *, slurm: bool) -> list[str]:
    """Keys of ``schedule`` that are kept with the run but do not yet decide when it starts.

    Raises:
        SetupError: the job is to be refused without a forecast, and there is none.
    """
    schedule = prepared.spec.schedule
    if schedule.require_forecast:
        raise SetupError(
            f"{prepared.source}: schedule.require_forecast: there is no carbon-intensity forecast to be had yet",
            hint="take the key out to let the job start as soon as it can",
        )
    acted_on = {"require_forecast", "earliest"} if slurm else {"require_forecast"}
    return sorted(key for key in schedule.model_fields_set - acted_on if getattr(schedule, key) is not None)


def not_held_to(prepared: Prepared, *, slurm: bool) -> list[str]:
    """Keys of ``resources`` with amounts that only Slurm holds a job to; of those, a local job has its time limit."""
    if slurm:
        return []
    return [key for key in _HELD_BY_SLURM if getattr(prepared.spec.resources, key) is not None]


def output_path(prepared: Prepared, submitted: Submitted, *, slurm: bool) -> str:
    """Where the job's output goes; with Slurm's patterns where only Slurm can fill them in."""
    spec = prepared.spec
    if not slurm:
        names = {"job_id": submitted.job_id, "name": spec.name, "user": getpass.getuser()}
        return str(prepared.workdir / expand_output(spec.output or DEFAULT_OUTPUT, **names))
    name = "slurm-%A_%a.out" if spec.resources.array else f"slurm-{submitted.job_id}.out"
    return str(prepared.workdir / (spec.output or name))


def submit(prepared: Prepared, backend: Backend) -> Submitted:
    """Write the run directory and submit. A refused job leaves nothing behind.

    Raises:
        SetupError: the spool cannot be written, or the backend refuses.
    """
    try:
        run_dir = RunDir.create(prepared.run_dir.path.parent.parent, prepared.run_id, prepared.created_at)
    except OSError as error:
        raise SetupError(
            f"the run directory {prepared.run_dir.path} cannot be made: {error.strerror}",
            hint="set `spool` in the configuration to a directory that you can write and the nodes can see",
        ) from None
    try:
        _write(prepared, run_dir, backend)
        submitted = backend.submit(
            run_dir.script, _local_options(prepared) if backend.name == "local" else prepared.arguments,
            run_id=prepared.run_id, workdir=prepared.workdir,
        )  # fmt: skip
    except NoAnswer:
        raise  # the job may be in the queue: it needs its directory
    except HpcfrugalError:
        shutil.rmtree(run_dir.path, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(run_dir.path, ignore_errors=True)
        raise SetupError(f"the run directory {run_dir.path} cannot be written: {error.strerror}") from None
    write_json_atomic(
        run_dir.submitted_json,
        {
            "schema": 1,
            "cluster": submitted.cluster,
            "job_id": submitted.job_id,
            "submitted_at": datetime.now(UTC).isoformat(),
        },
    )
    return submitted


def _write(prepared: Prepared, run_dir: RunDir, backend: Backend) -> None:
    write_json_atomic(
        run_dir.run_json,
        {
            "schema": 1,
            "run_id": prepared.run_id,
            "user": getpass.getuser(),
            "uid": os.getuid(),
            "created_at": prepared.created_at.isoformat(),
            "hpcfrugal_version": __version__,
            "backend": backend.name,
            "host": socket.gethostname(),
            "source": str(prepared.source),
            "template": prepared.rendered.template_path,
            "spec": public_spec(prepared.spec),
            "plan": None,
        },
    )
    if prepared.spec.energy.enabled:
        sidecar = cached_sidecar(cache_dir())
        try:
            # The same bytes serve all runs: a link costs nothing, where the file system allows it.
            os.link(sidecar, run_dir.sidecar)
        except OSError:
            shutil.copyfile(sidecar, run_dir.sidecar)
    if prepared.user_script is not None:
        _write_private(run_dir.user_script, prepared.user_script, 0o700)
    _write_private(run_dir.script, prepared.rendered.data, 0o600)


def _write_private(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(data)


def public_spec(spec: JobSpec) -> dict[str, Any]:
    """The spec as it is kept beside the run: values of environment variables that look like secrets are not."""
    data: dict[str, Any] = spec.model_dump(mode="json")
    data["env"] = {k: REDACTED if _SECRET_NAME.search(k) else v for k, v in data["env"].items()}
    return data


def flags_for(spec: JobSpec) -> list[str]:
    """Options for the #SBATCH lines; those that a script's own lines state already are not repeated."""
    options = sbatch_options(spec)
    if not spec.directives:
        return options
    stated = read_directives("\n".join(spec.directives), "script").values
    nested: dict[str, Any] = {"script": "script", "name": ""}
    for dotted, value in stated.items():
        section, _, key = dotted.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    own = set(sbatch_options(job_from_mapping(nested)))
    if "name" not in stated:
        # Slurm would name the job after the file that it is handed, which is ours.
        own -= {option for option in own if option.startswith("--job-name=")}
    return [option for option in options if option not in own]


def _local_options(prepared: Prepared) -> list[str]:
    spec = prepared.spec
    options = [f"--job-name={spec.name}", f"--user={getpass.getuser()}"]
    if spec.output is not None:
        options.append(f"--output={spec.output}")
    if spec.error is not None:
        options.append(f"--error={spec.error}")
    if spec.resources.time is not None:
        options.append(f"--limit-s={spec.resources.time.total_seconds()}")
    return options


def _refuse_for_local(spec: JobSpec, source: Path) -> None:
    resources = spec.resources
    problems = []
    if resources.array is not None:
        problems.append(Problem(f"{source}: resources.array", "this machine has no Slurm, and only Slurm runs arrays"))
    if resources.min_nodes is not None and resources.min_nodes > 1:
        problems.append(
            Problem(f"{source}: resources.nodes", f"this machine is one node, {resources.nodes} were asked for")
        )
    if problems:
        raise InputError(problems, hint="submit it where sbatch is to be found, or take these keys out")


def _read_script(path: Path, source: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError.at(f"{source}: script", f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise InputError.at(f"{source}: script", f"{path} is empty")
    return data


def _text(script: bytes) -> str | None:
    """What fits into the batch script, as a copy: text, and below sbatch's limit of 4 MB for a script."""
    try:
        text = script.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text or len(script) > 1_000_000 else text


def _interpreter(script: bytes) -> Sequence[str]:
    """The words of a script's first line, as the kernel reads it (execve(2)); bash where there is none."""
    if script.startswith(b"\x7fELF"):
        return []
    if not script.startswith(b"#!"):
        return ["/bin/bash"]
    line = script.split(b"\n", 1)[0][2:].strip().decode(errors="surrogateescape")
    return line.split(None, 1) or ["/bin/bash"]
