"""Whether a job's energy is measured, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hpcfrugal.core.section import Fault, optional
from hpcfrugal.core.text import quoted_value
from hpcfrugal.core.units import format_duration
from hpcfrugal.job.section import JobSection
from hpcfrugal.job.text_types import Switch, to_switch
from hpcfrugal.job.time_types import Seconds, to_seconds

MIN_INTERVAL = timedelta(seconds=0.1)
MAX_INTERVAL = timedelta(seconds=60)
DEFAULT_RECORD = timedelta(seconds=10)
MAX_RECORD = timedelta(seconds=300)


class Energy(JobSection):
    """`energy: off` runs the job without the sidecar; a mapping sets how often the sidecar reads and writes."""

    not_a_mapping = ("must be a mapping of keys", "write for example `energy: {interval: 1s}`")

    enabled: bool = optional(Switch, "Whether the sidecar runs at all.", False, default=True)
    interval: timedelta = optional(
        Seconds,
        "Time between two readings, 0.1 s to 60 s; a number without a unit is in seconds.",
        "1s",
        0.5,
        default=timedelta(seconds=1),
    )
    record: timedelta = optional(
        Seconds,
        "Time between two records in the sample file, from `interval` to 300 s.",
        "10s",
        "1m",
        default=DEFAULT_RECORD,
    )
    hardware_counters: bool = optional(
        Switch,
        "Whether to count instructions, cycles and cache misses as well. This takes some of the few hardware counters"
        " of the CPU: leave it off if you run perf yourself.",
        True,
        default=False,
    )

    @classmethod
    def written_out(cls, values: Any) -> Any:
        """On or off; a long interval alone makes the records as far apart, so that `interval: 30s` is enough."""
        if isinstance(values, str | bool):
            try:
                return {"enabled": to_switch(values)}
            except ValueError:
                raise ValueError(
                    f"{quoted_value(values)} is not valid; write off, on, or a mapping such as {{interval: 1s}}"
                ) from None
        if isinstance(values, dict) and values.get("interval") is not None and values.get("record") is None:
            try:
                interval = to_seconds(values["interval"])
            except ValueError:
                return values  # the key itself reports it
            return {**values, "record": max(interval, DEFAULT_RECORD)}
        return values

    def contradictions(self) -> list[Fault]:
        """Bounds of the two times, and a record that is shorter than an interval."""
        faults = super().contradictions()
        if not MIN_INTERVAL <= self.interval <= MAX_INTERVAL:
            what = f"{format_duration(self.interval)} is not between 0.1s and 1m"
            faults.append(Fault(("interval",), what, "write for example 1s", (("interval",),)))
        if self.record > MAX_RECORD:
            what = f"{format_duration(self.record)} is more than 5m"
            faults.append(Fault(("record",), what, "write for example 10s", (("record",),)))
        if self.record < self.interval:
            what = f"{format_duration(self.record)} is shorter than the interval of {format_duration(self.interval)}"
            hint = "a record covers at least one reading"
            faults.append(Fault(("record",), what, hint, (("record",), ("interval",))))
        return faults
