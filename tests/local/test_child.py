"""A child process: time limit, kill, exit code, and a wait that a stop of this process does not disturb."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sandbox import wait_until

from hpcfrugal.local.child import FORWARDED, start_child
from hpcfrugal.local.session import end_sessions


def test_child_that_ignores_sigterm_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    script = f"trap '' TERM; touch {tmp_path}/ready; while :; do sleep 0.1; done"
    with start_child(["sh", "-c", script], start_new_session=True) as child:
        wait_until((tmp_path / "ready").exists)
        assert not child.ends_within(0.1)
        begun = time.monotonic()
        end_sessions([child.pid], child.ends_within, grace_s=0.3)
        assert child.ends_within(10)
        assert time.monotonic() - begun >= 0.3
    assert (child.was_killed, child.exit_code) == (True, 128 + signal.SIGKILL)


def test_exit_code_is_not_that_of_a_signal() -> None:
    with start_child(["sh", "-c", "exit 137"]) as child:
        assert child.ends_within(10)
    assert (child.was_killed, child.exit_code) == (False, 137)


def test_signal_mask_is_restored_also_where_nothing_could_start() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with start_child(["/nowhere/command"]):
            raise AssertionError("started")
    except FileNotFoundError:
        pass
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert not before & FORWARDED


def test_signals_by_writes_of_this_process_do_not_end_the_child(tmp_path: Path) -> None:
    """To a pipe that nobody reads, and beyond the limit of a file's size."""
    reading, writing = os.pipe()
    os.close(reading)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with start_child(["sh", "-c", "sleep 0.3; exit 7"]) as child:
        with pytest.raises(BrokenPipeError):
            os.write(writing, b"x")
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"), (tmp_path / "file").open("wb", buffering=0) as file:
                file.write(b"x")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert child.ends_within(10)
    os.close(writing)
    assert child.exit_code == 7


def test_stop_and_continue_of_the_waiting_process() -> None:
    script = """
import sys
from hpcfrugal.local.child import start_child
with start_child(["sh", "-c", "echo ready; sleep 1.2; exit 5"]) as child:
    while not child.ends_within(0.3):
        pass
sys.exit(child.exit_code)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        assert process.wait(timeout=20) == 5
