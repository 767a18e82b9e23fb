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


@pytest.mark.parametrize("jobs", [1, FEWEST_RUNS - 1])
def test_too_few_jobs_say_nothing(jobs: int) -> None:
    spec = job_from_mapping({"command": "true"})
    power = expected_power(spec.resources, History((), 0.0461, jobs, True))
    assert (power.power_w, power.source) == (12.0, "modelled: 1 CPU at full load")


@pytest.mark.parametrize(
    ("resources", "power_w", "source"),
    [
        ({}, 12.0, "modelled: 1 CPU at full load"),
        ({"ntasks": 4, "cpus_per_task": 2}, 96.0, "modelled: 8 CPUs at full load"),
        ({"nodes": "2-4", "ntasks_per_node": 4}, 96.0, "modelled: 8 CPUs at full load"),
        ({"mem": "1000000K"}, 12 + 0.3725 * 1.024, "modelled: 1 CPU, 1.02 GB at full load"),
        ({"nodes": 2, "mem": "1G"}, 24 + 0.3725 * 2 * 1.073741824, "modelled: 2 CPUs, 2.15 GB at full load"),
        ({"mem": 0}, 12.0, "modelled: 1 CPU at full load"),
        ({"mem_per_cpu": "1G", "ntasks": 3}, 36 + 0.3725 * 3 * 1.073741824, "modelled: 3 CPUs, 3.22 GB at full load"),
        ({"gpus": 2}, 412.0, "modelled: 1 CPU, 2 GPUs at full load"),
        ({"nodes": 2, "gpus_per_node": "4"}, 24 + 1600.0, "modelled: 2 CPUs, 8 GPUs at full load"),
        ({"ntasks": 2, "gpus_per_task": 1}, 24 + 400.0, "modelled: 2 CPUs, 2 GPUs at full load"),
        ({"gpus": "v100:1"}, 312.0, "modelled: 1 CPU, 1 GPU (v100) at full load"),
        ({"nodes": 2, "gres": "nvme:1,gpu:v100:2"}, 1224.0, "modelled: 2 CPUs, 4 GPUs (v100) at full load"),
        ({"gres": "gpu"}, 212.0, "modelled: 1 CPU, 1 GPU at full load"),
        ({"gpus": 0}, 12.0, "modelled: 1 CPU at full load"),
    ],
)
def test_the_model(resources: dict[str, Any], power_w: float, source: str) -> None:
    assert modelled(**resources) == (pytest.approx(power_w, abs=1e-5), source)
