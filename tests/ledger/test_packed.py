"""Energy by time as a row has it: what was packed a moment ago reads as what the ledger has of it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.buckets import EnergyByTime, EnergyCurve, Instants
from hpcfrugal.ledger.packed import pack, unpack

SECOND_NS = 10**9


@st.composite
def energies(draw: st.DrawFn) -> tuple[EnergyByTime, int, int]:
    """Some sessions of a job one after the other, with the first and the last instant."""
    at_ns = first_ns = draw(st.integers(0, 900)) * SECOND_NS
    found = EnergyByTime()
    for _ in range(draw(st.integers(1, 3))):
        times_ns, energy_uj, measured_ns = [at_ns], [0], [0]
        for step_s in draw(st.lists(st.integers(1, 400), min_size=1, max_size=6)):
            at_ns += step_s * SECOND_NS
            times_ns.append(at_ns)
            energy_uj.append(energy_uj[-1] + draw(st.integers(0, 10**9)))
            measured_ns.append(measured_ns[-1] + draw(st.integers(0, step_s)) * SECOND_NS)
        found.add(EnergyCurve(Instants(times_ns), energy_uj, measured_ns))
        at_ns += draw(st.integers(0, 2000)) * SECOND_NS
    return found, first_ns, times_ns[-1]


@given(energies())
def test_buckets_are_the_same_before_and_after_they_are_stored(drawn: tuple[EnergyByTime, int, int]) -> None:
    energy, first_ns, last_ns = drawn
    packed = pack(energy, energy.measured_ns, first_ns, last_ns)
    stored = replace(packed, lists=None)
    buckets = unpack(packed, energy.energy_uj)
    assert buckets == unpack(stored, energy.energy_uj)
    assert [bucket.start_ns for bucket in buckets] == sorted(energy.energies_uj)
    assert sum(bucket.energy_uj for bucket in buckets) == energy.energy_uj
    assert sum(bucket.measured_ns for bucket in buckets) == energy.measured_ns
    assert unpack(packed, None) == []
