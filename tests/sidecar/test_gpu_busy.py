"""GPU utilisation over time, with every value known."""

from __future__ import annotations

from hpcfrugal.sidecar.gpu_busy import GpuBusy

GAP_NS = 65 * 10**9

S = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 7 * S

    def __call__(self) -> int:
        return self.now_ns


def test_each_value_counts_for_the_time_before_it() -> None:
    clock = Clock()
    busy = GpuBusy(clock)
    assert busy.read_us() == (None, None)
    busy.update([90, 0])
    assert busy.read_us() == (0, 0)
    for seconds, percents in ((1, [50, 100]), (3, [10, 0])):
        clock.now_ns += seconds * S
        busy.update(percents)
    # 0.5 + 0.3 s of the first and 1 s of the second device, of 4 s each
    assert busy.read_us() == (1_800_000, 8_000_000)


def test_time_of_a_failed_reading_is_not_looked_at() -> None:
    clock = Clock()
    busy = GpuBusy(clock)
    for percent in (50, None, 50, 101, 50, 50):
        clock.now_ns += S
        busy.update([percent])
    assert busy.read_us() == (500_000, 1_000_000)


def test_long_gap_is_not_bridged() -> None:
    clock = Clock()
    busy = GpuBusy(clock)
    busy.update([50])
    clock.now_ns += GAP_NS + 1
    busy.update([50])
    clock.now_ns += GAP_NS
    busy.update([100])
    assert busy.read_us() == (GAP_NS // 1000, GAP_NS // 1000)


def test_the_use_of_a_gpu_that_is_never_read_is_unknown() -> None:
    busy = GpuBusy(Clock())
    busy.update([None, None])
    busy.update([None, None])
    assert busy.read_us() == (None, None)
