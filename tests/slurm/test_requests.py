"""Single requests: the command that asks, and how its output is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm.cluster import ClusterRequest, EnergyGathering, PowerSaving
from hpcfrugal.slurm.command import Result
from hpcfrugal.slurm.job_ids import array_shape
from hpcfrugal.slurm.nodes import HardwareRequest, NodeHardware
from hpcfrugal.slurm.partitions import Partition, PartitionsRequest
from hpcfrugal.slurm.submission import ExpectedStart, StartTest
from hpcfrugal.slurm.updates import UpdateJob

AT = datetime(2026, 11, 21, 8, 48, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "partition"),
    [
        ("using 1 processors on nodes n1 in partition batch", "batch"),
        ("using 128 processors on nodes n[1-2]", None),
        ("a using 1 processors on nodes n1 in partition batch", "batch"),
        ("on cluster c1 using 1 processors on nodes n1 in partition batch", "batch"),
    ],
)
def test_the_start_that_sbatch_expects(words: str, partition: str | None) -> None:
    """The forms of 22.05, of 26.05 (with "a"), and of several clusters."""
    err = f"sbatch: warning: site notice\nsbatch: Job 17 to start at 2026-11-21T08:48:15 {words}\n"
    assert StartTest([]).answer(Result("sbatch", 0, "", err)) == ExpectedStart(AT, partition)


@pytest.mark.parametrize(
    ("code", "err"), [(1, "sbatch: error: no\n"), (0, "sbatch: no\n"), (0, "Job 1 to start at soon using 1 processors")]
)
def test_no_start(code: int, err: str) -> None:
    with pytest.raises(SetupError, match=r"^sbatch --test-only: "):
        StartTest([]).answer(Result("sbatch", code, "", err))


def test_an_update() -> None:
    assert UpdateJob("17", "now", "a b").argv() == ["scontrol", "update", "JobId=17", "StartTime=now", "Comment=a b"]
    berlin = AT.astimezone().replace(microsecond=1)
    assert UpdateJob("17", berlin).argv()[-1] == "StartTime=2026-11-21T08:48:15"
    assert UpdateJob("17", "now").answer(Result("scontrol", 1, "", "scontrol: error: too late\nmore\n")) == "too late"


def test_the_hardware_of_nodes() -> None:
    out = (
        "a notice of the site\n"
        "n1|64|2|16|257000|gpu:a100:4(S:0-1),nvme|ib,amd|FORCE:2\n"
        "n1|64|2|16|257000|gpu:a100:4(S:0-1),nvme|ib,amd|NO\n"  # once for each partition
        "n2|8|N/A|N/A|2000|(null)|(null)|EXCLUSIVE\n"
    )
    assert HardwareRequest().answer(Result("sinfo", 0, out, "")) == {
        "n1": NodeHardware(64, 32, 257000, "gpu:a100:4,nvme", "ib,amd", oversubscribed=True),
        "n2": NodeHardware(8, None, 2000, None, None),
    }
    with pytest.raises(SetupError, match="sinfo failed"):
        HardwareRequest().answer(Result("sinfo", 1, "", "down\n"))


CONFIG = """Configuration data as of 2026-11-28T23:40:00
AcctGatherEnergyType    = acct_gather_energy/pm_counters
AcctGatherNodeFreq      = 30 sec
ClusterName             = c1
PrologFlags             = Alloc,Contain,X11
ResumeTimeout           = 300 sec
SLURM_VERSION           = 25.05.1
SuspendProgram          = /usr/sbin/off
SuspendTime             = 600 sec
SuspendTimeout          = 45 sec
"""


def test_how_a_cluster_gathers_energy_and_saves_power() -> None:
    found = ClusterRequest().answer(Result("scontrol", 0, CONFIG, ""))
    assert (found.name, found.release) == ("c1", "25.05.1")
    assert found.energy == EnergyGathering("pm_counters", contain=True, step_s=30)
    assert found.power_saving == PowerSaving(600, 45, 300)


@pytest.mark.parametrize(
    ("line", "energy", "saving"),
    [
        ("AcctGatherEnergyType = acct_gather_energy/none", (None, False, None), (None, 30, 60)),
        ("AcctGatherEnergyType = (null)", (None, False, None), (None, 30, 60)),
        ("AcctGatherEnergyType = acct_gather_energy/rapl", ("rapl", False, None), (None, 30, 60)),
        ("PrologFlags = Alloc,Serial", (None, False, None), (None, 30, 60)),
        ("PrologFlags = contain", (None, True, None), (None, 30, 60)),
        ("SuspendTime = INFINITE\nSuspendProgram = /off", (None, False, None), (None, 30, 60)),
        ("SuspendTime = NONE\nSuspendProgram = /off", (None, False, None), (None, 30, 60)),
        ("SuspendTime = 600 sec\nSuspendProgram = (null)", (None, False, None), (None, 30, 60)),
        ("SuspendTime = 600\nSuspendProgram = /off", (None, False, None), (600, 30, 60)),
    ],
)
def test_what_is_not_set_in_the_configuration(line: str, energy: tuple[Any, ...], saving: tuple[Any, ...]) -> None:
    found = ClusterRequest().answer(Result("scontrol", 0, f"ClusterName = c1\n{line}\n", ""))
    assert (found.energy, found.power_saving) == (EnergyGathering(*energy), PowerSaving(*saving))


def test_partitions() -> None:
    out = (
        "PartitionName=batch Default=YES DefaultTime=NONE MaxTime=1-00:00:00\n"
        "PartitionName=gpu Default=NO DefaultTime=00:30:00 MaxTime=UNLIMITED\n"
        "PartitionName=long Default=NO DefaultTime=NONE MaxTime=UNLIMITED\n"
    )
    assert PartitionsRequest().answer(Result("scontrol", 0, out, "")) == [
        Partition(True, timedelta(days=1)), Partition(False, timedelta(minutes=30)), Partition(False, None),
    ]  # fmt: skip
    with pytest.raises(SetupError, match="scontrol failed: Partition x not found"):
        PartitionsRequest("x").answer(Result("scontrol", 1, "", "Partition x not found\n"))


@pytest.mark.parametrize(
    ("tasks", "shape"),
    [("1-10%4", (4, 3)), ("0-9", (10, 1)), ("0-8:2%2", (2, 3)), ("7", (1, 1)), (None, (1, 1)), ("1-[x", (1, 1))],
)  # fmt: skip
def test_tasks_of_an_array(tasks: str | None, shape: tuple[int, int]) -> None:
    assert array_shape(tasks) == shape
