"""Clocks of nodes that disagree with Slurm's are told, and nothing is shifted."""

from __future__ import annotations

import pytest
from fake_spool import SECOND, FakeSpool

from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.clocks import Skew
from hpcfrugal.ledger.sync import sync

TOLERANCE_NS = 300 * 10**9

TOLERANCE_S = TOLERANCE_NS // SECOND


def told(spool: FakeSpool, skew_s: int, *, slurm: bool = True) -> list[str]:
    """What a check says of a job of a minute on n1, whose clock is right, and n2, whose clock is off."""
    run = spool.run()
    for node, off_s in (("n1", 0), ("n2", skew_s)):
        lines = [run.header(node=node, boot_id=node), *run.records([100.0, 10.0], 60)]
        run.samples([{**line, "wall_ns": line["wall_ns"] + off_s * SECOND} for line in lines], node=node)
    run.end()
    if slurm:
        run.slurm(nodes=("n1", "n2"))
    result = sync(spool.root, spool.ledger)
    problems = check_ledger(spool.root, spool.ledger).problems
    assert result.skewed == result.newly_skewed == len(problems)
    assert sync(spool.root, spool.ledger).newly_skewed == 0
    assert all(problem.startswith(f"{run.run_id}: ") for problem in problems)
    return [problem.partition(": ")[2] for problem in problems]


@pytest.mark.parametrize(
    ("skew_s", "words"),
    [
        (3600, "01:00:00 ahead of"),
        (-3600, "01:00:00 behind"),
        (-86_400 * 40 - 61, "40 d 00:01:01 behind"),
        (TOLERANCE_S + 1, "00:05:01 ahead of"),
    ],
)
def test_a_clock_that_is_off_is_reported(spool: FakeSpool, skew_s: int, words: str) -> None:
    assert told(spool, skew_s) == [f"job 17 on n2: the node's clock was {words} Slurm's, or more"]


@pytest.mark.parametrize("skew_s", [0, TOLERANCE_S, -TOLERANCE_S])
def test_what_may_be_slurms_own_is_not(spool: FakeSpool, skew_s: int) -> None:
    assert told(spool, skew_s) == []


def test_without_slurms_times_no_clock_skew_is_known(spool: FakeSpool) -> None:
    assert told(spool, 3600, slurm=False) == []


def test_a_skew_in_words() -> None:
    assert "1 d 01:01:01 behind" in str(Skew("r", "17", 0, "n1", -90_061 * SECOND))
