"""The node's counters as the node agent publishes them, for users who may not read the sensors themselves.

The file changes once in ten seconds or so (``step_s``) and holds the last two readings of each channel. Between two
readings a counter is continued with the power that it had between the last two: at the start of a job that is what the
node drew before, and at its end what it drew last. Each new reading corrects what was assumed, so a counter may fall,
and only the edges of a job are uncertain. A file that root does not own, or that another user could write, is not read.
"""

from __future__ import annotations

import os
import stat

from ..agent import AGENT_SCHEMA
from ..node import boot_id
from ..sysfs import why
from .base import TYPE_CHECKING, Absent, Channel, Opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

AGENT = "agent"

STALE_STEPS = 3
"""A file that is older than so many of its steps is not used."""

_MOST_BYTES = 256 * 1024
_MOST_CHANNELS = 128
_LONGEST_STEP_S = 3600
_TEXTS = ("component", "domain", "source", "boundary", "detail")


class _Refused(Exception):
    """A file that is not used; the text is the reason."""


class AgentCounters:
    """The published counters of ``component``, without the domains that are ``covered``. ``owner_uid`` is root's."""

    name = AGENT
    may_block = False
    advice = "where users may not read the sensors, an operator can run hpcfrugal site agent on the nodes"

    def __init__(self, path: str, proc: str, component: str, clock_ns: Callable[[], int], owner_uid: int = 0) -> None:
        self.component = component
        self._path = path
        self._clock_ns = clock_ns
        self._owner_uid = owner_uid
        self._boot_id = boot_id(proc)
        self._state: tuple[int, int] | None = None
        self._content: dict[str, Any] = {}
        self._keys: list[tuple[str, str, str]] = []
        self._begun_ns: int | None = None
        self._channels: list[Channel] = []

    def open(self) -> Opened:
        """The channels that are published of the component; an ``Absent`` with the reason where the file is refused."""
        try:
            content = self._read_file()
        except _Refused as refused:
            return Opened([], [Absent(self.component, AGENT, str(refused))], [])
        channels = self._channels
        step_s = content["step_s"]
        for one in content["channels"]:
            if one["component"] != self.component:
                continue
            self._keys.append(_key(one))
            channel = Channel(
                self.component,
                one["domain"],
                AGENT,
                # the energy of several steps may be read at once
                max_w=one["max_w"] * (2 + int(STALE_STEPS * step_s)),
                detail=f"{one['source']}, published each {step_s:g} s in {self._path}",
                boundary=one["boundary"],
                counted=one["counted"],
                frozen_ns=int(STALE_STEPS * step_s * 1e9),
                contains=tuple(one["contains"]),
                step_s=float(step_s),
            )
            channels.append(channel)
        absent = [] if channels else [Absent(self.component, AGENT, f"not published in {self._path}")]
        return Opened(channels, absent, [])

    def read(self) -> list[int | None]:
        """The counters now, in microjoules since the agent was started; the first reading of another agent fails, since
        it counts from 0."""
        unread: list[int | None] = [None] * len(self._keys)
        try:
            content = self._read_file()
        except _Refused:
            return unread
        begun_ns, self._begun_ns = self._begun_ns, content["begun_ns"]
        if begun_ns not in (None, self._begun_ns):
            return unread
        now_ns = self._clock_ns()
        points = {_key(one): one["points"] for one in content["channels"]}
        found = unread
        for index, (key, channel) in enumerate(zip(self._keys, self._channels)):  # noqa: B905 (strict=: Python 3.10)
            if key in points:
                found[index] = _continued(points[key], now_ns)
                channel.continued_ns = max(0, now_ns - points[key][-1][0])
        return found

    def close(self) -> None:
        """Nothing is open."""

    def _read_file(self) -> dict[str, Any]:
        """What the file holds, if it is of now. Raises _Refused."""
        try:
            folder = os.lstat(os.path.dirname(self._path))
            if not stat.S_ISDIR(folder.st_mode) or self._may_be_forged(folder):
                raise _Refused(f"not root's alone: {os.path.dirname(self._path)}")
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode) or self._may_be_forged(status):
                    raise _Refused(f"not a file of root alone: {self._path}")
                state = status.st_mtime_ns, status.st_ino
                if state != self._state:
                    self._content = _parsed(os.read(fd, _MOST_BYTES + 1), self._path)
                    self._state = state
            finally:
                os.close(fd)
        except OSError as error:
            raise _Refused(why(error, self._path)) from None
        content = self._content
        if content["boot_id"] != self._boot_id:
            raise _Refused(f"from before the last boot: {self._path}")
        age_ns = self._clock_ns() - content["boottime_ns"]
        if age_ns < 0:
            raise _Refused(f"from the future: {self._path}")
        if age_ns > STALE_STEPS * content["step_s"] * 1e9:
            raise _Refused(f"not written for {age_ns // 1_000_000_000} s: {self._path}")
        return content

    def _may_be_forged(self, status: os.stat_result) -> bool:
        return status.st_uid != self._owner_uid or bool(status.st_mode & 0o022)


def _key(one: dict[str, Any]) -> tuple[str, str, str]:
    return one["component"], one["domain"], one["source"]


def _continued(points: list[list[int]], now_ns: int) -> int:
    """The counter now, on the line through its last two readings."""
    at_ns, energy_uj = points[-1]
    if len(points) < 2:
        return energy_uj
    before_ns, before_uj = points[0]
    return energy_uj + (energy_uj - before_uj) * (now_ns - at_ns) // (at_ns - before_ns)


def _parsed(data: bytes, path: str) -> dict[str, Any]:
    """The content of a file, checked. Raises _Refused."""
    import json  # 4 ms and 0.7 MiB, only for those who need it

    try:
        content = json.loads(data) if len(data) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("schema") != AGENT_SCHEMA:
        raise _Refused(f"not of schema {AGENT_SCHEMA}: {path}")
    step_s: Any = content.get("step_s")
    channels: Any = content.get("channels")
    valid = (
        all(_is_count(content.get(name)) for name in ("begun_ns", "boottime_ns"))
        and isinstance(content.get("boot_id"), str)
        and type(step_s) in (int, float)
        and 0 < step_s <= _LONGEST_STEP_S
        and isinstance(channels, list)
        and len(channels) <= _MOST_CHANNELS
        and all(_is_channel(one) for one in channels)
    )
    if not valid:
        raise _Refused(f"not as the agent writes it: {path}")
    return content


def _is_channel(one: object) -> bool:
    if not isinstance(one, dict) or not all(isinstance(one.get(name), str) for name in _TEXTS):
        return False
    points = one.get("points")
    return (
        type(one.get("counted")) is bool
        and isinstance(one.get("contains"), list)
        and all(name in ("cpu", "dram") for name in one["contains"])
        and type(one.get("max_w")) is int
        and 0 < one["max_w"] < 1 << 32
        and isinstance(points, list)
        and len(points) in (1, 2)
        and all(isinstance(point, list) and len(point) == 2 and all(map(_is_count, point)) for point in points)
        and points[0] <= points[-1]
        and (len(points) == 1 or (points[0][0] < points[1][0] and points[0][1] <= points[1][1]))
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63
