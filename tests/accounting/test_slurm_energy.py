"""What Slurm's own energy is worth: figures as sites and releases print them."""

from __future__ import annotations

from typing import Any

import pytest

from hpcfrugal.accounting.slurm_energy import (
    EnergyComparison,
    GatheredJob,
    PlausiblePower,
    StepEnergy,
    judge_energy,
    judge_setup,
    release_of,
)

HOUR = 3600
FIGURE = 400 * HOUR
"""A node at 400 W for an hour."""


def job(*joules: int | None, **changes: Any) -> GatheredJob:
    """A job of an hour on one node that it had alone; joules of the job, its batch, extern and other steps."""
    known = {"elapsed_s": HOUR, "nodes": 1, "alone": True, "contain": True, "plausible": PlausiblePower(100, 1000)}
    return GatheredJob(StepEnergy(*joules), **{**known, **changes})


BATCH = {"contain": False}
MEASURED = [
    # With PrologFlags=Contain the job has the energy of its extern step.
    (job(FIGURE, FIGURE, FIGURE, FIGURE - 4000), FIGURE),
    (job(FIGURE, FIGURE - 3, FIGURE, None), FIGURE),
    (job(FIGURE, None, FIGURE, FIGURE), FIGURE),  # salloc or srun alone
    (job(None, FIGURE, FIGURE, None), FIGURE),  # sacct had no figure of the job
    (job(0, FIGURE, FIGURE, None), FIGURE),
    (job(3 * FIGURE, FIGURE, FIGURE, FIGURE), FIGURE),  # all of its steps added up
    (job(FIGURE + 1000, FIGURE, FIGURE, None), FIGURE),  # read a moment later
    (job(4 * FIGURE, FIGURE, 4 * FIGURE, None, nodes=4, plausible=PlausiblePower(400, 4000)), 4 * FIGURE),
    (job(FIGURE), FIGURE),  # a text without rows of steps
    # Without it, it has the sum of its steps: that of the batch script is the whole time of one node.
    (job(2 * FIGURE, FIGURE, None, FIGURE, **BATCH), FIGURE),
    (job(FIGURE, FIGURE, None, None, **BATCH), FIGURE),
    (job(FIGURE + FIGURE // 2, FIGURE, None, FIGURE // 2, **BATCH), FIGURE),
    (job(FIGURE, FIGURE, 0, 0, **BATCH), FIGURE),
    # 22.05 adds up the other steps alone: seen with 300 W, a script of 30 s, and a step in 15 s of it.
    (job(4500, 9000, None, 4500, elapsed_s=30, **BATCH), 9000),
    (job(None, 9000, None, None, elapsed_s=30, **BATCH), 9000),
    (job(FIGURE, FIGURE, FIGURE, None, **BATCH), FIGURE),  # the setting has changed since
    (job(FIGURE, FIGURE, FIGURE, None, step_s=30), FIGURE),
]


@pytest.mark.parametrize(("gathered", "joules"), MEASURED)
def test_energy_that_counts(gathered: GatheredJob, joules: int) -> None:
    judged = judge_energy(gathered)
    assert (judged.use, judged.energy_j) == ("measured", joules)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"alone": False}, "the job did not have its nodes alone"),
        ({"alone": None}, "it is not known whether the job had its nodes alone"),
    ],
)
def test_on_a_shared_node_it_is_an_upper_bound(changes: dict[str, Any], why: str) -> None:
    judged = judge_energy(job(FIGURE, FIGURE, FIGURE, None, **changes))
    assert (judged.use, judged.energy_j, judged.why) == ("upper bound", FIGURE, why)


NOT_SET = 'a number that means "not set" was added up'
NONE = "Slurm has no energy of the job, or 0"
NEITHER = "the job's figure is neither that of its extern step nor the sum of its steps"
LESS, MORE = "less power than idle nodes draw", "more power than the nodes can draw"
UNUSABLE = [
    (job(None), NONE),
    (job(0), NONE),
    (job(0, 0, 0, 0), NONE),
    (job(None, None, None, None), NONE),
    (job(16_777_214), NOT_SET),
    (job(2 * 16_777_214, 16_777_214, 16_777_214), NOT_SET),
    (job(4_294_967_294), NOT_SET),
    (job(FIGURE, FIGURE, FIGURE, 3 * 4_294_967_294), NOT_SET),
    (job(4_294_967_295), NOT_SET),
    (job(8 * 4_294_967_295), NOT_SET),
    (job(FIGURE, FIGURE, FIGURE, None, elapsed_s=0), "the time of the job is not known"),
    (job(FIGURE, FIGURE, FIGURE, None, elapsed_s=None), "the time of the job is not known"),
    (job(FIGURE, FIGURE, FIGURE, None, resized=True), "the job was resized"),
    (job(8000, 8000, 8000, None, elapsed_s=20, step_s=30), "the job was too short for Slurm's readings"),
    (job(24_000, 24_000, 24_000, None, elapsed_s=60, step_s=30), "the job was too short for Slurm's readings"),
    (job(5000, 5000, 5000), LESS),  # a counter that stood still
    (job(99 * HOUR, None, 99 * HOUR), LESS),
    (job(1001 * HOUR, None, 1001 * HOUR), MORE),
    (job(FIGURE * 100, FIGURE, FIGURE * 100), MORE),  # since the counter's start, after a restart of slurmd
    (job(794), LESS),  # watts in place of joules
    (job(FIGURE, FIGURE, 2 * FIGURE, None), NEITHER),
    (job(FIGURE, FIGURE, 0, None), "the extern step has no energy"),  # an early 25.05
    (job(FIGURE, FIGURE, None, FIGURE), "the extern step has no energy"),
    (job(FIGURE // 2, FIGURE, None, FIGURE, **BATCH), "the job's figure is not the sum of its steps"),
    (job(15_000, 7500, None, 15_000, nodes=2, elapsed_s=25, **BATCH), "the batch step is of one of several nodes"),
    (job(FIGURE, None, None, FIGURE, **BATCH), "without a batch or extern step, the time between steps is not counted"),
    (job(FIGURE, 0, None, FIGURE, **BATCH), "without a batch or extern step, the time between steps is not counted"),
    (job(FIGURE, **BATCH), "no step has energy"),
    (job(2 * FIGURE, FIGURE, None, FIGURE, nodes=2, **BATCH), "the batch step is of one of several nodes"),
]  # fmt: skip


@pytest.mark.parametrize(("gathered", "why"), UNUSABLE)
def test_energy_that_cannot_be_used(gathered: GatheredJob, why: str) -> None:
    judged = judge_energy(gathered)
    assert (judged.use, judged.energy_j, judged.why) == ("unusable", None, why)


GOOD = ["measured"] * 3
SAME, WIDER = (0.9, 1.1), (0.95, 2.0)


@pytest.mark.parametrize(
    ("plugin", "release", "judged", "ratios", "bounds", "verdict", "why"),
    [
        (None, "24.11.5", GOOD, [], SAME, "unusable", "gathers no energy"),
        ("own_plugin", "24.11.5", GOOD, [], SAME, "unusable", "the plugin own_plugin reads is not known"),
        ("ipmi", "24.11.5", ["unusable"] * 4, [], SAME, "unusable", "no job has a figure that can be used"),
        ("ipmi", "24.11.5", ["upper bound"] * 4, [], SAME, "upper bound", "no job is known to have had its nodes"),
        ("ipmi", "24.11.5", ["upper bound", "measured"], [], SAME, "measured", "0 measured jobs, too few"),
        ("ipmi", "24.11.5", GOOD, [1.0] * 4, SAME, "measured", "4 measured jobs, too few"),
        ("ipmi", "24.11.5", GOOD, [1.0] * 5, SAME, "measured", "it agrees with 5 jobs that we measured"),
        ("ipmi", "24.11.5", GOOD, [1.3] * 9, WIDER, "measured", "it agrees with 9 jobs"),
        ("ipmi", "24.11.5", GOOD, [1.3] * 9, SAME, "upper bound", "it is 1.30 of what we measured"),
        ("ipmi", "24.11.5", GOOD, [0.6] * 9, WIDER, "unusable", "it is 0.60 of what we measured: something is missing"),
        (
            "pm_counters",
            "23.11.1",
            GOOD,
            [0.5, 1, 1, 1, 1.8],
            SAME,
            "upper bound",
            "it is from 0.60 to 1.64",
        ),
        ("rapl", "24.11.5", GOOD, [], SAME, "upper bound", "before 25.05"),
        ("rapl", None, GOOD, [], SAME, "upper bound", "before 25.05"),
        ("rapl", "22.05.8", GOOD, [1.02] * 8, SAME, "measured", "it agrees with 8 jobs"),  # AMD, where it is right
        ("rapl", "24.11.5", GOOD, [1.7] * 8, SAME, "upper bound", "it is 1.70 of what we measured"),
        ("rapl", "25.05.0", GOOD, [], SAME, "measured", "too few to confirm it"),
        ("rapl", "26.05.5", GOOD, [], SAME, "measured", "too few to confirm it"),
    ],
)
def test_the_verdict_on_a_release_and_plugin(
    plugin: str | None, release: str | None, judged: Any, ratios: list[float], bounds: Any, verdict: str, why: str
) -> None:
    found, reasons = judge_setup(plugin, release, judged, EnergyComparison.of(ratios), bounds)
    assert found == verdict
    assert any(why in reason for reason in reasons), reasons


@pytest.mark.parametrize(
    ("text", "release"),
    [("22.05.8", (22, 5)), ("25.05.0-0rc1", (25, 5)), ("26.11", (26, 11)), ("", None), (None, None), ("x.y", None)],
)
def test_releases(text: str | None, release: tuple[int, int] | None) -> None:
    assert release_of(text) == release
