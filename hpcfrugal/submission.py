"""One job on its way from its file to its backend: run directory, script, sidecar, submission."""

from __future__ import annotations

import math
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
from typing import TYPE_CHECKING, Any

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
from hpcfrugal.render import DEFAULT_PYTHONS, Rendered, SegmentPlan, UserScript, render
from hpcfrugal.spool import RunDir, new_run_id, write_json_atomic
from hpcfrugal.user import user_name

if TYPE_CHECKING:
    from hpcfrugal.planning.plan import Plan
    from hpcfrugal.queues.entry import Entrance

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", re.IGNORECASE)


_HELD_BY_SLURM = ("cpus_per_task", "mem", "mem_per_cpu", "gpus", "gpus_per_node", "gpus_per_task", "gres")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that is checked, planned and rendered, with nothing written yet.

    ``plan`` is None for a job that starts as soon as it can, ``zone`` where no grid zone is known, ``pue`` where the
    data centre's is not.
    """

    source: Path
    spec: JobSpec
    run_id: str
    run_dir: RunDir
    created_at: datetime
    workdir: Path
    rendered: Rendered
    arguments: tuple[str, ...]
    user_script: bytes | None
    plan: Plan | None
    zone: str | None
    pue: float | None = None


@dataclass(slots=True)
class Company:
    """The jobs that are submitted together: in a queue, each leaves room for those before it."""

    entrance: Entrance | None = None


def prepare(
    source: Path,
    backend: Backend,
    config: Config,
    *,
    now: datetime | None = None,
    start_now: bool = False,
    queue: str | None = None,
    company: Company | None = None,
) -> Prepared:
    """Load, check, plan and render a job file. Writes nothing.

    Args:
        start_now: it is not put off.
        queue: the low-carbon queue to wait in, whatever the file says.
        company: the jobs that it is submitted with.

    Raises:
        InputError: every problem of the file at once.
        SetupError: there is no forecast, and the file says ``require_forecast``.
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
    spec, plan = _planned(
        spec, source, config, created_at, slurm=slurm, start_now=start_now, queue=queue, company=company or Company()
    )
    segments = _segments(spec, plan)
    flags = flags_for(spec, begin=plan.begin_at if plan is not None else None, interrupted=segments is not None)
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
        segments=segments,
    )
    workdir = Path(spec.workdir) if spec.workdir else Path.cwd()
    arguments = tuple(flag for flag in flags if _needs_argv(flag))
    zone = spec.schedule.zone or config.carbon_zone
    return Prepared(
        source, spec, run_id, run_dir, created_at, workdir, rendered, arguments, user_script, plan, zone,
        config.carbon_pue,
    )  # fmt: skip


def _planned(
    spec: JobSpec,
    source: Path,
    config: Config,
    now: datetime,
    *,
    slurm: bool,
    start_now: bool,
    queue: str | None,
    company: Company,
) -> tuple[JobSpec, Plan | None]:
    """The job with what its queue adds to it, and when it runs."""
    if queue is not None:
        spec = spec.model_copy(update={"schedule": spec.schedule.model_copy(update={"queue": queue})})
    if not slurm or spec.schedule.queue is None:
        return spec, _plan(spec, source, config, now, slurm=slurm, start_now=start_now)
    from hpcfrugal.queues.entry import Entrance

    entrance = company.entrance = company.entrance or Entrance(config)
    spec, found = entrance.enter(spec, where=str(source))
    plan = _plan(spec, source, config, now, slurm=slurm, start_now=start_now)
    if found is not None and plan is not None:
        spec, plan = entrance.place(spec, found, plan, now, released=start_now)
    return spec, plan


def _plan(spec: JobSpec, source: Path, config: Config, now: datetime, *, slurm: bool, start_now: bool) -> Plan | None:
    """When to run. A job that starts as soon as it can needs no plan, nor what makes one."""
    schedule = spec.schedule
    if schedule.effective_policy == "asap":
        return None
    from hpcfrugal.planning.job_plan import plan_job, start_now_plan

    if start_now:
        return start_now_plan(spec, now, "--now was given")
    if slurm:
        return plan_job(spec, config, now=now, where=str(source), options=sbatch_options(spec))
    if schedule.require_forecast:
        # It starts at once either way, but not where the forecast that it asks for is not there.
        plan_job(spec, config, now=now, where=str(source), slurm=False)
    return start_now_plan(spec, now, "this machine starts jobs at once")


def _segments(spec: JobSpec, plan: Plan | None) -> SegmentPlan | None:
    """What the batch script of a job in segments needs to know of its plan."""
    told = spec.schedule.interruptible
    if plan is None or not plan.segments or told is None or plan.limit is None or plan.deadline_at is None:
        return None
    return SegmentPlan(
        windows=tuple((int(start.timestamp()), math.ceil(end.timestamp())) for start, end in plan.segments),
        limit_s=math.ceil(plan.limit.total_seconds()),
        deadline_s=int(plan.deadline_at.timestamp()),
        margin_s=math.ceil(plan.wait_most.total_seconds()) if plan.wait_most is not None else 0,
        signal=told.signal,
        grace_s=math.ceil(told.grace.total_seconds()),
        restart_cost_s=math.ceil(told.restart_cost.total_seconds()),
        checkpoint_cost_s=math.ceil(told.checkpoint_cost.total_seconds()),
    )


def _needs_argv(flag: str) -> bool:
    """A line break (in a directory's name, say) fits on no #SBATCH line, but well in an argument."""
    return "\n" in flag or "\r" in flag


def schedule_left_out(prepared: Prepared, *, slurm: bool) -> list[str]:
    """What of ``schedule`` does not decide when the job starts, a sentence each."""
    schedule = prepared.spec.schedule
    values = {key: getattr(schedule, key) for key in schedule.model_fields_set}
    told = {key for key, value in values.items() if value is not None and value is not False}
    acted_on = {"policy", "earliest"} if slurm else {"policy", "require_forecast"}
    if schedule.effective_policy == "asap":
        why = "the job starts as soon as it can"
    elif slurm:
        return []
    else:
        why = "this machine starts jobs at once"
    left_out = ", ".join(f"schedule.{key}" for key in sorted(told - acted_on))
    return [f"not acted on: {left_out}; {why}"] if left_out else []


def not_held_to(prepared: Prepared, *, slurm: bool) -> list[str]:
    """Keys of ``resources`` with amounts that only Slurm holds a job to; of those, a local job has its time limit."""
    if slurm:
        return []
    return [key for key in _HELD_BY_SLURM if getattr(prepared.spec.resources, key) is not None]


def output_path(prepared: Prepared, submitted: Submitted, *, slurm: bool) -> str:
    """Where the job's output goes; with Slurm's patterns where only Slurm can fill them in."""
    spec = prepared.spec
    if not slurm:
        names = {"job_id": submitted.job_id, "name": spec.name, "user": user_name()}
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
            "user": user_name(),
            "uid": os.getuid(),
            "created_at": prepared.created_at.isoformat(),
            "hpcfrugal_version": __version__,
            "backend": backend.name,
            "host": socket.gethostname(),
            "source": str(prepared.source),
            "template": prepared.rendered.template_path,
            "spec": public_spec(prepared.spec),
            "carbon": {"zone": prepared.zone, "pue": prepared.pue},
            "plan": None if prepared.plan is None else prepared.plan.to_json(),
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


def flags_for(spec: JobSpec, *, begin: datetime | None = None, interrupted: bool = False) -> list[str]:
    """Options for the #SBATCH lines; those that a script's own lines state already are not repeated.

    ``begin`` is the planned begin. A job that is ``interrupted`` is put back in the queue, and goes on in its output.
    """
    options = sbatch_options(spec, begin=begin)
    if interrupted:
        given = {option.partition("=")[0] for option in options}
        options += [option for option in ("--requeue", "--open-mode=append") if option.partition("=")[0] not in given]
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
    options = [f"--job-name={spec.name}", f"--user={user_name()}"]
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
