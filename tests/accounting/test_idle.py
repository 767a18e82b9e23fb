"""Idle energy over the channels of a component: exact in sum, never more than a channel read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.idle import divide_idle, steady_energy_uj

energies = st.lists(st.one_of(st.none(), st.integers(0, 2**62)), min_size=1, max_size=8)


@given(idle_uj=st.integers(0, 2**63), read=energies)
def test_the_parts_sum_to_the_whole_and_none_passes_its_channel(idle_uj: int, read: list[int | None]) -> None:
    parts = divide_idle(idle_uj, read)
    known = [energy_uj for energy_uj in read if energy_uj is not None]
    assert sum(parts) == min(idle_uj * len(known) // len(read), sum(known))
    assert all(0 <= part <= (energy_uj or 0) for part, energy_uj in zip(parts, read, strict=True))


@pytest.mark.parametrize(
    ("idle_uj", "read", "parts"),
    [
        (60, [100, 100], (30, 30)),
        (60, [150, 50], (45, 15)),
        (61, [100, 100], (30, 31)),
        (60, [20, 10], (20, 10)),
        (60, [100, None], (30, 0)),
        (60, [None, None], (0, 0)),
        (60, [0, 0], (0, 0)),
        (60, [100], (60,)),
        (60, [20], (20,)),
        (60, [None], (0,)),
    ],
)
def test_it_is_divided_by_what_was_read(idle_uj: int, read: list[int | None], parts: tuple[int, ...]) -> None:
    assert divide_idle(idle_uj, read) == parts


def test_sixty_watts_over_ten_seconds() -> None:
    assert steady_energy_uj(60_000_000, 10 * 10**9) == 600_000_000
    assert steady_energy_uj(1, 10**9 - 1) == 0
