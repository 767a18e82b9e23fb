"""The model: names of devices as machines spell them, and the arithmetic in integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.model import (
    Tdp,
    cpu_energy_uj,
    cpu_key,
    dram_energy_uj,
    find_cpu,
    find_gpu,
    gpu_energy_uj,
    gpu_tokens,
)
from hpcfrugal.accounting.tables import cpu_tdp, gpu_tdp


@pytest.mark.parametrize(
    ("name", "model", "exact"),
    [
        ("Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz", "Xeon Gold 6248", True),
        ("Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz", "Xeon E5-2680 v3", True),
        ("12th Gen Intel(R) Core(TM) i9-12900K", "Core i9-12900K", True),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763", True),
        ("AMD EPYC 7552 48-Core Processor", "AMD EPYC 7552", True),
        ("AMD Ryzen 5 3400G with Radeon Vega Graphics", "Ryzen 5 3400G", True),
        ("AMD Ryzen Threadripper 2990WX 32-Core Processor", "Ryzen Threadripper 2990WX", True),
        ("Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", "Any", False),
        ("AMD EPYC", "Any", False),
        ("", "Any", False),
        (None, "Any", False),
        ("x" * 10_000, "Any", False),
    ],
)
def test_cpus_by_their_names_in_cpuinfo(name: str | None, model: str, exact: bool) -> None:
    match = find_cpu(cpu_tdp(), name)
    assert (match.tdp.model, match.exact) == (model, exact)


@pytest.mark.parametrize(
    ("name", "model", "exact"),
    [
        ("NVIDIA A100-PCIE-40GB", "NVIDIA A100 40GB PCIe", True),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100 80GB PCIe", True),
        ("Tesla V100-SXM2-16GB", "NVIDIA Tesla V100", True),
        ("NVIDIA GeForce RTX 2080 Ti", "NVIDIA RTX 2080 Ti", True),
        ("NVIDIA GeForce RTX 2080 SUPER", "Any", False),
        ("NVIDIA GeForce GTX 1080", "NVIDIA GTX 1080", True),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", True),
        ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe", True),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB", True),
        ("NVIDIA H100 NVL", "Any", False),
        ("NVIDIA H200 NVL", "Any", False),
        ("NVIDIA", "Any", False),
        (None, "Any", False),
    ],
)
def test_gpus_by_their_names_in_nvml(name: str | None, model: str, exact: bool) -> None:
    match = find_gpu(gpu_tdp(), name)
    assert (match.tdp.model, match.exact) == (model, exact)


def test_every_row_has_a_positive_figure_and_a_source() -> None:
    for table in (cpu_tdp(), gpu_tdp()):
        assert len(table.rows) > 15
        for row in (*table.rows, table.fallback):
            assert row.tdp_mw > 0
            assert row.cores > 0
            assert row.source
    assert cpu_tdp().fallback.tdp_mw == 12_000


def test_no_two_rows_mean_the_same_device() -> None:
    keys = [cpu_key(row.model) for row in cpu_tdp().rows]
    tokens = [gpu_tokens(row.model) for row in gpu_tdp().rows if row.model != "NVIDIA Tesla P100 PCIe"]
    assert len(set(keys)) == len(keys)
    assert len(set(tokens)) == len(tokens)


def test_the_units() -> None:
    gold = Tdp("Xeon Gold 6248", 150_000, 20, "")
    assert cpu_energy_uj(gold, 3_600 * 10**6) == 27_000 * 10**6  # 7.5 W for an hour is 27 kJ
    assert dram_energy_uj([(64 * 10**9, 3_600 * 10**9)]) == 85_824 * 10**6  # 23.84 W for an hour
    assert gpu_energy_uj(Tdp("V100", 300_000, 1, ""), 3_600 * 10**9) == 1_080_000 * 10**6


@given(st.lists(st.tuples(st.integers(0, 10**13), st.integers(0, 10**15)), max_size=5))
def test_memory_energy_rounds_once(spans: list[tuple[int, int]]) -> None:
    exact = sum(memory_b * span_ns for memory_b, span_ns in spans) * 3725
    assert dram_energy_uj(spans) == exact // 10**16
