"""Which source is used for which component: the best that can be read, else a fallback.

The primary sensors are the best. A fallback is a less accurate source of one component; it is made, and its files are
opened, only where no better source covers all of the component, in the order of the fallbacks.
Two sources never count the same joule: a fallback that merges adds missing domains, any other one replaces the
channels of the component. A source that fails for ``FAILED_READS`` samples in a row, or whose counter stands still, is
replaced by the next fallback, where there is one.
"""

from __future__ import annotations

from .counter import PowerIntegral, power_gap_ns
from .log import log
from .missing_sensors import HEADER_WAIT_S, missing_sensors
from .sampling_rate import slower_ns
from .sensor_calls import open_sensor, read_sensor
from .sensor_in_use import ActiveChannel, SensorInUse, problems_of
from .sensor_process import SensorProcess
from .sensors.base import PM_COUNTERS, POWER_UW, TYPE_CHECKING, Absent, Gpu
from .worker import SensorReading, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sensor_in_use import Fallback
    from .sensors.base import Channel, Opened, Sensor

FAILED_READS = 10
"""Samples without a value after which a source is replaced by a fallback."""

_SLICE_S = 0.02


class SensorSelection:
    """All sources of a node, and what they found."""

    def __init__(
        self,
        sensors: Sequence[Sensor],
        fallbacks: Sequence[Fallback],
        clock_ns: Callable[[], int],
        stop: Callable[[], bool],
        interval_ns: int = 0,
    ) -> None:
        """Open everything, waiting up to ``HEADER_WAIT_S`` for what may hang; ``stop`` ends the wait.

        ``interval_ns`` is how far samples are apart.
        """
        self._clock_ns = clock_ns
        self._gap_ns = power_gap_ns(interval_ns)
        self._stop = stop
        self._fallbacks = list(fallbacks)
        self._absent: list[Absent] = []
        self._sources: list[SensorInUse] = []
        self._late: list[SensorInUse] = []
        self._announced = 0
        self._tried: set[int] = set()
        self.gpus: list[Gpu] = []
        self.cpu_limit_uw: int | None = None
        self._unread_gpus: dict[tuple[str, str], int] = {}
        self._opened: list[tuple[str, str]] = []
        self._in_other_gpus: set[str] = set()
        deadline_ns = clock_ns() + int(HEADER_WAIT_S * 1e9)
        # opened all at once, but adopted in their order
        sources = [SensorInUse(sensor, Worker(sensor, clock_ns) if sensor.may_block else None) for sensor in sensors]
        self._late = [source for source in sources if source.worker is not None]
        direct = [open_sensor(source.sensor) if source.worker is None else None for source in sources]
        for source in self._late:
            self._wait(source, deadline_ns)
        for source, opened in zip(sources, direct):  # noqa: B905 (strict= is not in Python 3.9)
            if opened is None:
                self._adopt_if_open(source)
            else:
                self._adopt(source, opened)
        self._open_fallbacks(deadline_ns)

    @property
    def entries(self) -> list[ActiveChannel]:
        """The channels in use, in the order of the header."""
        return [entry for source in self._sources for entry in source.entries if entry.used]

    @property
    def absent(self) -> list[Absent]:
        """Better sources that are not used, and why; see ``missing_sensors``."""
        return missing_sensors(self._sources, self._late, self._absent)

    @property
    def gpus_unread(self) -> int:
        """How many GPUs the job may hold, at least, that are present and that no source reads."""
        covering = {
            entry.channel.source for entry in self.entries if entry.channel.component == "gpu" and entry.channel.counted
        }
        return 0 if PM_COUNTERS in covering else sum(self._unread_gpus.values())

    def header(self) -> dict[str, object]:
        """What was found, as it stands in a header line."""
        elsewhere = {"in_other_gpus": sorted(self._in_other_gpus)} if self._in_other_gpus else {}
        return {
            **elsewhere,
            "cpu_limit_uw": self.cpu_limit_uw,
            "gpus": [gpu.header() for gpu in self.gpus],
            "channels": [entry.channel.header() for entry in self.entries],
            "absent": [entry.header() for entry in self.absent],
        }

    @property
    def is_waiting(self) -> bool:
        """Whether a sensor is late."""
        return bool(self._late)

    def has_late_opened(self) -> bool:
        """Whether a sensor that was late has opened by now."""
        return any(source.worker and source.worker.wait(0) for source in self._late)

    def adopt_opened(self) -> None:
        """Adopt the sensors that have opened by now, and fallbacks where they found nothing."""
        self._adopt_late()
        self._open_fallbacks(self._clock_ns())

    def has_new_problem(self, *, at_end: bool = False) -> bool:
        """Whether the process of a sensor has ended in a way that the header does not name yet."""
        if at_end:
            for source in self._sources:
                if isinstance(source.sensor, SensorProcess):
                    source.sensor.settle()
        return sum(len(problems_of(source)) for source in self._sources) > self._announced

    def cpu_ns(self) -> int:
        """CPU time of the sensors' own processes."""
        sensors = [source.sensor for source in (*self._sources, *self._late)]
        return sum(sensor.cpu_ns for sensor in sensors if isinstance(sensor, SensorProcess))

    def slower(self, interval_ns: int) -> int:
        """Twice the interval, as far as the sensors allow it; the gaps that power readings may have fit it then."""
        entries = self.entries
        wraps = [entry.meter.wrap_ns for entry in entries if entry.meter.wrap_ns is not None]
        has_power = any(entry.channel.quantity == POWER_UW for entry in entries)
        interval_ns = slower_ns(interval_ns, min(wraps) if wraps else None, has_power)
        self._gap_ns = power_gap_ns(interval_ns)
        for entry in self.entries:
            if isinstance(entry.meter, PowerIntegral):
                entry.meter.gap_ns = self._gap_ns
        return interval_ns

    def restart(self) -> None:
        """Let all meters count from 0, for a new header."""
        self._announced = sum(len(problems_of(source)) for source in self._sources)
        for entry in self.entries:
            entry.restart()

    def sample(self, wait_s: float) -> int:
        """Read every source once, waiting up to ``wait_s`` for those in threads.

        Returns the moment of the sample: the middle of its first and last reading, or now where there was none.
        """
        moments = []
        hung = []
        for source in self._sources:
            if source.worker is not None:
                if source.worker.busy:
                    hung.append(source)
                source.worker.start_read()
        for source in self._sources:
            if source.worker is None:
                begun_ns = self._clock_ns()
                values = read_sensor(source.sensor, len(source.entries))
                reading = SensorReading(begun_ns, self._clock_ns(), values)
                moments.append(reading.at_ns)
                source.update(reading)
        asked_ns = self._clock_ns()
        for source in self._sources:
            worker = source.worker
            if worker is None:
                continue
            # one that hung before this sample is not waited for
            timeout_s = max(wait_s, source.timeout_s)
            left_s = 0.0 if source in hung else timeout_s - (self._clock_ns() - asked_ns) / 1e9
            if worker.wait(left_s) and worker.reading is not None:
                # a read that was started for an earlier sample does not belong to the time of this one
                if source not in hung:
                    moments.append(worker.reading.at_ns)
                source.update(worker.reading)
            else:
                now_ns = self._clock_ns()
                source.update(SensorReading(now_ns, now_ns, [None] * len(source.entries)))
                name = source.sensor.name
                log(f"{name} does not respond; sampling continues without it", once=f"{name} hangs")
        return (min(moments) + max(moments)) // 2 if moments else self._clock_ns()

    def replaceable(self) -> list[ActiveChannel]:
        """Counted channels that have failed for long, or stand still, while a fallback for their component is left."""
        if not self._fallbacks:
            return []
        components = {fallback.component for fallback in self._fallbacks}
        return [
            entry
            for entry in self.entries
            if (entry.failures >= FAILED_READS or entry.meter.is_frozen())
            and entry.channel.counted
            and entry.channel.component in components
            and id(entry) not in self._tried
        ]

    def replace(self, failed: list[ActiveChannel]) -> bool:
        """Use fallbacks in place of ``failed``; whether there was one. Each is tried only once."""
        if not failed:
            return False
        for entry in failed:
            self._tried.add(id(entry))
            entry.used = False
        before = len(self._sources)
        refused = len(self._absent)
        for entry in failed:
            channel = entry.channel
            what = "stands still" if entry.meter.is_frozen() else f"read error {entry.failures} times"
            reason = f"{what}: {channel.detail}"
            self._absent.append(Absent(channel.component, channel.source, reason, channel.domain))
        self._open_fallbacks(self._clock_ns() + int(HEADER_WAIT_S * 1e9) // 4)
        if any(entry.used for source in self._sources[before:] for entry in source.entries):
            return True
        # no fallback: keep trying the source itself
        del self._absent[refused : refused + len(failed)]
        for entry in failed:
            entry.used = True
        return False

    def look_again(self, sources: Sequence[Fallback]) -> bool:
        """Try ``sources`` for what is not covered; whether a header is due, for what is read or named from now on."""
        before = [id(entry) for entry in self.entries], self._named()
        earlier = list(self._absent)
        self._opened = []
        self._fallbacks = list(sources)
        self._open_fallbacks(self._clock_ns() + int(HEADER_WAIT_S * 1e9) // 4)
        # what a source lacked before, it does not lack any more or has named again
        self._absent = [
            entry
            for entry in self._absent
            if entry not in earlier or (entry.component, entry.source) not in self._opened
        ]
        return ([id(entry) for entry in self.entries], self._named()) != before

    def _named(self) -> list[tuple[str, str, str]]:
        return sorted((entry.component, entry.source, entry.reason) for entry in self._absent)

    def _open_fallbacks(self, deadline_ns: int) -> None:
        """Open the fallbacks that are needed."""
        for fallback in list(self._fallbacks):
            is_new = fallback.adds and not self._is_whole(fallback.component)
            if not (is_new or self._is_wanting(fallback.component)) or self._stop():
                continue
            self._fallbacks.remove(fallback)
            sensor = fallback.make(fallback.component, frozenset(self._domains(fallback.beside)))
            if sensor is None:
                continue
            worker = Worker(sensor, self._clock_ns) if sensor.may_block else None
            source = SensorInUse(sensor, worker, fallback)
            if worker is None:
                self._adopt(source, open_sensor(sensor))
                continue
            self._wait(source, deadline_ns)
            if worker.wait(0) and worker.opened is not None:
                self._adopt(source, worker.opened)
            else:
                self._late.append(source)

    def _domains(self, component: str) -> set[str]:
        return {
            entry.channel.domain
            for entry in self.entries
            if entry.channel.component == component and entry.channel.counted
        }

    def _is_wanting(self, component: str) -> bool:
        """Whether no source covers ``component``, or not all of it; False while a sensor for it is late."""
        if any(component in source.components for source in self._late):
            return False
        if component in self._in_other_gpus or any(component in gpu.contains for gpu in self._counted_gpus()):
            return False
        domains = self._domains(component)
        if not domains:
            return True
        missing = [entry.domain for entry in self._absent if entry.component == component and entry.domain]
        return any(domain not in domains for domain in missing)

    def _is_whole(self, component: str) -> bool:
        """Whether one source covers all of ``component``."""
        return any(
            source.is_whole and entry.used and entry.channel.counted and entry.channel.component == component
            for source in self._sources
            for entry in source.entries
        )

    def _adopt(self, source: SensorInUse, opened: Opened) -> None:
        """Use what a sensor found; a source without channels is not read."""
        self._opened += [(component, source.sensor.name) for component in source.components]
        self._absent += opened.absent
        self.cpu_limit_uw = self.cpu_limit_uw or opened.cpu_limit_uw
        self._unread_gpus[source.sensor.component, source.sensor.name] = opened.unread_gpus
        for gpu in opened.gpus:
            if gpu.uuid not in [known.uuid for known in self.gpus]:
                self.gpus.append(gpu)
        for channel in opened.channels:
            if getattr(source.sensor, "defers_to_builtin", False) and self._domains(channel.component):
                channel.counted = False
        self._in_other_gpus.update(opened.in_other_gpus)
        source.entries = [ActiveChannel(channel, self._gap_ns) for channel in opened.channels]
        if source.entries:
            self._use(source)
        gpus = self._counted_gpus()
        for entry in self.entries:
            channel = entry.channel
            if channel.component in self._in_other_gpus or any(gpu.has(channel) for gpu in gpus):
                channel.counted = False

    def _use(self, source: SensorInUse) -> None:
        """Read a source that has channels, unless others have all of them."""
        fallback = source.fallback
        if fallback is not None and (fallback.merges or any(entry.channel.counted for entry in source.entries)):
            self._displace(source, fallback)
            if not any(entry.used for entry in source.entries):
                source.sensor.close()
                return
        self._sources.append(source)

    def _counted_gpus(self) -> list[Channel]:
        """The channels of GPUs, of which some are of one piece with processors, whose energy is in their readings.
        (A processor that is read with its memory may stand beside another one that is not.)"""
        return [entry.channel for entry in self.entries if entry.channel.component == "gpu" and entry.channel.counted]

    def _displace(self, source: SensorInUse, fallback: Fallback) -> None:
        if fallback.merges:
            taken = [(entry.channel.component, entry.channel.domain) for entry in self.entries]
            for entry in source.entries:
                entry.used = (entry.channel.component, entry.channel.domain) not in taken
            return
        # it covers the whole component, so channels for parts of it are not counted
        for entry in self.entries:
            if entry.channel.component == fallback.component and entry.channel.counted:
                entry.used = False

    def _adopt_late(self) -> None:
        for source in list(self._late):
            self._adopt_if_open(source)

    def _adopt_if_open(self, source: SensorInUse) -> None:
        worker = source.worker
        if worker is not None and worker.wait(0) and worker.opened is not None:
            self._late.remove(source)
            self._adopt(source, worker.opened)

    def _wait(self, source: SensorInUse, deadline_ns: int) -> None:
        worker = source.worker
        while worker and not worker.wait(_SLICE_S) and self._clock_ns() < deadline_ns:
            if self._stop():
                return
