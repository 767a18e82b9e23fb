"""Power of nodes from their BMCs by Redfish, from one machine over the management network.

Each chassis below ``/redfish/v1/Chassis`` is searched for the two properties in which DMTF's schemas have the power:
``PowerWatts.Reading`` of its EnvironmentMetrics (DSP2046, since 2020) and ``PowerConsumedWatts`` of the
``PowerControl`` of its Power (deprecated, but most BMCs have it). If there are several readings, the error lists
them, so that one can be selected in the settings.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from hpcfrugal.core.errors import SourceError, Unreachable
from hpcfrugal.core.section import Fault, Faults, ValueType, optional, required
from hpcfrugal.meters.access import MeterClient, ServerMeter
from hpcfrugal.meters.base import bmc_power_w
from hpcfrugal.meters.powerlog import LoggedMeter
from hpcfrugal.settings.values import Nodes, SingleLine, integer, url_of

ROOT = "/redfish/v1/Chassis"

_MAX_CHASSIS = 64


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a reading: a resource and the keys in it."""

    chassis: str
    path: str
    keys: tuple[str | int, ...]

    @property
    def shown(self) -> str:
        name = "PowerWatts" if "PowerWatts" in self.keys else f"PowerControl {self.keys[1]}"
        return f"{self.chassis} ({name})"


@dataclass(slots=True)
class _Bmc:
    client: MeterClient
    lock: threading.Lock = field(default_factory=threading.Lock)
    place: _Place | None = None


def _url_of_node(value: Any) -> str:
    url = url_of(value, placeholder="{node}")
    if "{node}" not in url:
        raise Faults(Fault((), "needs {node} in place of the node's name", "for example https://{node}-bmc"))
    return url


class Redfish(LoggedMeter, ServerMeter):
    """BMCs whose URLs contain the name of the node. ``chassis`` and ``power_control`` select one reading."""

    nodes: tuple[str, ...] = required(Nodes, "", '"n[1-100]"')
    url: str = required(ValueType(_url_of_node), "", "https://{node}-bmc")
    chassis: str | None = optional(SingleLine)
    """Id of the chassis."""
    power_control: int | None = optional(integer(0, 999))
    """Index in ``PowerControl``."""

    _bmcs: ClassVar[dict[str, _Bmc]]
    _lock: ClassVar[threading.Lock]

    def __new__(cls, **values: Any) -> Self:
        """With nothing yet in what it remembers of the BMCs."""
        made = super().__new__(cls)
        vars(made).update(_bmcs={}, _lock=threading.Lock())
        return made

    def power_w(self, node: str) -> float:
        """See ``PowerSource.power_w``. Safe to call for several nodes at once."""
        with self._lock:
            bmc = self._bmcs.get(node)
            if bmc is None:
                bmc = self._bmcs[node] = _Bmc(MeterClient(self, self.url.replace("{node}", node)))
        with bmc.lock:
            try:
                bmc.place = bmc.place or self._find(bmc.client)
                power_w = _watts(_at(bmc.client.get(bmc.place.path), bmc.place.keys))
                if power_w is None:
                    raise SourceError("the BMC returned no power reading")
            except SourceError:
                bmc.place = None  # a firmware update may have moved it
                bmc.client.close()
                raise
            return bmc_power_w(power_w)

    def close(self) -> None:
        """See ``PowerSource.close``."""
        with self._lock:
            for bmc in self._bmcs.values():
                bmc.client.close()

    def _find(self, client: MeterClient) -> _Place:
        members = _ids(client.get(ROOT), "Members")[:_MAX_CHASSIS]
        if self.chassis is not None:
            members = [path for path in members if path.rstrip("/").rpartition("/")[2] == self.chassis]
            if not members:
                raise SourceError(f"the BMC has no chassis {self.chassis!r}")
        troubles: list[str] = []
        places = [place for path in members for place in self._places(client, path, troubles)]
        if not places:
            raise SourceError("; ".join(["no chassis has a power reading", *troubles[:1]]))
        if len(places) > 1:
            names = ", ".join(place.shown for place in places)[:300]
            raise SourceError(f"several power readings; set chassis and power_control to select one: {names}")
        return places[0]

    def _places(self, client: MeterClient, path: str, troubles: list[str]) -> Iterator[_Place]:
        """The readings of one chassis; the newer property comes before the older one, which has the same value.

        A resource that the BMC lists but does not have is added to ``troubles``; the others may have a reading.
        """

        def get(path: str) -> Any:
            try:
                return client.get(path)
            except Unreachable:
                raise
            except SourceError as error:
                troubles.append(f"{path}: {error}")
                return None

        chassis = get(path)
        name = path.rstrip("/").rpartition("/")[2]
        if self.power_control is None:
            for metrics in _links(chassis, "EnvironmentMetrics"):
                keys: tuple[str | int, ...] = ("PowerWatts", "Reading")
                if _watts(_at(get(metrics), keys)) is not None:
                    yield _Place(name, metrics, keys)
                    return
        for power in _links(chassis, "Power"):
            controls = _at(get(power), ("PowerControl",))
            for index, control in enumerate(controls if isinstance(controls, list) else []):
                wanted = self.power_control is None or self.power_control == index
                if wanted and _watts(_at(control, ("PowerConsumedWatts",))) is not None:
                    yield _Place(name, power, ("PowerControl", index, "PowerConsumedWatts"))


def _links(resource: Any, key: str) -> list[str]:
    """The link below a key, as a list of one; empty if there is none, or if it leads out of the Redfish tree."""
    link = _at(resource, (key, "@odata.id"))
    return [link] if isinstance(link, str) and _is_local(link) else []


def _ids(resource: Any, key: str) -> list[str]:
    members = _at(resource, (key,))
    found = [_at(member, ("@odata.id",)) for member in (members if isinstance(members, list) else [])]
    return [path for path in found if isinstance(path, str) and _is_local(path)]


def _is_local(path: str) -> bool:
    return path.startswith("/redfish/") and path.isascii() and path.isprintable() and ".." not in path


def _at(value: Any, keys: tuple[str | int, ...]) -> Any:
    """The value below these keys; None if the structure differs."""
    for key in keys:
        if isinstance(key, str) and isinstance(value, dict):
            value = value.get(key)
        elif isinstance(key, int) and isinstance(value, list) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def _watts(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        power_w = float(value)
    except OverflowError:
        return None  # JSON's integers have no bound
    return power_w if math.isfinite(power_w) and power_w >= 0 else None
