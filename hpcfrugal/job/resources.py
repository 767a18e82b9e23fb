"""What a job asks of the cluster, in Slurm's own words and forms."""

from __future__ import annotations

import re
from datetime import timedelta

from hpcfrugal.core.section import optional
from hpcfrugal.job.amount_types import ArrayIndices, Count, GpuCount, Memory, NodeCount
from hpcfrugal.job.sbatch_options import SbatchOption
from hpcfrugal.job.section import Excludes, JobSection
from hpcfrugal.job.text_types import CommaList, Switch, TextLine
from hpcfrugal.job.time_types import Walltime

# Values of --exclusive with which other jobs may run on the nodes.
_SHARED = frozenset({"user", "mcs", "topo", "oversubscribe"})
_GPU_GRES = re.compile(r"(?:gres/)?gpu(?:[:=].*)?")


def is_gpu_gres(part: str) -> bool:
    """Whether one generic resource (``gpu:a100:2``) is a GPU."""
    return _GPU_GRES.fullmatch(part.strip()) is not None


class Resources(JobSection):
    """Each key stands for an option of sbatch; what is left out is left to the cluster."""

    not_a_mapping = ("must be a mapping of keys", "write for example `resources: {nodes: 2, time: 1:30:00}`")

    nodes: int | str | None = optional(
        NodeCount, "Number of nodes, or `minimum-maximum` such as `2-4`.", 2, "2-4", marks=[SbatchOption("nodes", "N")]
    )
    ntasks: int | None = optional(Count, "Total number of tasks (MPI ranks).", 16, marks=[SbatchOption("ntasks", "n")])
    ntasks_per_node: int | None = optional(
        Count, "Number of tasks per node.", 8, marks=[SbatchOption("ntasks-per-node", other_names=("tasks-per-node",))]
    )
    cpus_per_task: int | None = optional(
        Count, "Number of CPUs per task.", 4, marks=[SbatchOption("cpus-per-task", "c")]
    )
    mem: str | None = optional(
        Memory,
        "Memory per node: a number with K, M, G or T, without a unit in MiB; 0 is all memory of the node.",
        "16G",
        4000,
        marks=[SbatchOption("mem")],
    )
    mem_per_cpu: str | None = optional(
        Memory,
        "Memory per CPU, in the same form as `mem`; excludes `mem`.",
        "2G",
        marks=[
            SbatchOption("mem-per-cpu"),
            Excludes(mem="keep one: `mem` is memory per node, `mem_per_cpu` memory per CPU"),
        ],
    )
    mem_per_gpu: str | None = optional(
        Memory,
        "Memory per GPU, in the same form as `mem`; excludes `mem` and `mem_per_cpu`.",
        "32G",
        marks=[SbatchOption("mem-per-gpu"), Excludes(mem="keep one of the two", mem_per_cpu="keep one of the two")],
    )
    gpus: str | None = optional(
        GpuCount, "Total number of GPUs, with their type if it matters.", 2, "a100:2", marks=[SbatchOption("gpus", "G")]
    )
    gpus_per_node: str | None = optional(
        GpuCount, "Number of GPUs per node.", 4, "h100:4", marks=[SbatchOption("gpus-per-node")]
    )
    gpus_per_task: str | None = optional(GpuCount, "Number of GPUs per task.", 1, marks=[SbatchOption("gpus-per-task")])
    cpus_per_gpu: int | None = optional(
        Count,
        "Number of CPUs per GPU; excludes `cpus_per_task`.",
        8,
        marks=[SbatchOption("cpus-per-gpu"), Excludes(cpus_per_task="keep one of the two")],
    )
    gres: str | None = optional(
        CommaList,
        "Generic resources per node; a list is joined with commas.",
        "gpu:a100:2,nvme:1",
        marks=[SbatchOption("gres")],
    )
    time: timedelta | None = optional(
        Walltime,
        "Time limit: minutes, minutes:seconds, hours:minutes:seconds, days-hours, "
        "days-hours:minutes or days-hours:minutes:seconds; or a number with its unit.",
        30,
        "24h",
        "1:30:00",
        "2-12:00:00",
        marks=[SbatchOption("time", "t")],
    )
    partition: str | None = optional(
        CommaList, "Partition, or several to choose from.", "batch", marks=[SbatchOption("partition", "p")]
    )
    account: str | None = optional(TextLine, "Account to charge.", "climate", marks=[SbatchOption("account", "A")])
    qos: str | None = optional(TextLine, "Quality of service.", "normal", marks=[SbatchOption("qos", "q")])
    constraint: str | None = optional(
        TextLine, "Required node features.", "skylake&ib", marks=[SbatchOption("constraint", "C")]
    )
    reservation: str | None = optional(
        CommaList, "Reservation to run in.", "course", marks=[SbatchOption("reservation")]
    )
    nodelist: str | None = optional(
        CommaList, "Nodes that must be used.", "n[1-4]", marks=[SbatchOption("nodelist", "w")]
    )
    exclude: str | None = optional(
        CommaList, "Nodes that must not be used.", "n7,n9", marks=[SbatchOption("exclude", "x")]
    )
    array: str | None = optional(
        ArrayIndices,
        "Task indices of a job array; `%4` runs at most 4 of them at once.",
        "0-15",
        "1-99%4",
        marks=[SbatchOption("array", "a")],
    )
    dependency: str | None = optional(
        TextLine, "Jobs to wait for.", "afterok:1234", "singleton", marks=[SbatchOption("dependency", "d")]
    )
    exclusive: bool = optional(
        Switch,
        "Whether the job shares its nodes with no other job.",
        True,
        default=False,
        marks=[SbatchOption("exclusive", argument="optional", other_values=_SHARED)],
    )
    requeue: bool | None = optional(
        Switch,
        "Whether Slurm may requeue the job; by default the cluster decides.",
        True,
        marks=[SbatchOption("requeue", argument="optional", opposite="no-requeue")],
    )

    hold: bool = optional(
        Switch,
        "Whether the job waits until `hpcfrugal release`.",
        True,
        default=False,
        marks=[SbatchOption("hold", "H", argument="none")],
    )

    @property
    def min_nodes(self) -> int | None:
        """The smallest number of nodes that was asked for."""
        return None if self.nodes is None else int(str(self.nodes).partition("-")[0])

    @property
    def wants_gpus(self) -> bool:
        """Whether any key asks for at least one GPU."""
        for asked in (self.gpus, self.gpus_per_node, self.gpus_per_task):
            if asked is not None and any(int(part.rpartition(":")[2]) for part in asked.split(",")):
                return True
        gres = (self.gres or "").split(",")
        return any(is_gpu_gres(part) and not re.search(r"[:=]0$", part) for part in gres)
