"""What a job is expected to draw."""

from __future__ import annotations

from typing import Any

import pytest

from hpcfrugal.job import job_from_mapping
from hpcfrugal.planning.decide.history import History
from hpcfrugal.planning.decide.power import expected_power

FEWEST_RUNS = 5


def modelled(**resources: Any) -> tuple[float | None, str | None]:
    spec = job_from_mapping({"command": "true", "resources": resources})
    power = expected_power(spec.resources, History())
    return power.power_w, power.source


def test_history_goes_before_the_model() -> None:
    spec = job_from_mapping({"command": "true"})
    power = expected_power(spec.resources, History((), 123.0, 5, True))
    assert (power.power_w, power.source) == (123.0, "history, 5 jobs, measured")
    assert expected_power(spec.resources, History((), 123.0, 5, False)).source == "history, 5 jobs, modelled in part"


CPU_W = 6.5 * 0.99
"""A core of which nothing is known, at full load."""


@pytest.mark.parametrize("jobs", [1, FEWEST_RUNS - 1])
def test_too_few_jobs_give_no_estimate(jobs: int) -> None:
    spec = job_from_mapping({"command": "true"})
    power = expected_power(spec.resources, History((), 0.0461, jobs, True))
    assert (power.power_w, power.source) == (pytest.approx(CPU_W), "modelled: 1 CPU at full load")


@pytest.mark.parametrize(
    ("resources", "power_w", "source"),
    [
        ({}, CPU_W, "modelled: 1 CPU at full load"),
        ({"ntasks": 4, "cpus_per_task": 2}, 8 * CPU_W, "modelled: 8 CPUs at full load"),
        ({"nodes": "2-4", "ntasks_per_node": 4}, 8 * CPU_W, "modelled: 8 CPUs at full load"),
        ({"mem": "1000000K"}, CPU_W + 0.2 * 1.024, "modelled: 1 CPU, 1.02 GB at full load"),
        ({"nodes": 2, "mem": "1G"}, 2 * CPU_W + 0.2 * 2 * 1.073741824, "modelled: 2 CPUs, 2.15 GB at full load"),
        ({"mem": 0}, CPU_W, "modelled: 1 CPU at full load"),
        (
            {"mem_per_cpu": "1G", "ntasks": 3},
            3 * CPU_W + 0.2 * 3 * 1.073741824,
            "modelled: 3 CPUs, 3.22 GB at full load",
        ),
        ({"gpus": 2}, CPU_W + 280, "modelled: 1 CPU, 2 GPUs at full load"),
        ({"nodes": 2, "gpus_per_node": "4"}, 2 * CPU_W + 1120, "modelled: 2 CPUs, 8 GPUs at full load"),
        ({"ntasks": 2, "gpus_per_task": 1}, 2 * CPU_W + 280, "modelled: 2 CPUs, 2 GPUs at full load"),
        ({"gpus": "v100:1"}, CPU_W + 210, "modelled: 1 CPU, 1 GPU (v100) at full load"),
        ({"nodes": 2, "gres": "nvme:1,gpu:v100:2"}, 2 * CPU_W + 840, "modelled: 2 CPUs, 4 GPUs (v100) at full load"),
        ({"gres": "gpu"}, CPU_W + 140, "modelled: 1 CPU, 1 GPU at full load"),
        ({"gpus": 0}, CPU_W, "modelled: 1 CPU at full load"),
    ],
)
def test_the_model(resources: dict[str, Any], power_w: float, source: str) -> None:
    assert modelled(**resources) == (pytest.approx(power_w, abs=1e-5), source)
