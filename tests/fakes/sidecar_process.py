"""Runs the built zipapp as a process of its own and reads what it wrote."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DEADLINE_S = 20.0
"""Far more than any step takes, for a machine under load."""

RUN_ID = "20260101T000000Z-0a1b2c3d"


class SidecarProcess:
    """``python3 -I -S sidecar.pyz`` on ``run_dir``; killed at the end of the ``with`` block if need be."""

    def __init__(
        self,
        zipapp: Path,
        run_dir: Path,
        sysfs: Path,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        prefix: Sequence[str] = (),
        interval_s: float = 0.1,
        record_s: float = 0.3,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.run_dir = run_dir
        self.started_at = time.monotonic()
        command = [*prefix, sys.executable, "-I", "-S", str(zipapp), "--run-dir", str(run_dir)]
        command += ["--run-id", RUN_ID, "--interval", str(interval_s), "--record", str(record_s)]
        command += ["--sysfs", str(sysfs), *arguments]
        self.process = subprocess.Popen(command, env=clean_environ(environ or {}), stdin=stdin, stderr=subprocess.PIPE)

    def __enter__(self) -> SidecarProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stderr):
            if stream is not None:
                stream.close()

    @property
    def file(self) -> Path | None:
        """The spool file, None while there is none."""
        return next(iter(sorted(self.run_dir.glob("*.jsonl"))), None)

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines of the spool file."""
        return read_lines(self.file) if self.file else []

    def wait_for_records(self, count: int) -> list[dict[str, Any]]:
        """Wait until ``count`` records stand in the file; returns all lines."""
        return self.wait_for(lambda lines: sum(line["kind"] == "record" for line in lines) >= count)

    def wait_for(self, condition: Any) -> list[dict[str, Any]]:
        """Wait until the lines of the file satisfy ``condition``."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            lines = self.lines()
            if condition(lines):
                return lines
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.01)
        raise AssertionError(f"the sidecar wrote only {self.lines()}")

    def wait_for_handlers(self) -> None:
        """Wait until it no longer ends by a signal; an interpreter that starts does."""
        deadline = time.monotonic() + DEADLINE_S
        status = Path(f"/proc/{self.process.pid}/status")
        while time.monotonic() < deadline:
            masks = dict(line.split(":\t") for line in status.read_text().splitlines() if line.startswith("Sig"))
            if (int(masks["SigCgt"], 16) | int(masks["SigIgn"], 16)) >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.01)
        raise AssertionError("it handles no signals")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float, str]:
        """Send a signal; returns exit code, seconds until it was gone, and stderr."""
        begun = time.monotonic()
        self.process.send_signal(number)
        return self.ended(begun)

    def ended(self, since: float | None = None) -> tuple[int, float, str]:
        """Wait for the end; returns exit code, seconds since ``since`` (or the start), and stderr."""
        _, stderr = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, time.monotonic() - (since or self.started_at), stderr.decode()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a spool file that are whole."""
    found = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def clean_environ(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, plus ``extra``."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", **extra}


def without_override() -> list[str]:
    """Command prefix that makes root obey file modes; empty for a user who does anyway. None of it applies
    where setpriv is missing, then the test that needs it fails with its name."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv, "setpriv (util-linux) is needed to test denied counters as root"
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


def deny(path: Path) -> None:
    """Make a file unreadable for this user (under ``without_override`` for root)."""
    path.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        path.chmod(0)
