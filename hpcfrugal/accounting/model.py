"""Modelled energy of components without a sensor: design power, cores, memory size, time and load.

    cpu   (I + (P - I) x load) x time, with I and P a share of the design power of all CPUs of the node
    dram  0.2 W per GB x time
    gpu   a share of the power limit x time

I and P are medians of wall power over design power of servers without accelerators: SPECpower_ssj2008 results of one
and two sockets, Sandy Bridge to Turin, n = 451 (https://www.spec.org/power_ssj2008/results/), less 0.1 of the design
power for their memory, which is in ``dram`` (0.5 GB per watt of design power is assumed). So the figure of the CPU
includes fans and power supplies, which RAPL does not read. Shares of GPUs are medians of published measurements, see
``GPU_UNKNOWN``.

Every figure has a range in which 90 % of the true ones are expected. That of whole nodes is the spread of the same
results. That of a job on a shared node is an estimate, since the effect of other jobs on its power is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from hpcfrugal.core.quick import dataclass

MODEL_VERSION = 1
"""Raise it where figures of the model change: a factor that was found for another version does not calibrate it."""


class ModelRange(NamedTuple):
    """Ends of the range of 90 %, in permille of the figure."""

    low: int
    high: int

    def of(self, energy_uj: int) -> tuple[int, int]:
        """The range of an energy."""
        return energy_uj * self.low // 1000, energy_uj * self.high // 1000


class ServerClass(NamedTuple):
    """Power of a kind of server without its memory, in permille of its design power, idle and at full load.

    ``core_mw``: design power per physical core if that of the CPU is unknown, with ``unknown`` as its range.
    """

    name: str
    idle: int
    full: int
    core_mw: int
    unknown: ModelRange


EPYC = ServerClass("EPYC", 90, 860, 3600, ModelRange(400, 1400))
XEON = ServerClass("Xeon", 140, 1050, 6500, ModelRange(400, 1400))
OTHER = ServerClass("other", 120, 990, 6500, ModelRange(200, 2000))
"""Other makes: the median of all servers; the range is an estimate."""

EXACT = ModelRange(1000, 1000)
SHARED_NODE = ModelRange(550, 1900)

_BY_LOAD = ((0, ModelRange(570, 1900)), (100, ModelRange(650, 1750)), (1000, ModelRange(800, 1300)))
"""Range of a whole node by its load in permille, interpolated between these."""

DRAM_NW_PER_B_E4 = 2000
"""0.2 W/GB with 1 GB = 10^9 bytes, i.e. 2000 e-4 nW per byte. Published figures: CodeCarbon 0.14 (16 modules of 32
GB), Boavizta 0.284, Green Algorithms 0.3725 (doi:10.1002/advs.202100707), Cloud Carbon Footprint 0.392. Modern nodes
have large modules, which take less per GB."""

DRAM_RANGE = ModelRange(500, 2000)


class GpuShare(NamedTuple):
    """Power of a GPU in permille of its power limit, and its range of 90 %."""

    share: int
    low: int
    high: int


GPU_IDLE = GpuShare(200, 50, 300)
GPU_BUSY = GpuShare(700, 250, 970)
GPU_UNKNOWN = GpuShare(550, 150, 970)
"""Allocated but hardly used, used all the time, use unknown. Medians of measurements over the limit: training 0.65
(Zeus), LLM inference 0.64, diffusion 0.79 (ML.ENERGY leaderboard v2), a node of 8 H100 in training 0.76
(arXiv:2506.14551)."""

_UNKNOWN_GPU = (3, 5)
"""A GPU that is not in the table may draw a third of the figure, or five times as much."""

_MARKS = re.compile(r"\((?:r|tm|c)\)|[®™]", re.IGNORECASE)
_CPU_NOISE = re.compile(
    r"@.*$|\b\d+(?:st|nd|rd|th) gen\b|\b(?:\d+|one|two|four|six|eight|twelve|sixteen)-core\b"
    r"|\b(?:cpu|processor|intel|amd|genuine)\b|\bwith radeon.*$",
    re.IGNORECASE,
)
_GPU_NOISE = frozenset({"nvidia", "geforce", "tesla", "amd", "instinct", "graphics", "device"})
_GPU_FORM = re.compile(r"(?:sxm\d?|pcie|hbm\d?e?|\d+gb)")


@dataclass(frozen=True, slots=True)
class Tdp:
    """Thermal design power of a device, and its number of cores (1 for a GPU)."""

    model: str
    tdp_mw: int
    cores: int
    source: str


@dataclass(frozen=True, slots=True)
class Match:
    """The row of a table for a device; ``exact`` is False if it is the fallback."""

    tdp: Tdp
    exact: bool


@dataclass(frozen=True, slots=True)
class DesignPower:
    """Design power of all CPUs of a node, and its source as text; ``known`` False: from the number of cores alone."""

    power_uw: int
    source: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class CpuPower:
    """Power of a node without its memory and accelerators, idle and with all of its physical cores busy."""

    idle_uw: int
    full_uw: int
    cores: int


@dataclass(frozen=True, slots=True)
class TdpTable:
    """Rows by model, and the fallback for other devices."""

    rows: tuple[Tdp, ...]
    fallback: Tdp


def cpu_key(name: str) -> str:
    """The part of a CPU's name that identifies its model.

    >>> cpu_key("Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz")
    'xeon gold 6248'
    >>> cpu_key("AMD EPYC 7763 64-Core Processor")
    'epyc 7763'
    """
    return " ".join(_CPU_NOISE.sub(" ", _MARKS.sub(" ", name)).lower().split())


def gpu_tokens(name: str) -> frozenset[str]:
    """The words of a GPU's name that identify its model, in any order."""
    words = re.split(r"[\s\-_/]+", _MARKS.sub(" ", name).lower())
    return frozenset(word for word in words if word and word not in _GPU_NOISE)


def find_cpu(rows: Mapping[str, Tdp], name: str | None) -> Tdp | None:
    """The row of a CPU by its name in /proc/cpuinfo; ``rows`` are by ``cpu_key``."""
    return rows.get(cpu_key(name)) if name else None


def server_class(cpu_name: str | None) -> ServerClass:
    """The kind of server by the name of its CPU in /proc/cpuinfo."""
    words = re.split(r"\W+", _MARKS.sub(" ", cpu_name or "").lower())
    if {"amd", "epyc", "hygon"}.intersection(words):
        return EPYC
    return XEON if {"intel", "xeon"}.intersection(words) else OTHER


def design_power(rows: Mapping[str, Tdp], cpu_name: str | None, cores: int) -> DesignPower:
    """The design power of ``cores`` physical cores by the name of the CPU.

    By cores, since the packages of a virtual machine are not those of the hardware.
    """
    row = find_cpu(rows, cpu_name)
    if row is not None:
        return DesignPower(
            row.tdp_mw * cores * 1000 // row.cores, f"{row.model}: {row.tdp_mw / 1000:g} W, {row.cores} cores"
        )
    core_mw = server_class(cpu_name).core_mw
    why = f"no figure for {cpu_name[:60]!r}" if cpu_name else "model of the CPU unknown"
    return DesignPower(core_mw * cores * 1000, f"{why}, {core_mw / 1000:g} W per core", known=False)


def cpu_power(design: DesignPower, kind: ServerClass, cores: int, idle_uw: int | None = None) -> CpuPower:
    """The power of a node with this design power. ``idle_uw``: its idle power, if that is known."""
    full_uw = design.power_uw * kind.full // 1000
    return CpuPower(min(design.power_uw * kind.idle // 1000 if idle_uw is None else idle_uw, full_uw), full_uw, cores)


def find_gpu(table: TdpTable, name: str | None) -> Match:
    """The row of a GPU by its name in NVML, or by the short name that a cluster's Slurm has for it.

    A row without the form factor or memory size (V100 for Tesla V100-SXM2-16GB) matches too; the one with most words in
    common is taken. For a name without them (a100) it is the form with the highest limit.
    """
    wanted = gpu_tokens(name) if name else frozenset()
    best: Tdp | None = None
    best_words = 0
    for row in table.rows:
        words = gpu_tokens(row.model)
        if words == wanted:
            return Match(row, exact=True)
        rest = wanted - words
        fits = words < wanted and all(_GPU_FORM.fullmatch(word) for word in rest)
        if fits and len(words) > best_words:
            best, best_words = row, len(words)
    if best is None and wanted:
        forms = [row for row in table.rows if _is_form_of(gpu_tokens(row.model), wanted)]
        best = max(forms, key=lambda row: row.tdp_mw, default=None)
    return Match(best, exact=True) if best is not None else Match(table.fallback, exact=False)


def _is_form_of(words: frozenset[str], wanted: frozenset[str]) -> bool:
    return wanted < words and all(_GPU_FORM.fullmatch(word) for word in words - wanted)


def busy_core_ns(cpu_us: int, span_ns: int, cores: int, held: tuple[int, int]) -> int:
    """CPU time of hardware threads as time of physical cores, at most that of the cores in ``held``.

    ``held`` is the part of the node's CPUs as a quotient.
    """
    return min(cpu_us * 1000, span_ns * cores * held[0] // held[1])


def cpu_energy_uj(power: CpuPower, span_ns: int, busy_ns: int, held: tuple[int, int] = (1, 1)) -> int:
    """Energy of the part ``held`` of a node over ``span_ns`` with ``busy_ns`` of core time, rounded down.

    uW x ns = fJ.
    """
    idle = power.idle_uw * span_ns * held[0] // held[1]
    return (idle + (power.full_uw - power.idle_uw) * busy_ns // power.cores) // 10**9


def cpu_range(load: float | None, design: DesignPower, kind: ServerClass) -> ModelRange:
    """The range of a whole node's energy at a mean ``load`` of 0 to 1; None: of a part of a node."""
    found = SHARED_NODE if load is None else _interpolated(round(1000 * min(max(load, 0), 1)))
    if design.known:
        return found
    return ModelRange(min(found.low, kind.unknown.low), max(found.high, kind.unknown.high))


def _interpolated(load: int) -> ModelRange:
    for (from_load, old), (to_load, new) in pairwise(_BY_LOAD):
        if load <= to_load:
            part = Fraction(load - from_load, to_load - from_load)
            return ModelRange(*(int(a + (b - a) * part) for a, b in zip(old, new, strict=True)))
    raise ValueError("a load above 1")


def dram_energy_uj(spans: Iterable[tuple[int, int]]) -> int:
    """Energy of memory over spans of (bytes, ns), rounded down once. 1e-4 nW x ns = 1e-22 J."""
    return sum(memory_b * span_ns for memory_b, span_ns in spans) * DRAM_NW_PER_B_E4 // 10**16


def gpu_power(limit_uw: int, use: float | None, *, known: bool = True) -> tuple[int, ModelRange]:
    """Power and range of a GPU with this limit, which is busy for ``use`` of the time (0 to 1; None: unknown).

    ``known`` False: the limit is the fallback for any GPU.
    """
    power = GPU_UNKNOWN
    if use is not None:
        permille = round(1000 * min(max(use, 0), 1))
        power = GpuShare(*(a + (b - a) * permille // 1000 for a, b in zip(GPU_IDLE, GPU_BUSY, strict=True)))
    low, high = 1000 * power.low // power.share, 1000 * power.high // power.share
    if not known:
        low, high = low // _UNKNOWN_GPU[0], high * _UNKNOWN_GPU[1]
    return limit_uw * power.share // 1000, ModelRange(low, high)
