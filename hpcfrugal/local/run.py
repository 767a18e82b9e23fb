"""A command on this machine with the sidecar beside it: the same sidecar, spool and ledger as for a job."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hpcfrugal.local.child import start_child
from hpcfrugal.local.code_state import code_state
from hpcfrugal.local.identity import cluster_name
from hpcfrugal.local.pid_file import write_pid
from hpcfrugal.local.sidecar import start_sidecar, stop_sidecar
from hpcfrugal.spool import RunDir, new_run_id
from hpcfrugal.spool.documents import CodeState, EndDocument, RunPlace, SubmittedDocument, own_run, write_document
from hpcfrugal.spool.job_names import name_of_command


@dataclass(frozen=True, slots=True)
class RunLabels:
    """What the user calls a run: its name, by default that of the program, and tags as in a job file."""

    name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A command that ran. ``exit_code`` is 128 + n where signal n ended it; ``spool`` holds the run,
    whose directory is None where none could be made. ``temporary``: that spool was made for this run alone."""

    run_dir: RunDir | None
    spool: Path
    exit_code: int
    command_s: float
    temporary: bool = False


def measure_command(
    argv: Sequence[str],
    spool: Path,
    *,
    interval_s: float,
    record_s: float,
    exclusive: bool,
    hardware_counters: bool = False,
    place: RunPlace,
    labels: RunLabels,
) -> tuple[LocalRun, str | None]:
    """Run ``argv`` to its end, measured; signals are forwarded to it. ``place`` and ``labels`` are kept with the run.

    Returns the run and, where ``spool`` could not be written, the reason; then a temporary one is used instead, unless
    that was found at the end of the command. No failure of the measurement keeps the command from running.
    """
    created_at = datetime.now(UTC)
    run_id = new_run_id(created_at, f"{os.getpid()} {time.monotonic_ns()} {os.urandom(8).hex()}")
    options = ["--interval", format(interval_s, "g"), "--record", format(record_s, "g")]
    options += ["--exclusive"] * exclusive + ["--hardware-counters"] * hardware_counters
    problem = run_dir = sidecar = None
    temporary = False
    for folder in (spool, None):
        try:
            if folder is None:
                spool, temporary = Path(tempfile.mkdtemp(prefix="hpcfrugal-")), True
            run_dir = RunDir.create(spool, run_id)
            _describe(run_dir, argv, created_at, place, labels)
            sidecar = start_sidecar(run_dir, options)
            break
        except OSError as error:
            problem = problem or f"{error.filename or spool}: {error.strerror}"
    started_ns, began_ns = time.time_ns(), time.monotonic_ns()
    try:
        code = _exit_code(argv)
    finally:
        elapsed_ns = time.monotonic_ns() - began_ns
        if sidecar is not None:
            stop_sidecar(sidecar)
    if run_dir is not None:
        end = EndDocument(run_id, 0, exit_code=code, started_wall_ns=started_ns, ended_wall_ns=started_ns + elapsed_ns)
        try:
            write_document(run_dir.end_json(run_id, 0), end)
        except OSError as error:
            problem = problem or f"{error.filename or run_dir.path}: {error.strerror}"
    return LocalRun(run_dir, spool, code, elapsed_ns / 1e9, temporary), problem


def _describe(run_dir: RunDir, argv: Sequence[str], created_at: datetime, place: RunPlace, labels: RunLabels) -> None:
    write_pid(run_dir.pid(run_dir.run_id, 0), os.getpid())
    spec = {"name": labels.name or name_of_command(argv), "command": shlex.join(argv), "tags": dict(labels.tags)}
    try:
        code = code_state(Path.cwd())
    except FileNotFoundError:
        code = CodeState()  # the working directory was removed, which does not keep a command from running
    document = own_run(run_dir.run_id, created_at, "run", spec, carbon=place, code=code)
    write_document(run_dir.run_json, document)
    submitted = SubmittedDocument(run_dir.run_id, cluster_name(), document.created_wall_ns)
    write_document(run_dir.submitted_json, submitted)


def _exit_code(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code as a shell gives it, 127 for not found and 126 for not executable."""
    try:
        # It inherits our files: a make jobserver, a socket of systemd, <(...) of the shell.
        with start_child(argv, close_fds=False) as child:
            child.ends_within(None)
    except FileNotFoundError:
        sys.stderr.write(f"hpcfrugal: {argv[0]}: command not found\n")
        return 127
    except OSError as error:
        sys.stderr.write(f"hpcfrugal: {argv[0]}: {error.strerror}\n")
        return 126
    return child.exit_code
