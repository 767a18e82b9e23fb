"""When a job may run, and how its start is chosen."""

from __future__ import annotations

import signal as signals
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from hpcfrugal.core.carbon_signal import SIGNALS, Signal
from hpcfrugal.core.section import Fault, ValueType, optional
from hpcfrugal.core.text import quoted_value
from hpcfrugal.job.amount_types import Fraction, Positive
from hpcfrugal.job.sbatch_options import SbatchOption
from hpcfrugal.job.section import Excludes, JobSection
from hpcfrugal.job.text_types import TEXT_SCHEMA, Switch, to_switch, to_text, word_of
from hpcfrugal.job.time_types import DateAndTime, Duration
from hpcfrugal.settings.values import NAME

Policy = Literal["asap", "low-carbon", "budget"]

# SIGKILL and SIGSTOP can't be caught, so no checkpoint could follow them.
_CATCHABLE = {name.name.removeprefix("SIG") for name in signals.Signals} - {"KILL", "STOP"}


def _named(value: object, what: str) -> str:
    text = to_text(value, limit=1024)
    if not NAME.fullmatch(text):
        raise ValueError(f"{quoted_value(value)} is not {what}; use up to 64 letters, digits, `_`, `.` and `-`")
    return text


def _to_signal_name(value: object) -> str:
    text = to_text(value, limit=64).strip().upper()
    if text.isascii() and text.isdigit():
        known = {int(member): member.name for member in signals.Signals}
        text = known.get(int(text), text)
    text = text.removeprefix("SIG")
    if text not in _CATCHABLE:
        raise ValueError(f"{quoted_value(value)} is not a signal that a program can catch; write USR1 or TERM")
    return text


SignalName = ValueType(_to_signal_name, {"type": ["string", "integer"], "minLength": 1})
ZoneName = ValueType(lambda value: _named(value, "a valid name of a zone"), TEXT_SCHEMA)
QueueName = ValueType(lambda value: _named(value, "a valid name of a queue"), TEXT_SCHEMA)


class Interruptible(JobSection):
    """How a job is asked to save its state, and what stopping and starting again costs."""

    not_a_mapping = ("must be a mapping of keys", "write for example `interruptible: {signal: USR1}`")

    signal: str = optional(
        SignalName, "Signal that asks the program to write a checkpoint.", "USR1", "TERM", default="USR1"
    )
    grace: timedelta = optional(
        Duration, "Maximum time to wait for the checkpoint after the signal.", "2m", default=timedelta(seconds=60)
    )
    checkpoint_cost: timedelta = optional(
        Duration, "Run time that writing a checkpoint takes.", "30s", default=timedelta(0)
    )
    restart_cost: timedelta = optional(
        Duration, "Run time that restarting from a checkpoint takes.", "1m", default=timedelta(0)
    )
    min_segment: timedelta | None = optional(Duration, "Shortest segment that is worth running.", "30m")

    @classmethod
    def written_out(cls, values: Any) -> Any:
        """``interruptible: yes`` takes every default, ``no`` is the same as leaving it out."""
        if isinstance(values, str | bool):
            try:
                return {} if to_switch(values) else None
            except ValueError:
                raise ValueError(
                    f"{quoted_value(values)} is not valid; write yes, or a mapping such as {{signal: USR1}}"
                ) from None
        return values


class Schedule(JobSection):
    """What the planner chooses the start by; `max_delay` counts from the submission."""

    not_a_mapping = ("must be a mapping of keys", "write for example `schedule: {max_delay: 12h}`")

    policy: Policy | None = optional(
        word_of(get_args(Policy)),
        "`asap` starts at once; `low-carbon` picks the window with the lowest carbon; `budget` picks the first one "
        "within `budget_g`. By default `budget` if there is a `budget_g`, `low-carbon` if there is a `max_delay`, "
        "`deadline` or `queue`, otherwise `asap`.",
        "low-carbon",
    )
    budget_g: float | None = optional(Positive, "Maximum emissions of the job in grams of CO2e (policy `budget`).", 250)
    max_delay: timedelta | None = optional(Duration, "Maximum delay of the start after submission.", "12h", "1d")
    deadline: datetime | None = optional(
        DateAndTime,
        "Time by which the job must have ended; local time unless it has an offset.",
        "2026-05-31T18:00+02:00",
        marks=[Excludes(max_delay="keep one: `max_delay` limits the start, `deadline` the end")],
    )
    earliest: datetime | None = optional(
        DateAndTime,
        "Time before which the job does not start, also in sbatch's forms.",
        "2026-05-30T20:00",
        "20:00",
        "now+1hour",
        marks=[SbatchOption("begin", "b")],
    )
    zone: str | None = optional(ZoneName, "Grid zone, as the provider names it.", "FR", "GB")
    signal: Signal | None = optional(
        word_of(SIGNALS),
        "Kind of carbon intensity: `average` or `marginal`.",
        "average",
    )
    min_saving: float | None = optional(
        Fraction, "Smallest expected saving that is worth waiting for, as a share.", 0.05, "5 %"
    )
    require_forecast: bool = optional(
        Switch, "Refuse the job if there is no forecast, instead of starting it at once.", True, default=False
    )
    queue: str | None = optional(QueueName, "Low-carbon queue of the site to wait in.", "green")
    interruptible: Interruptible | None = optional(
        Interruptible,
        "Whether the job can be stopped and started again: `yes`, or a mapping of how.",
        {"signal": "USR1", "grace": "60s", "checkpoint_cost": "30s", "restart_cost": "1m"},
    )

    def contradictions(self) -> list[Fault]:
        """Keys that a policy lacks, or that have no effect with it; an impossible span."""
        faults = super().contradictions()
        if self.earliest is not None and self.deadline is not None and self.earliest >= self.deadline:
            faults.append(Fault(("earliest",), "is not before `deadline`", None, (("earliest",), ("deadline",))))
        bounds = (("max_delay",), ("deadline",), ("queue",))
        if self.policy == "low-carbon" and self.max_delay is None and self.deadline is None and self.queue is None:
            what = "low-carbon needs a limit on how long the job may wait"
            hint = "add `max_delay: 12h`, a `deadline`, or a `queue`, which has a limit"
            faults.append(Fault(("policy",), what, hint, (("policy",), *bounds)))
        budget = (("policy",), ("budget_g",))
        if self.policy == "budget" and self.budget_g is None:
            hint = "add the maximum emissions of the job in grams, such as `budget_g: 250`"
            faults.append(Fault(("policy",), "budget needs `budget_g`", hint, budget))
        if self.budget_g is not None and self.policy not in {None, "budget"}:
            what = f"has no effect with `policy: {self.policy}`"
            faults.append(Fault(("budget_g",), what, "write `policy: budget`, or leave `budget_g` out", budget))
        return faults

    @property
    def effective_policy(self) -> Policy:
        """The policy that was written, or the one that the other keys imply."""
        if self.policy is not None:
            return self.policy
        if self.budget_g is not None:
            return "budget"
        if self.max_delay is not None or self.deadline is not None or self.queue is not None:
            return "low-carbon"
        return "asap"
