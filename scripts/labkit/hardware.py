"""The simulated hardware: the single table of nodes, RAPL zones and GPUs that truth and simulation both read.

Power is a sum of waves of CLOCK_BOOTTIME. It does not depend on what runs on the node, so the true energy of
any interval is a closed form. Units: microwatts, nanoseconds, microjoules. `waveform.py` integrates the waves
in Python; `c_header` prints the same table for rapl_daemon.c and nvml.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NODES = ("n1", "n2", "n3", "n4")
CPUS = 8
SOCKETS = 2
GPUS = 2

RAPL_RANGE_UJ = 262_143_328_850
"""max_energy_range_uj of package and core zones on Intel servers."""

SHORT_RANGE_UJ = 3_199_999_999
"""At about 82 W (package-1 of n2) this wraps every 39 s."""

STEADY, SQUARE, TRIANGLE = 0, 1, 2
W = 1_000_000
MS = 1_000_000


@dataclass(frozen=True)
class Wave:
    """One term of a power curve. SQUARE is `power_uw` in the first `on_ns` of each period and 0 in the rest;
    TRIANGLE goes 0, `power_uw`, 0 in straight lines; both are shifted earlier by `phase_ns`."""

    kind: int
    power_uw: int
    period_ns: int = 1
    on_ns: int = 0
    phase_ns: int = 0


@dataclass(frozen=True)
class Domain:
    """One energy counter. `zone` is its path below /sys/class/powercap/intel-rapl, or None for a GPU."""

    node: str
    name: str
    label: str
    zone: str | None
    waves: tuple[Wave, ...]
    offset_uj: int
    range_uj: int


@dataclass(frozen=True)
class Gpu:
    """What NVML says about a device besides its energy; `domain` is the name of its energy domain."""

    node: str
    index: int
    uuid: str
    domain: str
    name: str = "NVIDIA H100 80GB HBM3"


def steady(power_uw: int) -> Wave:
    """Constant power."""
    return Wave(STEADY, power_uw)


def _node_domains(number: int) -> tuple[Domain, ...]:
    node = NODES[number]
    extra = number * W  # makes every node different
    phase = number * 1300 * MS
    core_0 = (
        steady(20 * W + extra),
        Wave(SQUARE, 80 * W, (6000 + 500 * number) * MS, (3000 + 250 * number) * MS, phase),
    )
    core_1 = (steady(15 * W + extra), Wave(TRIANGLE, 60 * W, (10_000 + 1000 * number) * MS, 0, phase))
    package_0 = (*core_0, steady(40 * W))
    package_1 = (*core_1, steady(35 * W + extra // 2))
    dram_0 = (steady(6 * W + extra // 4), Wave(SQUARE, 8 * W, 3000 * MS, 1500 * MS, phase))
    dram_1 = (steady(5 * W + extra // 5), Wave(TRIANGLE, 6 * W, 4000 * MS, 0, phase))
    psys = (*package_0, *package_1, *dram_0, *dram_1, steady(62 * W))
    gpu_0 = (steady(100 * W + extra), Wave(SQUARE, 200 * W, 8000 * MS, 4000 * MS, phase))
    gpu_1 = (steady(90 * W + extra), Wave(SQUARE, 220 * W, 5000 * MS, 2500 * MS, phase))
    short = SHORT_RANGE_UJ if node == "n2" else RAPL_RANGE_UJ
    rows: tuple[tuple[str, str, str | None, tuple[Wave, ...], int], ...] = (
        ("package-0", "package-0", "intel-rapl:0", package_0, RAPL_RANGE_UJ),
        ("core-0", "core", "intel-rapl:0/intel-rapl:0:0", core_0, RAPL_RANGE_UJ),
        ("dram-0", "dram", "intel-rapl:0/intel-rapl:0:1", dram_0, RAPL_RANGE_UJ),
        ("package-1", "package-1", "intel-rapl:1", package_1, short),
        ("core-1", "core", "intel-rapl:1/intel-rapl:1:0", core_1, RAPL_RANGE_UJ),
        ("dram-1", "dram", "intel-rapl:1/intel-rapl:1:1", dram_1, RAPL_RANGE_UJ),
        ("psys", "psys", "intel-rapl:2", psys, RAPL_RANGE_UJ),
        ("gpu-0", "gpu-0", None, gpu_0, 2**63 - 1),
        ("gpu-1", "gpu-1", None, gpu_1, 2**63 - 1),
    )
    return tuple(
        Domain(node, name, label, zone, waves, offset_uj=(7 * number + k + 1) * 1_234_567_891, range_uj=range_uj)
        for k, (name, label, zone, waves, range_uj) in enumerate(rows)
    )


DOMAINS: tuple[Domain, ...] = tuple(domain for number in range(len(NODES)) for domain in _node_domains(number))
DEVICES: tuple[Gpu, ...] = tuple(
    Gpu(node, index, f"GPU-1ab00000-{number + 1:04x}-4000-8000-{index:012x}", f"gpu-{index}")
    for number, node in enumerate(NODES)
    for index in range(GPUS)
)


def domains_of(node: str) -> tuple[Domain, ...]:
    """All energy counters of `node`."""
    return tuple(domain for domain in DOMAINS if domain.node == node)


def c_header(domains: Sequence[Domain] = DOMAINS, devices: Sequence[Gpu] = DEVICES) -> str:
    """The table (the lab's, or another) as C, for `waveform.h`."""
    waves: list[str] = []
    domain_rows: list[str] = []
    for domain in domains:
        first = len(waves)
        waves += [f"{{{w.kind}, {w.power_uw}, {w.period_ns}, {w.on_ns}, {w.phase_ns}}}" for w in domain.waves]
        zone = f'"{domain.zone}"' if domain.zone else "0"
        domain_rows.append(
            f'{{"{domain.node}", "{domain.name}", {zone}, {first}, {len(domain.waves)}, '
            f"{domain.offset_uj}ULL, {domain.range_uj}ULL}}"
        )
    gpu_rows = [f'{{"{g.node}", {g.index}, "{g.uuid}", "{g.domain}", "{g.name}"}}' for g in devices]
    tables = (("wave", "WAVES", waves), ("domain", "DOMAINS", domain_rows), ("gpu", "DEVICES", gpu_rows))
    text = ["/* Written by hardware.py; edit that. */"]
    for struct, name, rows in tables:
        text += [f"static const struct {struct} {name}[] = {{", *(f"  {row}," for row in rows), "};"]
    return "\n".join(text) + "\n"
