"""A site's own sensor, loaded and run in a thread of its own, so that its failures affect nothing else.

The factory is called as ``factory(base, sysfs)``: ``base`` is the module ``sensors.base`` with ``Channel``,
``Absent``, ``Opened`` and the kinds of readings, ``sysfs`` the root of the sysfs tree. It returns an object
with the protocol ``base.Sensor``. Components that a built-in sensor covers are not counted from it.
"""

from __future__ import annotations

from . import base
from .base import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Opened, Sensor


class SiteSensor:
    """The sensor that ``factory`` in ``module`` makes."""

    may_block = True
    advice = "ask the operator who added this sensor"
    defers_to_builtin = True

    def __init__(self, name: str, module: str, factory: str, sysfs: str) -> None:
        self.name = f"site-{name}"
        self.component = "site"
        self._module = module
        self._factory = factory
        self._sysfs = sysfs
        self._sensor: Sensor | None = None

    def open(self) -> Opened:
        """Load the module and open its sensor. Raises whatever it raises."""
        made = __import__(self._module, fromlist=[self._factory])
        for part in self._factory.split("."):
            made = getattr(made, part)
        sensor: Sensor = made(base, self._sysfs)  # type: ignore[operator]
        self._sensor = sensor
        return sensor.open()

    def read(self) -> list[int | None]:
        """The sensor's values. Raises whatever it raises."""
        return [] if self._sensor is None else self._sensor.read()

    def close(self) -> None:
        """Close the sensor. Raises whatever it raises."""
        if self._sensor is not None:
            self._sensor.close()
