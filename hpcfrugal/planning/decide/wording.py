"""The text of a plan in ``submit`` and ``plan``. Times are UTC."""

from __future__ import annotations

from hpcfrugal.core.format import count, mass, point_in_time, rough_percent, timespan
from hpcfrugal.core.text import printable
from hpcfrugal.planning.decide.plan import Expectation, Plan


def line(plan: Plan) -> str:
    """The decision on one line: the start, the expected saving, the forecast."""
    if plan.action == "start-now":
        text = f"Starts as soon as possible: {plan.reason}"
    else:
        when = f"about {point_in_time(plan.start_at, plan.decided_at)}"
        text = f"Runs in {count(len(plan.segments), 'segment')} from {when}" if plan.segments else f"Starts {when}"
        text += f": {saving(plan.expected)}" if plan.expected is not None else f": {plan.reason}"
        if plan.expected is not None and (plan.policy == "budget" or plan.queue is not None):
            text += f", {plan.reason}"
    if plan.grid is not None:
        age = f" ({timespan(plan.grid.age)} old)" if plan.grid.stale else ""
        text += f"; forecast {plan.grid.provider} issued {point_in_time(plan.grid.issued_at, plan.decided_at)}{age}"
    return printable(text)


def saving(expected: Expectation) -> str:
    """``31 % less carbon expected (band 12 % to 44 %)``, with grams if the power is known."""
    word = "less" if expected.saving >= 0 else "more"
    low, high = expected.band
    band = f"band {rough_percent(low)} to {rough_percent(high)}"
    text = f"{rough_percent(abs(expected.saving))} {word} carbon expected ({band})"
    if expected.now_g is not None and expected.then_g is not None:
        text += f", {mass(expected.then_g)} instead of {mass(expected.now_g)}"
    if expected.now_estimated:
        text += "; a start now is estimated"
    return text
