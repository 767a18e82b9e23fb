"""Notices that sensors came or went since the start: a driver was loaded, or a package was brought online."""

from __future__ import annotations

import os

from .sysfs import list_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sensor_in_use import Fallback

WATCH_NS = 60_000_000_000
"""Nanoseconds between two looks, each of which lists a few folders."""

MOST_CHANGES = 32
"""Changes that are acted upon: a device that comes and goes all day adds no more headers than that."""


class SensorWatch:
    """Lists the folders of sysfs in which sensors appear, and NVIDIA's devices in procfs, and looks for the file that
    the node agent has ``published``. ``sources`` gives what is to be tried after a change, best first."""

    def __init__(
        self,
        sysfs: str,
        proc: str,
        clock_ns: Callable[[], int],
        sources: Callable[[], Sequence[Fallback]],
        published: str | None = None,
    ) -> None:
        classes = ("powercap", "hwmon", "drm", "accel")
        self._folders = [*(f"{sysfs}/class/{name}" for name in classes), f"{proc}/driver/nvidia/gpus"]
        self._places = [f"{sysfs}/bus/event_source/devices/power", f"{sysfs}/cray/pm_counters"]
        self._places += [] if published is None else [published]
        self._clock_ns = clock_ns
        self._sources = sources
        self._left = MOST_CHANGES
        self._looked_ns = clock_ns()
        self._listed = self._list()

    def new_sources(self) -> Sequence[Fallback]:
        """What to try where something has come or gone since the last look; nothing before another look is due."""
        now_ns = self._clock_ns()
        if now_ns - self._looked_ns < WATCH_NS:
            return ()
        self._looked_ns = now_ns
        before, self._listed = self._listed, self._list()
        if before == self._listed or not self._left:
            return ()
        self._left -= 1
        return self._sources()

    def _list(self) -> tuple[list[list[str]], list[bool]]:
        return [list_folder(folder) for folder in self._folders], [os.path.exists(place) for place in self._places]
