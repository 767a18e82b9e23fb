"""What a job asks of the cluster, in Slurm's own words and forms."""

from __future__ import annotations

import re
from typing import Annotated

from hpcfrugal.job.amount_types import ArrayIndices, Count, GpuCount, Memory, NodeCount
from hpcfrugal.job.sbatch_options import SbatchOption
from hpcfrugal.job.section import Excludes, JobSection, optional
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

    nodes: Annotated[NodeCount | None, SbatchOption("nodes", "N")] = optional(
        "Number of nodes, or `minimum-maximum` such as `2-4`.", 2, "2-4"
    )
    ntasks: Annotated[Count | None, SbatchOption("ntasks", "n")] = optional("Total number of tasks (MPI ranks).", 16)
    ntasks_per_node: Annotated[Count | None, SbatchOption("ntasks-per-node", other_names=("tasks-per-node",))] = (
        optional("Number of tasks per node.", 8)
    )
    cpus_per_task: Annotated[Count | None, SbatchOption("cpus-per-task", "c")] = optional("Number of CPUs per task.", 4)
    mem: Annotated[Memory | None, SbatchOption("mem")] = optional(
        "Memory per node: a number with K, M, G or T, without a unit in MiB; 0 is all memory of the node.", "16G", 4000
    )
    mem_per_cpu: Annotated[
        Memory | None,
        SbatchOption("mem-per-cpu"),
        Excludes(mem="keep one: `mem` is memory per node, `mem_per_cpu` memory per CPU"),
    ] = optional("Memory per CPU, in the same form as `mem`; excludes `mem`.", "2G")
    mem_per_gpu: Annotated[
        Memory | None,
        SbatchOption("mem-per-gpu"),
        Excludes(mem="keep one of the two", mem_per_cpu="keep one of the two"),
    ] = optional("Memory per GPU, in the same form as `mem`; excludes `mem` and `mem_per_cpu`.", "32G")
    gpus: Annotated[GpuCount | None, SbatchOption("gpus", "G")] = optional(
        "Total number of GPUs, with their type if it matters.", 2, "a100:2"
    )
    gpus_per_node: Annotated[GpuCount | None, SbatchOption("gpus-per-node")] = optional(
        "Number of GPUs per node.", 4, "h100:4"
    )
    gpus_per_task: Annotated[GpuCount | None, SbatchOption("gpus-per-task")] = optional("Number of GPUs per task.", 1)
    cpus_per_gpu: Annotated[
        Count | None, SbatchOption("cpus-per-gpu"), Excludes(cpus_per_task="keep one of the two")
    ] = optional("Number of CPUs per GPU; excludes `cpus_per_task`.", 8)
    gres: Annotated[CommaList | None, SbatchOption("gres")] = optional(
        "Generic resources per node; a list is joined with commas.", "gpu:a100:2,nvme:1"
    )
    time: Annotated[Walltime | None, SbatchOption("time", "t")] = optional(
        "Time limit: minutes, minutes:seconds, hours:minutes:seconds, days-hours, "
        "days-hours:minutes or days-hours:minutes:seconds; or a number with its unit.",
        30,
        "24h",
        "1:30:00",
        "2-12:00:00",
    )
    partition: Annotated[CommaList | None, SbatchOption("partition", "p")] = optional(
        "Partition, or several to choose from.", "batch"
    )
    account: Annotated[TextLine | None, SbatchOption("account", "A")] = optional("Account to charge.", "climate")
    qos: Annotated[TextLine | None, SbatchOption("qos", "q")] = optional("Quality of service.", "normal")
    constraint: Annotated[TextLine | None, SbatchOption("constraint", "C")] = optional(
        "Required node features.", "skylake&ib"
    )
    reservation: Annotated[CommaList | None, SbatchOption("reservation")] = optional("Reservation to run in.", "course")
    nodelist: Annotated[CommaList | None, SbatchOption("nodelist", "w")] = optional(
        "Nodes that must be used.", "n[1-4]"
    )
    exclude: Annotated[CommaList | None, SbatchOption("exclude", "x")] = optional(
        "Nodes that must not be used.", "n7,n9"
    )
    array: Annotated[ArrayIndices | None, SbatchOption("array", "a")] = optional(
        "Task indices of a job array; `%4` runs at most 4 of them at once.", "0-15", "1-99%4"
    )
    dependency: Annotated[TextLine | None, SbatchOption("dependency", "d")] = optional(
        "Jobs to wait for.", "afterok:1234", "singleton"
    )
    exclusive: Annotated[
        Switch,
        SbatchOption("exclusive", argument="optional", other_values=_SHARED),
    ] = optional("Whether the job shares its nodes with no other job.", True, default=False)
    requeue: Annotated[Switch | None, SbatchOption("requeue", argument="optional", opposite="no-requeue")] = optional(
        "Whether Slurm may requeue the job; by default the cluster decides.", True
    )

    hold: Annotated[Switch, SbatchOption("hold", "H", argument="none")] = optional(
        "Whether the job waits until `hpcfrugal release`.", True, default=False
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
