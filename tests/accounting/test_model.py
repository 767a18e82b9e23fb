"""The model: names of devices as machines report them, arithmetic in integers, and published measurements."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.model import (
    DRAM_RANGE,
    EPYC,
    OTHER,
    XEON,
    CpuPower,
    ModelRange,
    ServerClass,
    busy_core_ns,
    cpu_energy_uj,
    cpu_power,
    cpu_range,
    design_power,
    dram_energy_uj,
    find_cpu,
    find_gpu,
    gpu_power,
    gpu_tokens,
    server_class,
)
from hpcfrugal.accounting.tables import cpu_tdp, gpu_tdp
from hpcfrugal.sidecar.energy_split import steady_energies_uj

HOUR_NS = 3_600 * 10**9


@pytest.mark.parametrize(
    ("name", "model", "tdp_w", "cores"),
    [
        ("Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz", "Xeon Gold 6248", 150, 20),
        ("Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", "Xeon Gold 6248R", 205, 24),
        ("Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz", "Xeon E5-2680 v3", 120, 12),
        ("Intel(R) Xeon(R) Platinum 8360Y CPU @ 2.40GHz", "Xeon Platinum 8360Y", 250, 36),
        ("INTEL(R) XEON(R) PLATINUM 8592+", "Xeon Platinum 8592+", 350, 64),
        ("Intel(R) Xeon(R) CPU Max 9480", "Xeon Max 9480", 350, 56),
        ("Intel(R) Xeon(R) 6980P", "Xeon 6980P", 500, 128),
        ("12th Gen Intel(R) Core(TM) i9-12900K", "Core i9-12900K", 125, 16),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763", 280, 64),
        ("AMD EPYC 7742 64-Core Processor", "AMD EPYC 7742", 225, 64),
        ("AMD EPYC 9654 96-Core Processor", "AMD EPYC 9654", 360, 96),
        ("AMD EPYC 9965 192-Core Processor", "AMD EPYC 9965", 500, 192),
        ("AMD Ryzen 5 3400G with Radeon Vega Graphics", "Ryzen 5 3400G", 65, 4),
        ("AMD Ryzen Threadripper 2990WX 32-Core Processor", "AMD Ryzen Threadripper 2990WX", 250, 32),
    ],
)
def test_cpus_by_their_names_in_cpuinfo(name: str, model: str, tdp_w: int, cores: int) -> None:
    row = find_cpu(cpu_tdp(), name)
    assert row is not None
    assert (row.model.lower(), row.tdp_mw, row.cores) == (model.lower(), tdp_w * 1000, cores)


@pytest.mark.parametrize(
    ("name", "kind", "per_core_w"),
    [
        ("AMD EPYC", EPYC, 3.6),
        ("AMD EPYC 7B12", EPYC, 3.6),
        ("Hygon C86 7185 32-core Processor", EPYC, 3.6),
        ("Intel Xeon Processor (Skylake, IBRS)", XEON, 6.5),
        ("Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", XEON, 6.5),
        ("Neoverse-V2", OTHER, 6.5),
        ("", OTHER, 6.5),
        (None, OTHER, 6.5),
        ("x" * 10_000, OTHER, 6.5),
    ],
)
def test_cpus_of_unknown_models_count_by_their_cores(name: str | None, kind: ServerClass, per_core_w: float) -> None:
    assert find_cpu(cpu_tdp(), name) is None
    assert server_class(name) == kind
    design = design_power(cpu_tdp(), name, 64)
    assert (design.power_uw, design.known) == (per_core_w * 64e6, False)
    assert len(design.source) < 120
    assert cpu_range(1.0, design, kind).low <= 400


def test_a_virtual_machine_is_modelled_by_its_cores() -> None:
    assert design_power(cpu_tdp(), "AMD EPYC 7742 64-Core Processor", 128).power_uw == 450_000_000
    assert design_power(cpu_tdp(), "AMD EPYC 7742 64-Core Processor", 4).power_uw == 450_000_000 // 32


@pytest.mark.parametrize(
    ("name", "tdp_w"),
    [
        ("NVIDIA A100-PCIE-40GB", 250),
        ("NVIDIA A100 80GB PCIe", 300),
        ("NVIDIA A100-SXM4-80GB", 400),
        ("NVIDIA A100-SXM-64GB", 400),
        ("NVIDIA A10G", 300),
        ("NVIDIA A40", 300),
        ("NVIDIA L40S", 350),
        ("NVIDIA L4", 72),
        ("NVIDIA A30", 165),
        ("NVIDIA A10", 150),
        ("NVIDIA RTX A6000", 300),
        ("NVIDIA B200", 1000),
        ("NVIDIA GH200 480GB", 900),
        ("NVIDIA H100 NVL", 400),
        ("NVIDIA H200 NVL", 600),
        ("NVIDIA H100 80GB HBM3", 700),
        ("NVIDIA H100 PCIe", 350),
        ("Tesla V100-SXM2-16GB", 300),
        ("Tesla V100-PCIE-32GB", 250),
        ("Tesla P100-PCIE-16GB", 250),
        ("NVIDIA GeForce RTX 2080 Ti", 250),
        ("NVIDIA GeForce RTX 4090", 450),
        ("NVIDIA GeForce GTX 1080", 180),
        ("AMD Instinct MI250X", 560),
        ("AMD Instinct MI300A", 550),
    ],
)
def test_gpus_by_their_names_in_nvml(name: str, tdp_w: int) -> None:
    match = find_gpu(gpu_tdp(), name)
    assert (match.tdp.tdp_mw, match.exact) == (tdp_w * 1000, True)


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 2080 SUPER", "NVIDIA C100", "NVIDIA", "", None])
def test_unknown_gpus_have_a_wide_range(name: str | None) -> None:
    match = find_gpu(gpu_tdp(), name)
    assert (match.tdp.model, match.exact) == ("Any", False)
    power_uw, ends = gpu_power(match.tdp.tdp_mw * 1000, None, known=False)
    low_uw, high_uw = ends.of(power_uw)
    assert low_uw < 20_000_000
    assert high_uw > 900_000_000


def test_every_row_has_a_positive_figure_and_a_source() -> None:
    assert len(cpu_tdp()) > 1000
    assert len(gpu_tdp().rows) > 60
    for row in (*cpu_tdp().values(), *gpu_tdp().rows, gpu_tdp().fallback):
        assert row.tdp_mw > 0
        assert row.cores > 0
        assert row.source, row.model
        assert row.tdp_mw / row.cores > 300, row.model


def test_no_two_rows_mean_the_same_device() -> None:
    lines = (Path(__file__).parents[2] / "hpcfrugal/accounting/tables/cpu_tdp.csv").read_text().splitlines()
    assert len(cpu_tdp()) == len([line for line in lines if not line.startswith("#")]) - 1
    tokens = [gpu_tokens(row.model) for row in gpu_tdp().rows if row.model != "NVIDIA Tesla P100 PCIe"]
    assert len(set(tokens)) == len(tokens)


def test_the_units() -> None:
    power = CpuPower(idle_uw=100_000_000, full_uw=500_000_000, cores=40)
    hour_of_ten_cores = 10 * HOUR_NS
    assert cpu_energy_uj(power, HOUR_NS, hour_of_ten_cores) == 200 * 3600 * 10**6  # 100 W and a quarter of 400 W
    assert cpu_energy_uj(power, HOUR_NS, hour_of_ten_cores, (1, 4)) == 125 * 3600 * 10**6
    assert dram_energy_uj([(64 * 10**9, HOUR_NS)]) == 46_080 * 10**6  # 12.8 W for an hour
    assert steady_energies_uj(300_000_000, [HOUR_NS]) == [1_080_000 * 10**6]


def test_hardware_threads_are_not_counted_as_cores() -> None:
    """Of 40 cores with two threads each, all of which are busy."""
    assert busy_core_ns(80 * 3600 * 10**6, HOUR_NS, 40, (1, 1)) == 40 * HOUR_NS
    assert busy_core_ns(80 * 3600 * 10**6, HOUR_NS, 40, (2, 80)) == HOUR_NS
    assert busy_core_ns(1800 * 10**6, HOUR_NS, 40, (2, 80)) == HOUR_NS // 2


@given(st.lists(st.tuples(st.integers(0, 10**13), st.integers(0, 10**15)), max_size=5))
def test_memory_energy_rounds_once(spans: list[tuple[int, int]]) -> None:
    exact = sum(memory_b * span_ns for memory_b, span_ns in spans) * 2000
    assert dram_energy_uj(spans) == exact // 10**16


@given(st.floats(0, 1), st.floats(0, 1))
def test_ranges_hold_the_figure_and_narrow_with_the_load(one: float, other: float) -> None:
    less, more = sorted((one, other))
    design = design_power(cpu_tdp(), "AMD EPYC 7742 64-Core Processor", 128)
    idler, busier = (cpu_range(load, design, EPYC) for load in (less, more))
    assert idler.low <= busier.low < 1000 < busier.high <= idler.high
    assert cpu_range(None, design, EPYC) == ModelRange(550, 1900)
    assert (cpu_range(0, design, EPYC), cpu_range(1, design, EPYC)) == ((570, 1900), (800, 1300))
    power_uw, ends = gpu_power(400_000_000, more)
    assert ends.low < 1000 < ends.high
    assert 80_000_000 <= gpu_power(400_000_000, less)[0] <= power_uw <= 280_000_000


class Measured(NamedTuple):
    """A published figure beside the model's."""

    what: str
    modelled: float
    median: float
    low: float
    high: float


def published() -> list[Measured]:
    lines = (Path(__file__).parent / "measured_power.csv").read_text().splitlines()
    found = []
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        if row["kind"] == "gpu":
            power_uw, ends = gpu_power(10**6, float(row["load"]))
            modelled, (low, high) = power_uw / 1e6, (end / 1e6 for end in ends.of(power_uw))
        else:
            # two sockets, half a GB of memory for a watt of design power; ARCHER2's nodes have 256 GB
            name = {"EPYC": "AMD EPYC 7742 64-Core Processor", "Xeon": "Intel(R) Xeon(R) Gold 6248 CPU"}[row["what"]]
            cores = {"EPYC": 128, "Xeon": 40}[row["what"]]
            design, kind, load = design_power(cpu_tdp(), name, cores), server_class(name), float(row["load"])
            power = cpu_power(design, kind, cores)
            memory_b = 256 * 10**9 if row["kind"] == "fleet" else design.power_uw * 500
            cpu = cpu_energy_uj(power, HOUR_NS, int(cores * load * HOUR_NS))
            dram = dram_energy_uj([(memory_b, HOUR_NS)])
            ends = [a + b for a, b in zip(cpu_range(load, design, kind).of(cpu), DRAM_RANGE.of(dram), strict=True)]
            unit = 3600 * (1e6 if row["kind"] == "fleet" else design.power_uw)
            modelled, low, high = ((cpu + dram) / unit, *(end / unit for end in ends))
        found.append(Measured(f"{row['what']} at {row['load']}", modelled, float(row["median"]), low, high))
    return found


def test_model_beside_published_measurements() -> None:
    found = published()
    assert len(found) == 8
    for one in found:
        assert 0.85 < one.modelled / one.median < 1.15, one
        assert one.low < one.median < one.high, one
    assert 0.9 < statistics.median(one.modelled / one.median for one in found) < 1.1
