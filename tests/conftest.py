"""Fixtures for all tests: a home of its own to run the program in, and an environment that nobody else has changed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A busy machine is no reason for a test of properties to fail.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

OF_OTHERS = (
    *("HPCFRUGAL_", "SLURM", "SBATCH_", "SQUEUE_", "SACCT_", "SINFO_", "SCONTROL_", "SRUN_", "SALLOC_", "XDG_", "GIT_"),
    *("CUDA_", "NVIDIA_", "ROCR_", "HIP_", "GPU_DEVICE_", "ZE_", "ELECTRICITY", "WATTTIME", "ENTSOE", "EIA_"),
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "TERM", "LC_", "LANGUAGE"),
)
"""How variables begin that would change what the program does: those of a job, a login, a terminal or a site."""
OF_TESTS = ("HPCFRUGAL_ALL_KINDS", "HPCFRUGAL_KINDS_AT_ONCE", "HPCFRUGAL_LAB_DOWN", "HPCFRUGAL_WRITE_GOLDEN")
for _name in [name for name in os.environ if name.startswith(OF_OTHERS) and name not in OF_TESTS]:
    del os.environ[_name]
os.environ["LANG"] = "C.UTF-8"
os.umask(0o022)

FAKES = str(Path(__file__).resolve().parent / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from sandbox import Sandbox, end_jobs  # noqa: E402

# Tests that run in the background of a shell, or under nohup, inherit these as ignored, and so would every program that
# they start; tests send them.
for _signal, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, _handler)


@pytest.fixture(autouse=True)
def _users_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that a test writes are of whomever it says, not of the one who runs the test."""
    monkeypatch.setattr("hpcfrugal.spool.documents.owner_name", lambda uid, said: said)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path)
    yield sandbox
    end_jobs(sandbox.spool)
