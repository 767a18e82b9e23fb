"""A plan in words, as ``submit`` and ``plan`` print it. Times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hpcfrugal.core.text import duration, mass, printable
from hpcfrugal.planning.decide.plan import Expectation, Plan

_FEW = 0.01  # below one percent a decimal is shown
_SHORT, _TENTH = timedelta(seconds=10), timedelta(milliseconds=100)


def line(plan: Plan) -> str:
    """The decision on one line: when it starts, what that is expected to save, on whose forecast."""
    if plan.action == "start-now":
        text = f"Starts as soon as it can: {plan.reason}"
    else:
        when = f"about {clock(plan.start_at, plan.decided_at)}"
        text = f"Runs in {len(plan.segments)} segments from {when}" if plan.segments else f"Starts {when}"
        text += f": {saving(plan.expected)}" if plan.expected is not None else f": {plan.reason}"
        if plan.expected is not None and (plan.policy == "budget" or plan.queue is not None):
            text += f", {plan.reason}"
    if plan.grid is not None:
        age = f" ({span(plan.grid.age)} old)" if plan.grid.stale else ""
        text += f"; forecast {plan.grid.provider} issued {clock(plan.grid.issued_at, plan.decided_at)}{age}"
    return printable(text)


def saving(expected: Expectation) -> str:
    """``31 % less carbon expected (band 12 % to 44 %)``, with grams where the power is known."""
    word = "less" if expected.saving >= 0 else "more"
    low, high = expected.band
    text = f"{share(abs(expected.saving))} {word} carbon expected (band {share(low)} to {share(high)})"
    if expected.now_g is not None and expected.then_g is not None:
        text += f", {grams(expected.then_g)} instead of {grams(expected.now_g)}"
    return text


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{value * 100:.0f} %" if abs(value) >= _FEW else f"{value * 100:.1f} %"


def grams(mass_g: float) -> str:
    """A mass of CO2e in the unit that fits."""
    return mass(mass_g)


def span(time: timedelta | None) -> str:
    """A span as the reports write it, to the second; below ten seconds to a tenth."""
    if time is None:
        return duration(None)
    if timedelta() < time < _SHORT:
        return duration(time // timedelta(microseconds=1) * 1000) if time >= _TENTH else "<0.1 s"
    return duration(time // timedelta(seconds=1) * 10**9)


def clock(moment: datetime, now: datetime) -> str:
    """``02:30 UTC``, with the date where it is another day than now's; seconds where a minute would say too little."""
    at, today = moment.astimezone(UTC), now.astimezone(UTC)
    form = "%H:%M:%S" if abs(at - today) < timedelta(minutes=10) else "%H:%M"
    return f"{at:{form}} UTC" if at.date() == today.date() else f"{at:%a %Y-%m-%d {form}} UTC"
