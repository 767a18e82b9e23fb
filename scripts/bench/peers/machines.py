"""The simulated machines of the `sensors` benchmark: their counters, and the true energy of any interval.

Built from the same parts as the lab's hardware (`labkit.hardware`): power is a sum of waves of CLOCK_BOOTTIME
and energy is its exact integral.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from labkit import waveform
from labkit.hardware import MS, RAPL_RANGE_UJ, SQUARE, Domain, Gpu, W, Wave, steady

NODE = "bench"
GPU_RANGE_UJ = 2**63 - 1
FIRST_UJ = 10_000_000_000
APART_UJ = 1_300_000_007
"""Where the counters start: far from a turn in the unwrapping cases, and distinct."""

COMPONENTS = {"package": "cpu", "core": "core", "dram": "dram", "psys": "psys", "gpu": "gpu"}


@dataclass(frozen=True)
class Zone:
    """A counter before it has a node and a starting value. `path` is None for a GPU."""

    name: str
    label: str
    path: str | None
    waves: tuple[Wave, ...]
    range_uj: int = RAPL_RANGE_UJ


@dataclass(frozen=True)
class Case:
    """One machine. `denied` takes the right to read RAPL away; `gpu_counter` is False for GPUs with power only."""

    name: str
    words: str
    zones: tuple[Zone, ...]
    denied: bool = False
    gpu_counter: bool = True

    @property
    def gpus(self) -> int:
        """How many GPUs there are."""
        return sum(zone.path is None for zone in self.zones)

    def domains(self, now_ns: int) -> tuple[Domain, ...]:
        """The counters, set so that they start at known values at `now_ns` of CLOCK_BOOTTIME."""
        return tuple(_domain(zone, number, now_ns) for number, zone in enumerate(self.zones))

    def devices(self) -> tuple[Gpu, ...]:
        """The GPUs."""
        return tuple(
            Gpu(NODE, index, f"GPU-5e000000-0000-4000-8000-{index:012x}", f"gpu-{index}") for index in range(self.gpus)
        )


def truth_uj(domains: Sequence[Domain], from_ns: int, to_ns: int) -> dict[str, int]:
    """True microjoules of each component (cpu, dram, gpu, psys, core) between two moments of CLOCK_BOOTTIME."""
    total: dict[str, int] = {}
    for domain in domains:
        component = COMPONENTS[domain.name.partition("-")[0]]
        used = waveform.domain_energy_uj(domain, to_ns) - waveform.domain_energy_uj(domain, from_ns)
        total[component] = total.get(component, 0) + used
    return total


def _domain(zone: Zone, number: int, now_ns: int) -> Domain:
    plain = Domain(NODE, zone.name, zone.label, zone.path, zone.waves, 0, zone.range_uj)
    start_uj = FIRST_UJ + number * APART_UJ
    return replace(plain, offset_uj=(start_uj - waveform.domain_energy_uj(plain, now_ns)) % (zone.range_uj + 1))


def _square(low_w: int, high_w: int, period_ms: int) -> tuple[Wave, ...]:
    """High in the first half of each period."""
    return (steady(low_w * W), Wave(SQUARE, (high_w - low_w) * W, period_ms * MS, period_ms * MS // 2))


def _socket(number: int, package: tuple[Wave, ...], *parts: tuple[str, tuple[Wave, ...]], **more: int) -> list[Zone]:
    """A package and the zones inside it, in the kernel's order."""
    top = f"intel-rapl:{number}"
    inside = [
        Zone(f"{label}-{number}", label, f"{top}/{top}:{index}", waves, **more)
        for index, (label, waves) in enumerate(parts)
    ]
    return [Zone(f"package-{number}", f"package-{number}", top, package, **more), *inside]


def _gpus(*waves: tuple[Wave, ...]) -> list[Zone]:
    return [Zone(f"gpu-{index}", f"gpu-{index}", None, wave, GPU_RANGE_UJ) for index, wave in enumerate(waves)]


_FLAT = {watts: (steady(watts * W),) for watts in (8, 10, 50, 60, 80, 100, 200, 260)}
_TWO_GPUS = _gpus(_square(100, 300, 1300), _square(120, 280, 1700))
_TWO_SOCKETS = [*_socket(0, _FLAT[100], ("dram", _FLAT[10])), *_socket(1, _FLAT[80], ("dram", _FLAT[8]))]
_WITH_PSYS = [
    *_socket(0, _FLAT[100], ("core", _FLAT[60]), ("dram", _FLAT[10])),
    *_socket(1, _FLAT[80], ("core", _FLAT[50]), ("dram", _FLAT[8])),
    Zone("psys", "psys", "intel-rapl:2", _FLAT[260]),
]
_WRAPPING = [
    *_socket(0, (steady(280 * W),), ("core", (steady(190 * W),)), range_uj=4_199_999_999),
    *_socket(1, (steady(240 * W),), ("core", (steady(160 * W),)), range_uj=3_700_000_003),
]

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case(
            "steady",
            "one socket at 100 W, dram 10 W, a GPU at 200 W",
            (*_socket(0, _FLAT[100], ("dram", _FLAT[10])), *_gpus(_FLAT[200])),
        ),
        Case(
            "square",
            "one socket 40/160 W every 2.7 s, dram 6/14 W every 3.1 s, a GPU 100/300 W every 1.7 s",
            (*_socket(0, _square(40, 160, 2700), ("dram", _square(6, 14, 3100))), *_gpus(_square(100, 300, 1700))),
        ),
        Case(
            "wrapping",
            "two sockets at 280 and 240 W without dram, whose counters turn over every 15.0 and 15.4 s; a GPU at 200 W",
            (*_WRAPPING, *_gpus(_FLAT[200])),
        ),
        Case(
            "two-socket",
            "100 + 80 W, dram 10 + 8 W, two GPUs on square waves of 200 W in the mean",
            (*_TWO_SOCKETS, *_TWO_GPUS),
        ),
        Case("psys", "the same with core zones, and psys at 260 W", (*_WITH_PSYS, *_TWO_GPUS)),
        Case(
            "denied",
            "two-socket, but energy_uj belongs to another user (mode 0400)",
            (*_TWO_SOCKETS, *_TWO_GPUS),
            denied=True,
        ),
        Case(
            "no-gpu-counter",
            "two-socket, but the GPUs tell power only, as before Volta",
            (*_TWO_SOCKETS, *_TWO_GPUS),
            gpu_counter=False,
        ),
    )
}
