"""Running other programs: one place that turns a failing command into a LabError with its output."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from .errors import LabError


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, text: str | None = None) -> str:
    """Standard output of a command. Raises LabError with its outputs where it fails or isn't there."""
    try:
        done = subprocess.run(argv, env=env, input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LabError(f"{argv[0]}: {error}") from error
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def wait_until(ready: Callable[[], bool], what: str, timeout_s: float = 20.0, every_s: float = 0.05) -> None:
    """Poll until `ready()`. Raises LabError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > end:
            raise LabError(f"{what}: not ready after {timeout_s:g} s")
        time.sleep(every_s)
