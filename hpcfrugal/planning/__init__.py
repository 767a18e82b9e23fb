"""When to run: ``optimise`` has the pure optimisers, ``decide`` makes the plan of a job from its ``schedule``.

The optimisers take a ``CarbonSeries``, aware datetimes and timedeltas. Those that need numpy load it when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcfrugal.core.lazy import lazy_names

if TYPE_CHECKING:
    from hpcfrugal.planning.optimise.capacity import Capacity, CapacityJob, CapacityPlan, plan_capacity
    from hpcfrugal.planning.optimise.errors import NotCovered, TooLate
    from hpcfrugal.planning.optimise.segments import plan_segments
    from hpcfrugal.planning.optimise.window import Window, plan_window

__all__ = [
    "Capacity",
    "CapacityJob",
    "CapacityPlan",
    "NotCovered",
    "TooLate",
    "Window",
    "plan_capacity",
    "plan_segments",
    "plan_window",
]

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("Capacity", "CapacityJob", "CapacityPlan", "plan_capacity"), "optimise.capacity"),
        **dict.fromkeys(("NotCovered", "TooLate"), "optimise.errors"),
        "plan_segments": "optimise.segments",
        **dict.fromkeys(("Window", "plan_window"), "optimise.window"),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
