"""What the node's counters showed, for the sidecars of users who may not read the sensors: one small file.

It changes once in ``step_ns`` and holds the last two readings of each channel. Readings less than a millisecond apart
would show what others compute (CVE-2020-8694); those of 10 s show no more than the power that a job draws.
"""

from __future__ import annotations

import contextlib
import os

from ..jsonline import dumps
from ..log import log
from . import AGENT_SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..sensor_in_use import ActiveChannel


class Publisher:
    """Writes ``path`` (0644) anew in one step. Energies are counted since ``begun_ns``, the start of the agent."""

    def __init__(self, path: str, step_ns: int, node: str, boot_id: str | None, begun_ns: int) -> None:
        self._path = path
        self._step_ns = step_ns
        self._head = {
            "schema": AGENT_SCHEMA,
            "node": node,
            "boot_id": boot_id,
            "begun_ns": begun_ns,
            "step_s": step_ns / 1e9,
        }
        self._next_ns = 0
        self._before_uj: dict[tuple[str, str, str], int] = {}
        self._last: dict[tuple[str, str, str], tuple[int, int]] = {}

    def note_restart(self, entries: Sequence[ActiveChannel]) -> None:
        """Keep what the meters have counted, which are about to count from 0 again."""
        for entry in entries:
            key = _key(entry)
            self._before_uj[key] = self._before_uj.get(key, 0) + (entry.meter.energy_uj or 0)

    def update(self, sampled_ns: int, wall_ns: int, entries: Sequence[ActiveChannel]) -> None:
        """Publish where that is due."""
        if sampled_ns < self._next_ns:
            return
        self._next_ns = (sampled_ns // self._step_ns + 1) * self._step_ns
        channels: list[dict[str, object]] = []
        for entry in entries:
            channel, meter = entry.channel, entry.meter
            if channel.scope != "node" or channel.quality != "measured" or not meter.is_reading:
                continue
            key = _key(entry)
            now = (meter.at_ns, self._before_uj.get(key, 0) + (meter.energy_uj or 0))
            points = [point for point in (self._last.get(key), now) if point is not None]
            self._last[key] = now
            channels.append({**_description(entry), "points": points})
        self._write(dumps({**self._head, "boottime_ns": sampled_ns, "wall_ns": wall_ns, "channels": channels}))

    def close(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def _write(self, text: str) -> None:
        new = f"{self._path}.new"
        try:
            folder = os.path.dirname(self._path)
            if not os.path.isdir(folder):
                os.mkdir(folder)
                os.chmod(folder, 0o755)  # whatever the umask
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                os.fchmod(fd, 0o644)
                os.write(fd, text.encode("ascii") + b"\n")
            finally:
                os.close(fd)
            os.rename(new, self._path)
        except OSError as error:
            log(f"cannot publish {self._path}: {error.strerror}", once=f"publish {error.errno}")


def _key(entry: ActiveChannel) -> tuple[str, str, str]:
    return entry.channel.component, entry.channel.domain, entry.channel.source


def _description(entry: ActiveChannel) -> dict[str, object]:
    channel = entry.channel
    names = ("component", "domain", "source", "boundary", "counted", "max_w", "detail", "contains")
    return {name: getattr(channel, name) for name in names}
