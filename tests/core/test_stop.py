"""A signal that asks for the end is noted wherever it comes, and a second one acts as always."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from hpcfrugal.core.stop import END, StopRequest, stop_noted

LONG_S = 60.0
"""A wait that a signal ends; a test that waits for so long has failed."""


def ended_early(stop: StopRequest) -> bool:
    began = time.monotonic()
    return stop.wait(LONG_S) and time.monotonic() - began < LONG_S / 2


def test_nothing_comes() -> None:
    with stop_noted(*END) as stop:
        assert not stop.wait(0.01)
        assert not stop.wait(0)
        assert not stop.requested


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_and_all_later_ones(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in END]
    with stop_noted(*END) as stop:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
        timer.start()
        assert ended_early(stop)
        assert stop.requested
        assert ended_early(stop)
        timer.join()
    assert [signal.getsignal(one) for one in END] == before


def test_a_signal_before_the_wait() -> None:
    with stop_noted(*END) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        assert ended_early(stop)


def test_a_signal_that_another_thread_gets_ends_the_wait() -> None:
    """It interrupts no call of the thread that waits."""
    go = threading.Event()
    other = threading.Thread(target=go.wait)
    other.start()
    with stop_noted(*END) as stop:
        timer = threading.Timer(0.05, lambda: signal.pthread_kill(other.ident or 0, signal.SIGTERM))
        timer.start()
        assert ended_early(stop)
        timer.join()
    go.set()
    other.join()


def test_a_signal_at_any_point_of_the_wait() -> None:
    """Also where the thread that waits would hold a lock."""
    points = 0
    while True:
        left = points

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            frame.f_trace_opcodes = True
            if event == "opcode":
                left -= 1
                if left == -1:
                    signal.raise_signal(signal.SIGTERM)
            return trace

        with stop_noted(*END) as stop:
            tracing = sys.gettrace()
            sys.settrace(trace)
            try:
                stop.wait(0.01)
            finally:
                sys.settrace(tracing)
            assert stop.requested is (left < 0)
        if left >= 0:
            break
        points += 1
    assert points > 20


def test_a_second_signal_acts_as_always() -> None:
    with stop_noted(*END) as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.requested


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_what_somebody_else_ignores_or_handles_is_left_alone(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        with stop_noted(*END) as stop:
            assert signal.getsignal(signal.SIGINT) is handler
            signal.raise_signal(signal.SIGINT)
            assert not stop.wait(0.01)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_is_noted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    def look() -> None:
        with stop_noted(*END) as stop:
            found.extend([signal.getsignal(signal.SIGTERM), stop.wait(0.01)])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before, False]


def test_it_leaves_no_open_file_and_no_wake_up_file() -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    with stop_noted(*END):
        assert len(os.listdir("/proc/self/fd")) == open_before + 2
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert signal.set_wakeup_fd(-1) == -1
