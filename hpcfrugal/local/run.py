"""A command on this machine with the sidecar around it: the same sidecar, spool and ledger as for a job."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from hpcfrugal.local.job_process import start_ticks
from hpcfrugal.spool import RunDir, new_run_id
from hpcfrugal.spool.documents import EndDocument, RunPlace, SubmittedDocument, own_run, write_document
from hpcfrugal.spool.zipapp import shared_sidecar

FIRST_SAMPLE_S = 2.0
"""The command waits no longer than this for the first sample."""

LAST_SAMPLE_S = 1.7
"""Nor its end for the last one: the sidecar leaves by itself after 1.5 s."""

KILLED_S = 0.2
"""Seconds for a sidecar that was killed to be gone."""

LOOK_S = 1.0
"""So often the command is looked at although nothing was heard of its end."""

_PASSED_ON = {
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGINT,
    signal.SIGQUIT,
}

_SI_KERNEL = 0x80
"""``si_code`` of a signal that no process sent (Linux: include/uapi/asm-generic/siginfo.h)."""


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A command that ran. ``exit_code`` is 128 + n where signal n ended it; ``spool`` holds the run,
    whose directory is None where none could be made."""

    run_dir: RunDir | None
    spool: Path
    exit_code: int
    command_s: float


def run_command(
    argv: Sequence[str],
    spool: Path,
    *,
    interval_s: float,
    record_s: float,
    exclusive: bool,
    hardware_counters: bool = False,
    zone: str | None = None,
    pue: float | None = None,
) -> tuple[LocalRun, str | None]:
    """Run ``argv`` to its end and measure meanwhile; signals are passed on. Grid zone and PUE are kept with the run.

    Returns the run and, where ``spool`` could not be written and a temporary one stands in, why. Nothing that
    fails on the side of the measurement keeps the command from running.
    """
    created_at = datetime.now(UTC)
    run_id = new_run_id(created_at, f"{os.getpid()} {time.monotonic_ns()} {os.urandom(8).hex()}")
    cluster = f"local:{socket.gethostname().split('.')[0]}"
    trouble = run_dir = sidecar = None
    for place in (spool, None):
        try:
            spool = place or Path(tempfile.mkdtemp(prefix="hpcfrugal-"))
            run_dir = RunDir.create(spool, run_id, created_at)
            _describe(run_dir, argv, created_at, cluster, RunPlace(zone, pue))
            options = ["--exclusive"] * exclusive + ["--hardware-counters"] * hardware_counters
            sidecar = _start_sidecar(run_dir, cluster, interval_s, record_s, options)
            break
        except OSError as error:
            trouble = trouble or f"{error.filename or spool}: {error.strerror}"
    started_at = time.time()
    began = time.monotonic()
    try:
        code = _run(argv)
    finally:
        command_s = time.monotonic() - began
        _stop_sidecar(sidecar)
    if run_dir is not None:
        try:
            _end(run_dir, code, started_at, command_s)
        except OSError as error:
            trouble = trouble or f"{error.filename or run_dir.path}: {error.strerror}"
    return LocalRun(run_dir, spool, code, command_s), trouble


def _end(run_dir: RunDir, code: int, started_at: float, command_s: float) -> None:
    started_ns, ended_ns = (round(at_s * 10**9) for at_s in (started_at, started_at + command_s))
    document = EndDocument(run_dir.run_id, 0, exit_code=code, started_wall_ns=started_ns, ended_wall_ns=ended_ns)
    write_document(run_dir.end_json(run_dir.run_id, 0), document)


def _describe(run_dir: RunDir, argv: Sequence[str], created_at: datetime, cluster: str, place: RunPlace) -> None:
    # By this `status` knows that the run goes on, and `cancel` whom to end.
    run_dir.local_pid.write_text(f"{os.getpid()} {start_ticks(os.getpid())}\n")
    spec = {"name": Path(argv[0]).name, "command": shlex.join(argv)}
    document = own_run(run_dir.run_id, created_at, "run", spec, carbon=place)
    write_document(run_dir.run_json, document)
    write_document(run_dir.submitted_json, SubmittedDocument(run_dir.run_id, cluster, document.created_wall_ns))


def _start_sidecar(
    run_dir: RunDir, cluster: str, interval_s: float, record_s: float, options: Sequence[str]
) -> subprocess.Popen[bytes]:
    """The sidecar, once it has begun."""
    zipapp = shared_sidecar(run_dir.spool)
    words = [sys.executable, "-I", "-S", str(zipapp), "--run-dir", str(run_dir.path), "--run-id", run_dir.run_id]
    words += ["--interval", format(interval_s, "g"), "--record", format(record_s, "g"), "--until-eof"]
    words += ["--root-pid", str(os.getpid()), *options]
    environ = os.environ | {"HPCFRUGAL_JOB_ID": run_dir.run_id, "HPCFRUGAL_CLUSTER": cluster}
    log_path = run_dir.path / f"{run_dir.run_id}.0.sidecar.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, env=environ, start_new_session=True
        )
    until = time.monotonic() + FIRST_SAMPLE_S
    while time.monotonic() < until and process.poll() is None and not _has_begun(run_dir):
        time.sleep(0.002)
    return process


def _has_begun(run_dir: RunDir) -> bool:
    """Whether the header and the first record are there (they are written in one go)."""
    return any(path.stat().st_size > 0 for path in run_dir.path.glob("*.jsonl"))


def _stop_sidecar(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(timeout=LAST_SAMPLE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        # one that hangs in a driver does not even die of that
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=KILLED_S)


def _run(argv: Sequence[str]) -> int:
    """The command's exit code as a shell gives it: 127 not found, 126 cannot be run, 128 + n died of signal n.

    Signals are waited for rather than handled, because only so the kernel tells who sent them. Blocked, they are kept
    even where they are ignored, as a shell has it for what it starts in the background.
    """
    watched = {*_PASSED_ON, signal.SIGCHLD}
    # where this one is ignored, the kernel throws away the exit codes of children
    on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        early = signal.sigpending() & _PASSED_ON
        # What was inherited is the command's too: a make jobserver, a socket of systemd, <(...) of the shell.
        child = subprocess.Popen(
            list(argv), close_fds=False, preexec_fn=partial(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        )
        return _attend(child, watched, early)
    except FileNotFoundError:
        sys.stderr.write(f"hpcfrugal: {argv[0]}: command not found\n")
        return 127
    except OSError as error:
        sys.stderr.write(f"hpcfrugal: {argv[0]}: {error.strerror}\n")
        return 126
    finally:
        # Those that came too late for the command are not for us either: the figures are still to be written.
        while signal.sigtimedwait(watched, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGCHLD, on_child or signal.SIG_DFL)


def _attend(child: subprocess.Popen[bytes], watched: set[signal.Signals], early: set[signal.Signals]) -> int:
    """Pass signals on until the command ends; ``early`` are those that came before there was one."""
    while True:
        code = child.poll()
        if code is not None:
            return code if code >= 0 else 128 - code
        # not for ever: another thread of this process may have taken a signal
        info = signal.sigtimedwait(watched, LOOK_S)
        if info is None or info.si_signo == signal.SIGCHLD:
            continue
        number = signal.Signals(info.si_signo)
        if number in early or not _has_had_it(child.pid, info):
            child.send_signal(number)
        early.discard(number)


def _has_had_it(pid: int, info: signal.struct_siginfo) -> bool:
    """Whether the kernel gave the command the same signal: Ctrl-C and Ctrl-\\ at a terminal go to the whole
    foreground process group, and are not sent by any process."""
    if info.si_code != _SI_KERNEL or info.si_signo not in (signal.SIGINT, signal.SIGQUIT):
        return False
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return True
