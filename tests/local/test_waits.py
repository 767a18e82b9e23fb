"""How long what runs beside a command is waited for, by value and on a clock of its own."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hpcfrugal.local import session, sidecar
from hpcfrugal.spool import RunDir

RUN_ID = "20261121T100000Z-00000000"


class Clock:
    """Time that passes only in ``sleep``."""

    def __init__(self) -> None:
        self.now_s, self.pauses_s = 0.0, list[float]()

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, span_s: float) -> None:
        self.pauses_s.append(span_s)
        self.now_s += span_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (session, sidecar):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_command_waits_2_s_for_the_first_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(sidecar, "put_sidecar", lambda *_: None)
    monkeypatch.setattr(sidecar.subprocess, "Popen", lambda *_, **__: SimpleNamespace(poll=lambda: None))
    run_dir = RunDir(str(tmp_path / RUN_ID))
    run_dir.path.mkdir()
    sidecar.start_sidecar(run_dir, [])
    assert clock.now_s == pytest.approx(2.0, abs=0.01)


def test_a_sidecar_has_1700_ms_to_end_and_200_ms_after_it_was_killed() -> None:
    waits_s: list[float] = []

    def wait(*, timeout: float) -> None:
        waits_s.append(timeout)
        raise subprocess.TimeoutExpired("sidecar", timeout)

    process = SimpleNamespace(stdin=SimpleNamespace(close=lambda: None), wait=wait, kill=lambda: None)
    sidecar.stop_sidecar(cast(Any, process))
    assert waits_s == [1.7, 0.2]


def test_processes_have_30_s_after_sigterm_as_with_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[tuple[int, int]] = []
    waits_s: list[float] = []
    monkeypatch.setattr(session, "_signal_group", lambda pid, number: signals.append((pid, number)))
    session.end_sessions([4, 5], lambda wait_s: bool(waits_s.append(wait_s)))
    assert waits_s == [30.0]
    assert signals == [(4, signal.SIGTERM), (5, signal.SIGTERM), (4, signal.SIGKILL), (5, signal.SIGKILL)]


def test_what_a_killed_batch_script_left_has_2_s(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    signals: list[int] = []
    monkeypatch.setattr(session, "_signal_group", lambda _, number: signals.append(number))
    monkeypatch.setattr(session, "_has_members", lambda _: True)
    session.end_rest_of_session(4)
    assert signals == [signal.SIGTERM, signal.SIGKILL]
    assert (clock.now_s, set(clock.pauses_s)) == (pytest.approx(2.0, abs=0.06), {0.05})
