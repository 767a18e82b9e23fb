"""The balance of a node: jobs + idle + system + undivided is what was read, in integers, whatever was on it."""

from __future__ import annotations

import random

import pytest

from hpcfrugal.accounting.closure import AgentSpan, SuspendRule, close_node

S = 10**9
BUCKET = 300 * S
DAY = 86_400 * S
RULE = SuspendRule(600, 30, 60)
EVER = (0, 10 * DAY)


def span(
    start: int, buckets: int, energy: int, rest: int, jobs: list[tuple[int, int]], *, divided: bool = True
) -> AgentSpan:
    """A session from a bucket on with so much energy in each; jobs are from one second to another of it."""
    starts = [(start + at) * BUCKET for at in range(buckets)]
    first = start * BUCKET
    return AgentSpan(
        first,
        (start + buckets) * BUCKET,
        divided,
        dict.fromkeys(starts, energy),
        dict.fromkeys(starts, rest),
        [(first + begin * S, first + end * S) for begin, end in jobs],
    )


def test_idle_is_the_rest_without_jobs_and_system_that_beside_them() -> None:
    """A job from 300 s to 750 s of 1200 s: it is there in half of the third bucket."""
    found = close_node([span(0, 4, 1000, 301, [(300, 750)])], RULE, EVER)
    (balance,) = found.values()
    assert (balance.jobs_uj, balance.idle_uj, balance.system_uj) == (4 * 699, 301 + 150 + 301, 301 + 151)
    assert (balance.node_uj, balance.undivided_uj) == (4000, 0)
    assert (balance.read_ns, balance.idle_ns) == (1200 * S, 750 * S)


def test_what_could_not_be_divided_is_apart() -> None:
    (balance,) = close_node([span(0, 2, 1000, 1000, [(0, 300)], divided=False)], RULE, EVER).values()
    assert (balance.jobs_uj, balance.idle_uj, balance.system_uj, balance.undivided_uj) == (0, 1000, 0, 1000)


@pytest.mark.parametrize(
    ("idle_s", "off_s"), [(600, 0), (690, 0), (691, 1), (990, 300), (86_400 - 600, 86_400 - 600 - 690)]
)
def test_power_saving_needs_its_times(idle_s: int, off_s: int) -> None:
    """600 s idle, 30 s to switch off, 60 s to come back: what lies between, at the power of that time."""
    buckets = 288
    jobs = [(0, 300), (300 + idle_s, buckets * 300)]
    (balance,) = close_node([span(0, buckets, 3_000_000, 3_000_000, jobs)], RULE, EVER).values()
    assert balance.could_be_off_uj == pytest.approx(off_s * 10_000, abs=buckets)
    assert balance.could_be_off_uj <= balance.idle_uj


def test_an_idle_time_goes_on_over_midnight_and_a_restart_of_the_agent() -> None:
    """Two hours before midnight, two after it, with an agent that began anew at midnight."""
    days = [span(288 - 24, 24, 300, 300, []), span(288, 24, 300, 300, [])]
    found = close_node(days, RULE, EVER)
    assert [(day, one.idle_uj) for day, one in found.items()] == [(0, 7200), (1, 7200)]
    assert [one.could_be_off_uj for one in found.values()] == [7200 - 630, 7200 - 60]
    apart = [days[0], span(288 + 1, 23, 300, 300, [])]  # 300 s in which nothing is known
    assert [one.could_be_off_uj for one in close_node(apart, RULE, EVER).values()] == [7200 - 690, 6900 - 690]


def test_a_short_job_ends_an_idle_time() -> None:
    """Two idle times of 600 s, neither of which is long enough, around a job of 30 s."""
    (balance,) = close_node([span(0, 5, 300, 300, [(600, 630), (1230, 1500)])], RULE, EVER).values()
    assert balance.could_be_off_uj == 0


def test_only_the_period_counts() -> None:
    found = close_node([span(0, 3 * 288, 10, 10, [])], RULE, (DAY, 2 * DAY))
    assert [(day, one.node_uj, one.read_ns) for day, one in found.items()] == [(1, 2880, DAY)]


def test_the_balance_closes_whatever_the_jobs() -> None:
    draw = random.Random(7)
    for _ in range(200):
        spans, at = [], draw.randrange(300)
        for _ in range(draw.randrange(1, 4)):
            buckets = draw.randrange(1, 40)
            jobs = [
                (begin, begin + draw.randrange(1, 4000))
                for begin in (draw.randrange(-500, buckets * 300) for _ in range(draw.randrange(5)))
            ]
            energy = draw.randrange(10**6)
            rest = draw.randrange(energy + 1)
            spans.append(span(at, buckets, energy, rest, jobs, divided=draw.random() < 0.8))
            at += buckets + draw.randrange(3)
        found = close_node(spans, RULE, EVER)
        whole = sum(sum(one.energy_uj.values()) for one in spans)
        jobs_uj = whole - sum(sum(one.rest_uj.values()) for one in spans)
        assert sum(one.node_uj for one in found.values()) == whole
        assert sum(one.jobs_uj for one in found.values()) == jobs_uj
        assert all(
            0 <= one.could_be_off_uj <= one.idle_uj and 0 <= one.idle_ns <= one.read_ns for one in found.values()
        )
