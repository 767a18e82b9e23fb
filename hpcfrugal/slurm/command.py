"""Run one of Slurm's commands: clean environment, time limit, errors as one sentence."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.quick import dataclass

PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr")
"""All of Slurm's commands that are used; another one is refused, as its name has to be known in error messages."""

# What stands before the message: "sacct: fatal: ", "sbatch: error: ".
_PREFIX = re.compile(rf"(?:(?:{'|'.join(PROGRAMS)}): )?(?:(?:error|fatal): )?")


class NoAnswer(SetupError):
    """A command did not answer in time, or not in a form that can be read: whether it did its work is not known.

    ``result`` is what it had printed by then, None where that is in the message.
    """

    def __init__(self, message: str, *, hint: str | None = None, result: Result | None = None) -> None:
        super().__init__(message, hint=hint)
        self.result = result


def sbatch_path() -> str | None:
    """Where sbatch is; None where it is not on the PATH."""
    return shutil.which("sbatch")


def available() -> bool:
    """Whether Slurm's commands are on the PATH."""
    return sbatch_path() is not None


@dataclass(frozen=True, slots=True)
class Result:
    """What a command returned."""

    program: str
    code: int
    out: str
    err: str

    @property
    def problem(self) -> str | None:
        """Why it failed, as a sentence; None where it did not."""
        return None if self.code == 0 else f"{self.program} failed: {first_line(self.err)}"

    def output(self) -> str:
        """What it printed.

        Raises:
            SetupError: it failed.
        """
        if self.problem is not None:
            raise SetupError(self.problem)
        return self.out


class SlurmCommand:
    """A command that was started.

    Raises:
        SetupError: it is not installed here.
    """

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._program = argv[0]
        if argv[0].rpartition("/")[2] not in PROGRAMS:
            raise ValueError(f"{argv[0]} is not among the PROGRAMS")
        try:
            self._process = subprocess.Popen(
                list(argv),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                process_group=0,  # Ctrl-C is for this process, which waits for the command or kills it
            )
        except OSError as error:
            submits = "; `submit --backend local` runs a job on this machine instead" if argv[0] == "sbatch" else ""
            hint = f"load the cluster's slurm module{submits}"
            raise SetupError(f"{argv[0]} cannot be run: {error.strerror}", hint=hint) from None

    def result(self, timeout_s: float) -> Result:
        """Wait for its end.

        Raises:
            NoAnswer: it did not end within ``timeout_s``, and was killed.
        """
        try:
            out, err = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as expired:
            self.close()
            raise NoAnswer(
                f"{self._program} did not answer within {round(timeout_s, 1):g} s",
                hint="the Slurm controller may be busy or down",
                result=Result(self._program, -1, _text(expired.output), _text(expired.stderr)),
            ) from None
        return Result(self._program, self._process.returncode, out, err)

    def close(self) -> None:
        """Kill it if it still runs.

        What it started may live on and keep its pipes open (sites wrap these commands in scripts), so the pipes are
        closed and not read to their end.
        """
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _text(printed: bytes | str | None) -> str:
    return printed.decode(errors="replace") if isinstance(printed, bytes) else printed or ""


def first_line(text: str) -> str:
    """The first line that is not empty, without the command's own prefix."""
    for line in text.splitlines():
        message = _PREFIX.sub("", line.strip())
        if message:
            return message
    return "no reason given"


def fatal_line(text: str) -> str:
    """The last line marked as fatal, else the first line."""
    fatal = [line.partition("fatal: ")[2] for line in text.splitlines() if "fatal: " in line]
    return fatal[-1].strip() if fatal else first_line(text)
