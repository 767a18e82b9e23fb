"""Whether and how densely a job's energy is sampled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Field, model_validator

from hpcfrugal.core.units import format_duration
from hpcfrugal.job.fields import Fault, Faults, Section, seconds_of, shown, switch_of
from hpcfrugal.job.forms import Seconds, Switch

MIN_INTERVAL = timedelta(seconds=0.1)
MAX_INTERVAL = timedelta(seconds=60)
DEFAULT_RECORD = timedelta(seconds=10)
MAX_RECORD = timedelta(seconds=300)


class Energy(Section):
    """`energy: off` runs the job without the sidecar; a mapping sets how often it looks and writes."""

    enabled: Switch = Field(default=True, description="Whether the sidecar runs at all.", examples=[False])
    interval: Seconds = Field(
        default=timedelta(seconds=1),
        description="Time between two readings, 0.1 s to 60 s; a bare number counts seconds.",
        examples=["1s", 0.5],
    )
    record: Seconds = Field(
        default=DEFAULT_RECORD,
        description="Time between two records in the spool, from `interval` (which moves it along) to 300 s.",
        examples=["10s", "1m"],
    )

    hardware_counters: Switch = Field(
        default=False,
        description=(
            "Whether instructions, cycles and cache misses are counted too. It takes counters of the CPU, which are"
            " few: leave it off where you run perf yourself."
        ),
        examples=[True],
    )

    @model_validator(mode="before")
    @classmethod
    def _from_switch(cls, data: Any) -> Any:
        if isinstance(data, str | bool):
            try:
                return {"enabled": switch_of(data)}
            except ValueError:
                raise ValueError(
                    f"{shown(data)} is not understood; write off, on, or a mapping such as {{interval: 1s}}"
                ) from None
        if isinstance(data, dict) and data.get("interval") is not None and data.get("record") is None:
            # A slow reading alone moves the record along, so that `interval: 30s` says all there is to say.
            try:
                interval = seconds_of(data["interval"])
            except ValueError:
                return data  # told by the field itself
            return {**data, "record": max(interval, DEFAULT_RECORD)}
        return data

    @model_validator(mode="after")
    def _within_bounds(self) -> Energy:
        faults = []
        if not MIN_INTERVAL <= self.interval <= MAX_INTERVAL:
            faults.append(
                Fault(
                    ("interval",),
                    f"{format_duration(self.interval)} is not between 0.1s and 1m",
                    "write for example 1s",
                    (("interval",),),
                )
            )
        if self.record > MAX_RECORD:
            faults.append(
                Fault(
                    ("record",),
                    f"{format_duration(self.record)} is more than 5m",
                    "write for example 10s",
                    (("record",),),
                )
            )
        if self.record < self.interval:
            faults.append(
                Fault(
                    ("record",),
                    f"{format_duration(self.record)} is shorter than the interval of {format_duration(self.interval)}",
                    "a record sums up at least one reading",
                    (("record",), ("interval",)),
                )
            )
        if faults:
            raise Faults(faults)
        return self
