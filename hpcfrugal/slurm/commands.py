"""Run Slurm's commands: fixed locale and time zone, a time limit, and errors as one sentence."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

from hpcfrugal.core.errors import SetupError

# UTC and a fixed form, whatever the user's profile sets, so that times can be read back.
# squeue cuts lists of array tasks after 64 characters unless told otherwise.
_FIXED = {"TZ": "UTC", "SLURM_TIME_FORMAT": "standard", "LC_ALL": "C", "SLURM_BITSTR_LEN": "16384"}
# Defaults that a user may have set for reading by eye; they would change what we parse.
_DROPPED = (
    *("SQUEUE_FORMAT", "SQUEUE_FORMAT2", "SQUEUE_STATES", "SQUEUE_USERS", "SQUEUE_ALL"),
    *("SACCT_FORMAT", "SINFO_PARTITION"),
)

_PREFIX = re.compile(r"(?:(?:sacct|sbatch|scancel|scontrol|sinfo|squeue): )?(?:(?:error|fatal): )?")
"""What stands before the words of Slurm's commands: "sacct: fatal: ", "sbatch: error: "."""


class NoAnswer(SetupError):
    """A command was ended for taking too long: whether it did its work is not known."""


def start(argv: Sequence[str], *, fixed: bool = True) -> subprocess.Popen[str]:
    """Start one of Slurm's commands.

    Raises:
        SetupError: it is not installed here.
    """
    dropped = _DROPPED if fixed else ("SBATCH_WAIT",)  # sbatch would answer only when the job is over
    environ = {key: value for key, value in os.environ.items() if key not in dropped}
    if fixed:
        environ |= _FIXED
    try:
        return subprocess.Popen(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise SetupError(
            f"{argv[0]} cannot be run: {error.strerror}",
            hint="load the cluster's slurm module; `submit --backend local` runs a job on this machine instead",
        ) from None


def finish(process: subprocess.Popen[str], *, timeout_s: float) -> tuple[int, str, str]:
    """Wait for a command; returns exit code, output, errors.

    Raises:
        SetupError: no answer within ``timeout_s``.
    """
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        end(process)
        assert isinstance(process.args, list)
        raise NoAnswer(
            f"{process.args[0]} gave no answer within {timeout_s:g} s", hint="the Slurm controller may be busy or down"
        ) from None
    return process.returncode, out, err


def end(process: subprocess.Popen[str]) -> None:
    """Kill a command that is not waited for any longer; nothing where it is over.

    What it had started may live on and hold its pipes open (sites wrap these commands in scripts), so they are
    closed and not read to their end.
    """
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def run(argv: Sequence[str], *, timeout_s: float = 60.0) -> tuple[int, str, str]:
    """Run a command to its end; see `start` and `finish`."""
    return finish(start(list(argv)), timeout_s=timeout_s)


def fatal_line(text: str) -> str:
    """The line with which a command gave up, else the first."""
    fatal = [line.partition("fatal: ")[2] for line in text.splitlines() if "fatal: " in line]
    return fatal[-1].strip() if fatal else first_line(text)


def first_line(text: str) -> str:
    """The first line that says something, without the command's own prefix."""
    for line in text.splitlines():
        said = _PREFIX.sub("", line.strip())
        if said:
            return said
    return "no reason given"
