"""When a job may run and what its start is chosen by."""

from __future__ import annotations

import re
import signal as signals
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from hpcfrugal.core.carbon_signal import SIGNALS, Signal
from hpcfrugal.job.fields import Fault, Faults, Section, shown, switch_of, text_of
from hpcfrugal.job.forms import TEXT_SCHEMA, Duration, Moment, Positive, Share, Switch

Policy = Literal["asap", "low-carbon", "budget"]
POLICIES: tuple[Policy, ...] = ("asap", "low-carbon", "budget")

# What the settings take for the name of a zone, a provider or a queue: such names become parts of file names.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# SIGKILL and SIGSTOP can't be caught, so no checkpoint could follow them.
_CATCHABLE = {name.name.removeprefix("SIG") for name in signals.Signals} - {"KILL", "STOP"}


def _one_of(value: object, choices: tuple[str, ...]) -> str:
    word = str(value).strip().lower().replace("_", "-")
    if word not in choices:
        *most, last = choices
        raise ValueError(f"{shown(value)} is unknown; write {', '.join(most)} or {last}")
    return word


def _named(value: object, what: str) -> str:
    text = text_of(value, limit=1024)
    if not _NAME.fullmatch(text):
        raise ValueError(f"{shown(value)} is not {what}; letters, digits, `_`, `.` and `-` are taken, at most 64")
    return text


def _signal_name_of(value: object) -> str:
    text = text_of(value, limit=64).strip().upper()
    if text.isascii() and text.isdigit():
        known = {int(member): member.name for member in signals.Signals}
        text = known.get(int(text), text)
    text = text.removeprefix("SIG")
    if text not in _CATCHABLE:
        raise ValueError(f"{shown(value)} is not a signal that a program can catch; write USR1 or TERM")
    return text


def _interruptible_of(value: Any) -> Any:
    """``interruptible: yes`` takes every default, ``no`` is as if it were left out."""
    if isinstance(value, str | bool):
        try:
            return {} if switch_of(value) else None
        except ValueError:
            raise ValueError(
                f"{shown(value)} is not understood; write yes, or a mapping such as {{signal: USR1}}"
            ) from None
    return value


SignalName = Annotated[
    str, BeforeValidator(_signal_name_of), WithJsonSchema({"type": ["string", "integer"], "minLength": 1})
]


Zone = Annotated[str, BeforeValidator(lambda value: _named(value, "a zone's name")), WithJsonSchema(TEXT_SCHEMA)]
QueueName = Annotated[str, BeforeValidator(lambda value: _named(value, "a queue's name")), WithJsonSchema(TEXT_SCHEMA)]


class Interruptible(Section):
    """How a job is told to save its state, and what stopping and starting again cost it."""

    signal: SignalName = Field(
        default="USR1",
        description="Signal that asks the program to write a checkpoint.",
        examples=["USR1", "TERM"],
    )
    grace: Duration = Field(
        default=timedelta(seconds=60),
        description="Longest wait for the checkpoint after the signal.",
        examples=["2m"],
    )
    checkpoint_cost: Duration = Field(
        default=timedelta(0), description="Run time that writing a checkpoint takes.", examples=["30s"]
    )
    restart_cost: Duration = Field(
        default=timedelta(0),
        description="Run time that starting again from a checkpoint takes.",
        examples=["1m"],
    )
    min_segment: Duration | None = Field(
        default=None, description="Shortest stretch that is worth running.", examples=["30m"]
    )


class Schedule(Section):
    """Kept with the job; the planner acts on it. All is in real time, `max_delay` from the submission."""

    policy: Annotated[Policy, BeforeValidator(lambda v: _one_of(v, POLICIES))] | None = Field(
        default=None,
        description="`asap` starts at once; `low-carbon` picks the cleanest window; `budget` the first that "
        "keeps within `budget_g`. Left out: `budget` with `budget_g`, `low-carbon` with a `max_delay`, "
        "`deadline` or `queue`, else `asap`.",
        examples=["low-carbon"],
    )
    budget_g: Positive | None = Field(
        default=None,
        description="Most grams of CO2e that the job may cause (policy `budget`).",
        examples=[250],
    )
    max_delay: Duration | None = Field(
        default=None, description="Longest delay of the start after submission.", examples=["12h", "1d"]
    )
    deadline: Moment | None = Field(
        default=None,
        description="Moment by which the job must have finished; without an offset, local time.",
        examples=["2026-05-31T18:00+02:00"],
    )
    earliest: Moment | None = Field(
        default=None, description="Moment before which the job does not start.", examples=["2026-05-30T20:00"]
    )
    zone: Zone | None = Field(
        default=None, description="Grid zone, in the words of the provider.", examples=["FR", "GB"]
    )
    signal: Annotated[Signal, BeforeValidator(lambda v: _one_of(v, SIGNALS))] | None = Field(
        default=None, description="Kind of carbon intensity: `average` or `marginal`.", examples=["average"]
    )
    min_saving: Share | None = Field(
        default=None,
        description="Least expected saving that is worth waiting for, as a share.",
        examples=[0.05, "5 %"],
    )
    require_forecast: Switch = Field(
        default=False,
        description="Refuse the job, instead of starting it now, where no forecast is to be had.",
        examples=[True],
    )
    queue: QueueName | None = Field(
        default=None, description="Low-carbon queue of the site to wait in.", examples=["green"]
    )
    interruptible: Annotated[
        Interruptible | None,
        BeforeValidator(_interruptible_of),
    ] = Field(
        default=None,
        description="The job can be stopped and started again: `yes`, or what that takes.",
        examples=[{"signal": "USR1", "grace": "60s", "checkpoint_cost": "30s", "restart_cost": "1m"}],
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Schedule:
        faults = []
        if self.max_delay is not None and self.deadline is not None:
            faults.append(
                Fault(
                    ("deadline",),
                    "can't be given along with `max_delay`",
                    "keep one: `max_delay` bounds the start, `deadline` the finish",
                    (("deadline",), ("max_delay",)),
                )
            )
        if self.earliest is not None and self.deadline is not None and self.earliest >= self.deadline:
            faults.append(Fault(("earliest",), "is not before `deadline`", None, (("earliest",), ("deadline",))))
        bounds = (("max_delay",), ("deadline",), ("queue",))
        if self.policy == "low-carbon" and self.max_delay is None and self.deadline is None and self.queue is None:
            faults.append(
                Fault(
                    ("policy",),
                    "low-carbon needs to know how long the job may wait",
                    "add `max_delay: 12h`, a `deadline`, or a `queue` that sets it",
                    (("policy",), *bounds),
                )
            )
        if self.policy == "budget" and self.budget_g is None:
            faults.append(
                Fault(
                    ("policy",),
                    "budget needs `budget_g`",
                    "add the most grams that the job may cause, such as `budget_g: 250`",
                    (("policy",), ("budget_g",)),
                )
            )
        if self.budget_g is not None and self.policy not in {None, "budget"}:
            faults.append(
                Fault(
                    ("budget_g",),
                    f"has no effect with `policy: {self.policy}`",
                    "write `policy: budget`, or leave `budget_g` out",
                    (("policy",), ("budget_g",)),
                )
            )
        if faults:
            raise Faults(faults)
        return self

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
