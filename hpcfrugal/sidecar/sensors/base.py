"""The protocol of energy sensors: ``open`` finds channels, ``read`` returns integers, ``close``.

A sensor never invents a value: what it cannot open it reports as ``Absent`` with the reason, and what it
cannot read this time it gives as None.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

ENERGY_UJ = "energy_uj"
"""Quantity of a channel whose reading is a counter of microjoules since some moment."""

POWER_UW = "power_uw"
"""Quantity of a channel whose reading is the present power in microwatts."""

NVML_ENERGY = "nvml-energy"
"""Source of a GPU's energy counter, and the name of the sensor."""

NVML_LIBRARY = "libnvidia-ml.so.1"
"""Comes with NVIDIA's driver."""

PM_COUNTERS = "pm-counters"
"""The same of Cray's counters, of which those of GPUs count whole modules, whatever is on them."""

PUBLISHED = "/run/hpcfrugal/energy.json"
"""Where the node agent publishes the node's counters; /run is root's."""

GPU_MAX_W = 3000
"""Watts that no GPU draws today (a B300 and an MI355X are rated 1400 W), for detecting a counter reset."""

NO_SENSOR_OF_OURS = "no sensor of hpcfrugal reads it; a sensor of your own can (entry points hpcfrugal.sensors)"
"""Advice about what is present and not read."""

FILE_TIMEOUT_S = 0.8
"""Seconds that a tick waits for a sensor of the kernel's own files, or in a process of its own, which answers at once
unless the node is overloaded, or a controller or driver hangs. One that was late at the previous tick is not waited
for."""


class Channel:
    """One quantity that is sampled, with where it comes from.

    ``component`` is cpu, dram, gpu or node; ``boundary`` is components or node; ``scope`` is node for a
    reading that all jobs of the node share and job for a device that the job holds whole. ``counted`` is
    False for what another channel contains already. ``range_uj`` is the largest value of a counter that
    wraps, None for one that does not; ``frozen_ns`` is how long a counter that counts may stand still, None where only
    ``counter.FROZEN_NS`` is sure. ``max_w`` bounds what the hardware could possibly draw, in watts: more
    than that is a counter reset, not consumption. ``contains``: components whose energy is in this channel, so that
    channels of them do not count; with a ``package``, the domain of a processor, only its. ``step_s``: the source is
    read only once in so many seconds, and continued between, at the latest reading for ``continued_ns``; None where it
    is read at each sample.
    """

    continued_ns = 0  # not part of what was found, which a sensor's own process hands over

    def __init__(
        self,
        component: str,
        domain: str,
        source: str,
        *,
        max_w: int,
        detail: str,
        quantity: str = ENERGY_UJ,
        quality: str = "measured",
        boundary: str = "components",
        scope: str = "node",
        counted: bool = True,
        range_uj: int | None = None,
        gpu_uuid: str | None = None,
        frozen_ns: int | None = None,
        contains: tuple[str, ...] = (),
        package: str | None = None,
        step_s: float | None = None,
    ) -> None:
        self.component = component
        self.domain = domain
        self.source = source
        self.quantity = quantity
        self.quality = quality
        self.boundary = boundary
        self.scope = scope
        self.counted = counted
        self.range_uj = range_uj
        self.frozen_ns = frozen_ns
        self.max_w = max_w
        self.detail = detail
        self.gpu_uuid = gpu_uuid
        self.contains = contains
        self.package = package
        self.step_s = step_s

    def has(self, other: Channel) -> bool:
        """Whether the energy of another channel is in this one."""
        if other.component not in self.contains:
            return False
        package = other.domain.partition("/")[0].partition("-die-")[0]
        return self.package in (None, package) or not package.startswith("package-")

    def header(self) -> dict[str, object]:
        """The channel as it stands in a header line."""
        left_out = ["quantity", "max_w", "frozen_ns", "continued_ns", "package"]
        left_out += [name for name in ("contains", "step_s") if not getattr(self, name)]
        return {name: value for name, value in vars(self).items() if name not in left_out}


class Absent:
    """A source that could not be used for a component, and why.

    ``domain`` names the one domain that is missing where others of the component are there, else None. ``advice`` is
    what to do about it, None for what the sensor itself advises.
    """

    def __init__(
        self, component: str, source: str, reason: str, domain: str | None = None, advice: str | None = None
    ) -> None:
        self.component = component
        self.source = source
        self.reason = reason
        self.domain = domain
        self.advice = advice

    def header(self) -> dict[str, object]:
        """The absence as it stands in a header line, with its domain where there is one."""
        return {name: value for name, value in vars(self).items() if value is not None and name != "advice"}


class Gpu:
    """A GPU of the job; ``index`` is the driver's own number on this node, ``limit_uw`` its power limit, and ``domain``
    that of its channel, which no GPU of another driver has."""

    def __init__(
        self, index: int, uuid: str, name: str, limit_uw: int | None = None, domain: str | None = None
    ) -> None:
        self.index = index
        self.uuid = uuid
        self.name = name
        self.limit_uw = limit_uw
        self.domain = domain or f"gpu-{index}"

    def header(self) -> dict[str, object]:
        """The GPU as it stands in a header line."""
        return dict(vars(self))


class Opened:
    """What ``open`` found; ``cpu_limit_uw`` is the design power of all packages of the node, ``unread_gpus`` the least
    number of GPUs that the job may hold beside these, ``in_other_gpus`` components whose energy is, in whole or in
    part, in the power of GPUs that are not the job's: what the job has of it is unknown."""

    def __init__(
        self,
        channels: list[Channel],
        absent: list[Absent],
        gpus: list[Gpu],
        cpu_limit_uw: int | None = None,
        *,
        unread_gpus: int = 0,
        in_other_gpus: tuple[str, ...] = (),
    ) -> None:
        self.channels = channels
        self.absent = absent
        self.gpus = gpus
        self.cpu_limit_uw = cpu_limit_uw
        self.unread_gpus = unread_gpus
        self.in_other_gpus = in_other_gpus


if TYPE_CHECKING:

    class Sensor(Protocol):
        """A source of channels.

        ``component`` is its main one. ``may_block`` says that a call can hang in a driver;
        such a sensor is kept in a thread of its own. It may name ``components`` where there are more than one,
        ``timeout_s``, the seconds that a tick waits for it at least, ``advice``, what to do where it cannot be read,
        and ``advice_if_denied``, the same where access was denied.
        """

        name: str
        component: str
        may_block: bool

        def open(self) -> Opened:
            """Find the channels; never raises for a missing or refused source."""

        def read(self) -> list[int | None]:
            """One value per channel in the order of ``open``; None where it could not be read now."""

        def close(self) -> None:
            """Give back what was opened."""
