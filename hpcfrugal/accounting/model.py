"""Modelled energy of components without a sensor: thermal design power, memory size and time.

    cpu   TDP per core x the job's CPU time
    dram  0.3725 W per GB of memory x time
    gpu   TDP of the device x time

The figures are those of the Green Algorithms project (Lannelongue, Grealey, Inouye 2021,
doi:10.1002/advs.202100707). Limits: a hardware thread counts as a core, so two busy threads of one core count twice; a
GPU counts as fully used; idle power of the machine is not included. The result is always marked ``modelled``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

DRAM_NW_PER_B_E4 = 3725
"""0.3725 W/GB with 1 GB = 10^9 bytes, i.e. 3725 e-4 nW per byte. Source: the reference values of Green
Algorithms (memoryPower), after doi:10.1145/3076113.3076117."""

_MARKS = re.compile(r"\((?:r|tm|c)\)|[®™]", re.IGNORECASE)
_CPU_NOISE = re.compile(
    r"@.*$|\b\d+(?:st|nd|rd|th) gen\b|\b(?:\d+|one|two|four|six|eight|twelve|sixteen)-core\b"
    r"|\b(?:cpu|processor|intel|amd|genuine)\b|\bwith radeon.*$",
    re.IGNORECASE,
)
_GPU_NOISE = frozenset({"nvidia", "geforce", "tesla", "amd", "graphics", "device"})
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


def find_cpu(table: TdpTable, name: str | None) -> Match:
    """The row of a CPU by its name in /proc/cpuinfo."""
    key = cpu_key(name) if name else ""
    for row in table.rows:
        if key and cpu_key(row.model) == key:
            return Match(row, exact=True)
    return Match(table.fallback, exact=False)


def find_gpu(table: TdpTable, name: str | None) -> Match:
    """The row of a GPU by its name in NVML.

    A row without the form factor or memory size (V100 for Tesla V100-SXM2-16GB) matches too, preferably the one with
    most words in common.
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
    return Match(best, exact=True) if best is not None else Match(table.fallback, exact=False)


def cpu_energy_uj(tdp: Tdp, cpu_us: int) -> int:
    """Energy of ``cpu_us`` microseconds of CPU time, rounded down. mW x us = nJ."""
    return tdp.tdp_mw * cpu_us // (tdp.cores * 1000)


def dram_energy_uj(spans: Iterable[tuple[int, int]]) -> int:
    """Energy of memory over spans of (bytes, ns), rounded down once. 1e-4 nW x ns = 1e-22 J."""
    return sum(memory_b * span_ns for memory_b, span_ns in spans) * DRAM_NW_PER_B_E4 // 10**16


def gpu_energy_uj(tdp: Tdp, span_ns: int) -> int:
    """Energy of a device at its TDP over ``span_ns``, rounded down. mW x ns = pJ."""
    return tdp.tdp_mw * span_ns // (tdp.cores * 10**6)
