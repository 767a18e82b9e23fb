"""A sensor in a process of its own, for what calls a vendor's library: that may abort, crash, hang or call exit().

Nothing else stops then. The process is started again, and the device's counter has counted on meanwhile: energy is
missing only of a device whose power is integrated. Each way in which the process ended is named in the file.
"""

from __future__ import annotations

from .forked import Forked, ProcessEnded
from .log import log
from .sensor_calls import SensorFailed
from .sensors.base import FILE_TIMEOUT_S, TYPE_CHECKING, Absent, Channel, Gpu, Opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from .gpu_busy import GpuBusy
    from .sensor_child import UseOfGpus
    from .sensor_messages import Message
    from .sensors.base import Sensor

OPEN_TIMEOUT_S = 60
READ_TIMEOUT_S = 20
"""Seconds after which a process that does not answer is killed: NVML may take long to wake up eight GPUs."""

RESTART_AFTER_READS = 30
"""Reads, at least, from one start of a process to the next."""

MOST_DEATHS = 3
"""So many times in a row without a reading, and the sensor is given up."""

MOST_PROBLEMS = 8
"""Different ways to end that are named in the file; each takes a new header."""


class SensorProcess:
    """The sensor that ``make`` gives, in its own process. ``make`` is called there with what takes the utilisation of
    GPUs, which arrives in ``busy``. ``defers_to_builtin``: see ``sensors.site``. ``missing`` gives the reason, if that
    is known, for which it will not open, without waiting for it; an empty one where the job lacks nothing by that."""

    may_block = True
    timeout_s = FILE_TIMEOUT_S
    advice = "the library of this sensor fails: check its driver, such as with nvidia-smi, and the kernel log (dmesg)"

    def __init__(
        self,
        name: str,
        component: str,
        make: Callable[[UseOfGpus], Sensor],
        *,
        busy: GpuBusy | None = None,
        defers_to_builtin: bool = False,
        missing: Callable[[], str | None] = lambda: None,
        open_timeout_s: int = OPEN_TIMEOUT_S,
        read_timeout_s: int = READ_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.component = component
        self.defers_to_builtin = defers_to_builtin
        self.missing = missing
        self.make = make
        self.problems: list[str] = []
        """The ways in which the process ended, each once, from when it reads again or is given up."""
        self._busy = busy
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._process: Forked | None = None
        self._killed: Forked | None = None
        self._keys: list[tuple[str, str, str]] = []
        self._places: list[int | None] = []
        self._gpus = 0
        self._reads = self._deaths = 0
        self._problem: str | None = None
        self._is_good = False
        self._past_cpu_ns = 0

    @property
    def cpu_ns(self) -> int:
        """CPU time of the processes so far."""
        return self._past_cpu_ns + (0 if self._process is None else self._process.cpu_ns)

    def open(self) -> Opened:
        """Start the process and open the sensor there. Raises SensorFailed with the error of the sensor."""
        while True:
            try:
                opened = self._start()
            except ProcessEnded as ended:
                self._note_end(str(ended))
                if self._deaths < MOST_DEATHS:
                    continue
                reason, self._problem = self._problem or "", None
                absent = Absent(self.component, self.name, reason)
                return Opened([], [absent], [], unread_gpus=int(self.component == "gpu"))
            self._keys = [_key(channel) for channel in opened.channels]
            self._places = list(range(len(self._keys)))
            if not self._keys:
                self.close()
            return opened

    def read(self) -> list[int | None]:
        """The sensor's values; None for all while its process is not there. Raises SensorFailed with its error."""
        self._reads += 1
        if self._is_good:
            # not before the reading that bridges the time without the process has been counted
            self.settle()
        self._is_good = False
        try:
            if self._process is None and not self._restart():
                return [None] * len(self._keys)
            values = self._read()
        except ProcessEnded as ended:
            self._note_end(str(ended))
            if self._busy is not None:
                self._busy.update([None] * self._gpus)
            if self._deaths >= MOST_DEATHS:
                self.settle()
            return [None] * len(self._keys)
        self._deaths = 0
        self._is_good = True
        return [None if place is None or place >= len(values) else values[place] for place in self._places]

    def settle(self) -> None:
        """Put the latest end of the process among the ``problems``."""
        problem, self._problem = self._problem, None
        if problem is not None and problem not in self.problems and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            self._killed = None if process.is_gone() else process
            self._past_cpu_ns += process.cpu_ns

    def _start(self) -> Opened:
        """A new process with the sensor open. Raises ProcessEnded or SensorFailed."""
        self._reads = 0
        make = self.make

        def serve(requests: int, replies: int, parent: int) -> None:
            from .sensor_child import serve

            serve(make, requests, replies, parent)

        self._process = Forked(serve)
        messages = self._process.answer("opened", self._open_timeout_s)
        self._take_use(messages)
        try:
            _raise_failure(messages)
        except SensorFailed:
            self.close()
            raise
        return _opened(messages)

    def _restart(self) -> bool:
        """Start the process again where that is due; whether it was. Raises ProcessEnded."""
        if self._deaths >= MOST_DEATHS or self._reads < RESTART_AFTER_READS:
            return False
        if self._killed is not None:
            if not self._killed.is_gone():
                return False  # a second one would hang in the driver as the first does
            self._killed = None
        try:
            keys = [_key(channel) for channel in self._start().channels]
        except SensorFailed as failed:
            raise ProcessEnded(f"started again: {failed}") from None
        self._places = [keys.index(key) if key in keys else None for key in self._keys]
        return True

    def _read(self) -> list[int | None]:
        """What the process reads now. Raises ProcessEnded or SensorFailed."""
        assert self._process is not None
        self._process.ask()
        messages = self._process.answer("read", self._read_timeout_s)
        self._take_use(messages)
        _raise_failure(messages)
        found = [list(values.values()) for kind, values in messages if kind == "values"]
        return [value if type(value) is int else None for value in (found[0] if found else [])]

    def _take_use(self, messages: list[Message]) -> None:
        if self._busy is None:
            return
        for kind, values in messages:
            if kind == "reason" and values.get("text") not in self._busy.reasons:
                self._busy.reasons.append(str(values.get("text")))
            elif kind == "percents":
                self._gpus = len(values)
                self._busy.update([value if type(value) is int else None for value in values.values()])

    def _note_end(self, reason: str) -> None:
        self.close()
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            reason += f"; {MOST_DEATHS} times in a row, so it is not read any more"
        self._problem = reason
        log(f"{self.name}: {reason}", once=f"{self.name} {reason}")


def _opened(messages: list[Message]) -> Opened:
    """What the sensor found. Raises ProcessEnded for what is no such thing."""
    opened = Opened([], [], [])
    try:
        for kind, values in messages:
            if kind == "channel":
                contains = tuple(str(values.pop("contains", "")).split())
                opened.channels.append(Channel(**values, contains=contains))  # type: ignore[arg-type]
            elif kind == "absent":
                opened.absent.append(Absent(**values))  # type: ignore[arg-type]
            elif kind == "gpu":
                opened.gpus.append(Gpu(**values))  # type: ignore[arg-type]
            elif kind == "limit":
                opened.cpu_limit_uw = values.get("cpu_limit_uw")  # type: ignore[assignment]
                opened.unread_gpus = values.get("unread_gpus") or 0  # type: ignore[assignment]
    except TypeError:
        raise ProcessEnded("its process gave an unreadable answer") from None
    return opened


def _raise_failure(messages: list[Message]) -> None:
    for kind, values in messages:
        if kind == "failed":
            raise SensorFailed(str(values.get("reason")))


def _key(channel: Channel) -> tuple[str, str, str]:
    return channel.component, channel.domain, channel.source
