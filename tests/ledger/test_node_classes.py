"""The model of jobs of Slurm's accounting on nodes whose hardware the settings name."""

from __future__ import annotations

import pytest
from accounted import answer, row, synced
from fake_spool import FakeSpool

from hpcfrugal.ledger.rows import ChannelRow
from hpcfrugal.spool.cluster_documents import ClusterFacts, NodeClass, store_cluster_document


def energy(spool: FakeSpool, *classes: NodeClass, **cells: str) -> dict[str, ChannelRow]:
    """The channels by component of a job of one hour on 8 CPUs, of which it used 7.5 hours."""
    store_cluster_document(spool.root, ClusterFacts("lab", (), classes))
    answer(spool, row("1", **cells))
    (job,) = synced(spool)
    return {channel.component: channel for channel in job.channels}


@pytest.mark.parametrize(
    ("known", "idle_uw", "full_uw", "words"),
    [
        # 280 W for 128 CPUs, so 17.5 W for 8: 0.09 of it idle, 0.86 at full load, as servers with an EPYC
        ({"cpu": "AMD EPYC 7763 64-Core Processor"}, 1_575_000, 15_050_000, "EPYC 7763: 280 W, 64 cores"),
        # 16 W for 8 CPUs: 0.12 and 0.99 of it, as any server
        ({"tdp_w": 256.0}, 1_920_000, 15_840_000, "tdp_w in the settings"),
        ({"tdp_w": 256.0, "cpu_idle_w": 64.0}, 4_000_000, 15_840_000, "tdp_w in the settings"),
        ({"tdp_w": 256.0, "cpu": "AMD EPYC 7763"}, 1_440_000, 13_760_000, "tdp_w in the settings"),
    ],
)
def test_the_cpu_by_its_node_class(
    spool: FakeSpool, known: dict[str, float | str], idle_uw: int, full_uw: int, words: str
) -> None:
    node = NodeClass("n[1-4]", 128, 64, **known)  # type: ignore[arg-type]
    cpu = energy(spool, node)["cpu"]
    assert cpu.energy_uj == idle_uw * 3600 + (full_uw - idle_uw) * 27_000 // 8
    assert words in (cpu.inputs or "")
    assert (cpu.low_uj, cpu.high_uj) == (cpu.energy_uj * 550 // 1000, cpu.energy_uj * 1900 // 1000)


def test_a_job_on_two_classes_has_the_mean_of_both(spool: FakeSpool) -> None:
    """8 CPUs on a node with 1 W a CPU and one with 3 W: 16 W."""
    found = energy(
        spool, NodeClass("n1", 100, tdp_w=100.0), NodeClass("n2", 10, tdp_w=30.0), NNodes="2", NodeList="n[1-2]"
    )
    assert found["cpu"].energy_uj is not None
    assert found["cpu"].energy_uj * 2 == 1_920_000 * 3600 + (15_840_000 - 1_920_000) * 27_000 // 8


@pytest.mark.parametrize("cells", [{"NodeList": "n[1-2]", "NNodes": "2"}, {"NodeList": "", "NNodes": "1"}])
def test_where_a_node_is_not_known_the_model_is_that_of_any_server(spool: FakeSpool, cells: dict[str, str]) -> None:
    cpu = energy(spool, NodeClass("n1", 100, tdp_w=100.0), **cells)["cpu"]
    assert "model of the CPU unknown, 6.5 W per core or thread" in (cpu.inputs or "")


@pytest.mark.parametrize(
    "known", [{"gres": "gpu:a100:4"}, {"gres": "gpu:4", "gpu": "A100"}, {"gres": "gpu:x:4", "gpu": "a100"}]
)
def test_the_type_of_gpus_that_slurm_does_not_name(spool: FakeSpool, known: dict[str, str]) -> None:
    """Two A100: 0.55 of 400 W each."""
    tres = "cpu=8,mem=16G,node=1,gres/gpu=2"
    gpu = energy(spool, NodeClass("n1", 8, 8, **known), AllocTRES=tres)["gpu"]  # type: ignore[arg-type]
    assert gpu.energy_uj == 2 * 220_000_000 * 3600


def test_a_type_that_slurm_names_is_right_whatever_the_node_has(spool: FakeSpool) -> None:
    tres = "cpu=8,mem=16G,node=1,gres/gpu:a100=2,gres/gpu=2"
    gpu = energy(spool, NodeClass("n1", 8, 8, gres="gpu:v100:4"), AllocTRES=tres)["gpu"]
    assert gpu.energy_uj == 2 * 220_000_000 * 3600
