"""Jobs in segments and signals: who is asked for a checkpoint, and what a signal from elsewhere does meanwhile."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from segment_job import RUN, Job

pytestmark = [pytest.mark.slow, pytest.mark.alone]

RANK = """
import os, signal, time
def save(*_):
    open("asked", "a").write("x")
    time.sleep(1)
    os._exit(0)
signal.signal(signal.SIGUSR1, save)
open("ready", "w").close()
while True:
    time.sleep(0.05)
"""

# Passes the signal on and waits, as mpirun does with its ranks.
LAUNCHER = """
import signal, subprocess, sys
rank = subprocess.Popen([sys.executable, "rank.py"])
signal.signal(signal.SIGUSR1, lambda *_: rank.send_signal(signal.SIGUSR1))
sys.exit(rank.wait())
"""


@pytest.fixture
def ranked(tmp_path: Path) -> Path:
    (tmp_path / "rank.py").write_text(RANK)
    (tmp_path / "launcher.py").write_text(LAUNCHER)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        f"{sys.executable} rank.py; echo never",
        f"{sys.executable} launcher.py; echo never",
        # A shell that passes it on itself, as its command is in the background.
        f"trap 'kill -USR1 $!; wait $!; exit 0' USR1; {sys.executable} rank.py & wait; exit 3",
        f"trap 'kill -USR1 $!; wait $!; exit 0' USR1; {sys.executable} launcher.py & wait; exit 3",
        # A shell that waits for a command in the foreground can pass on nothing.
        f"trap : USR1; {sys.executable} rank.py",
        f"trap : USR1; {sys.executable} launcher.py | cat",
        f"{sys.executable} rank.py & wait",
    ],
)
def test_a_program_is_asked_once(ranked: Path, command: str) -> None:
    one = Job(ranked, command)
    assert one.run() == (0, "", "")
    assert one.end()["segment"]["outcome"] == "checkpointed"
    assert (ranked / "asked").read_text() == "x"


def test_a_signal_that_ends_the_job_on_its_own_ends_it_also_beyond_the_segment(tmp_path: Path) -> None:
    # Cancelled before the end of its segment, it still takes time when that comes.
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(4), os._exit(5)))\n"
        "open('ready', 'w').close()\n"
        "while True: time.sleep(0.05)\n"
    )
    one = Job(tmp_path, f"exec {sys.executable} slow.py", windows=((0, 3), (100, 110)))
    process = one.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 5
    assert one.calls() == []
    assert one.end()["segment"] is None
    assert one.end()["ended_wall_s"] > one.begun + 3


@pytest.mark.parametrize(("sent", "comes_back"), [(signal.SIGTERM, False), (signal.SIGUSR2, True)])
def test_a_checkpoint_written_while_the_job_is_cancelled_brings_nothing_back(
    tmp_path: Path, sent: signal.Signals, comes_back: bool
) -> None:
    one = Job(tmp_path, f"exec {RUN}", grace_s=20)
    process = one.start(SAVE_S="3", NO_TERM="1")
    one.wait_for("show job 17")
    time.sleep(1)
    process.send_signal(sent)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "saved\n")
    assert one.end()["segment"]["outcome"] == ("checkpointed" if comes_back else "interrupted")
    assert ("requeue incomplete 17" in one.calls()) == comes_back


def test_cancelled_while_its_checkpoint_is_overdue(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN, grace_s=1)
    process = one.start(SAVE_S="8", NO_TERM="1")
    one.wait_for("show job 17")
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert one.calls() == ["show job 17"]
    assert one.end()["segment"]["outcome"] == "interrupted"
