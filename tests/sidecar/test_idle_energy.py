"""Idle energy over the channels of a component: exact in sum, never more than a channel read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.sidecar.energy_split import divide_idle, steady_energies_uj


@st.composite
def components(draw: st.DrawFn) -> tuple[list[int], list[list[int]]]:
    """Idle energies of some intervals, and what each channel read in them."""
    count = draw(st.integers(1, 4))
    column = st.lists(st.integers(0, 2**62), min_size=count, max_size=count)
    return draw(column), draw(st.lists(column, max_size=8))


@given(component=components(), unread=st.integers(0, 3))
def test_the_parts_sum_to_the_whole_and_none_passes_its_channel(
    component: tuple[list[int], list[list[int]]], unread: int
) -> None:
    idle_uj, read = component
    parts = divide_idle(idle_uj, read, len(read) + unread)
    assert len(parts) == len(read)
    for at, idle in enumerate(idle_uj):
        if read:
            whole = min(idle * len(read) // (len(read) + unread), sum(column[at] for column in read))
            assert sum(part[at] for part in parts) == whole
        assert all(0 <= part[at] <= column[at] for part, column in zip(parts, read, strict=True))


@pytest.mark.parametrize(
    ("idle_uj", "read", "channels", "parts"),
    [
        (60, [100, 100], 2, [30, 30]),
        (60, [150, 50], 2, [45, 15]),
        (61, [100, 100], 2, [30, 31]),
        (60, [20, 10], 2, [20, 10]),
        (60, [100], 2, [30]),
        (60, [], 2, []),
        (60, [0, 0], 2, [0, 0]),
        (60, [100], 1, [60]),
        (60, [20], 1, [20]),
    ],
)
def test_it_is_divided_by_what_was_read(idle_uj: int, read: list[int], channels: int, parts: list[int]) -> None:
    columns = [[energy_uj, 2 * energy_uj] for energy_uj in read]
    divided = divide_idle([idle_uj, 0], columns, channels)
    assert divided == [[part, 0] for part in parts]


def test_sixty_watts_over_ten_seconds() -> None:
    assert steady_energies_uj(60_000_000, [0, 10 * 10**9]) == [0, 600_000_000]
    assert steady_energies_uj(1, [10**9 - 1]) == [0]
