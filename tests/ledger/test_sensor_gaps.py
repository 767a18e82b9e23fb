"""How long a sensor has to give nothing before it is told."""

from __future__ import annotations

import pytest
from fake_spool import PACKAGE, SECOND, FakeSpool, read

from hpcfrugal.ledger.sensor_gaps import is_long


@pytest.mark.parametrize(
    ("interval_s", "slowed", "span_s", "whole_s", "told"),
    [
        # Three samples may fail on end.
        (1.0, None, 3, 10, False),
        (1.0, None, 4, 10, True),
        (10.0, None, 30, 100, False),
        (10.0, None, 31, 100, True),
        (1.0, 5, 15, 60, False),
        (1.0, 5, 16, 60, True),
        # More than the twentieth part of a short job.
        (1.0, None, 4, 80, False),
        (1.0, None, 4, 79, True),
        # More than a minute of any job.
        (1.0, None, 60, 100_000, False),
        (1.0, None, 61, 100_000, True),
    ],
)
def test_gaps_that_are_long_enough_are_reported(
    spool: FakeSpool, interval_s: float, slowed: int | None, span_s: int, whole_s: int, told: bool
) -> None:
    run = spool.run()
    header = run.header(channels=[PACKAGE], interval_s=interval_s)
    path = run.samples([header, run.record(10, [10**9], **({"note": {"slowed": slowed}} if slowed else {}))])
    (session,) = read(path).sessions
    assert is_long(span_s * SECOND, whole_s * SECOND, session) == told
