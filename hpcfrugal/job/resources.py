"""What a job asks of the cluster, in Slurm's own words and forms."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from hpcfrugal.job.fields import Fault, Faults, Section
from hpcfrugal.job.forms import ArrayIndices, Count, Gpus, Joined, Line, Memory, Nodes, Switch, Walltime

_GPU_GRES = re.compile(r"(?:gres/)?gpu(?:[:=].*)?")


class Resources(Section):
    """Each key is the sbatch option of the same name; what is left out is left to the cluster."""

    nodes: Nodes | None = Field(
        default=None, description="Number of nodes, or `least-most` such as `2-4`.", examples=[2, "2-4"]
    )
    ntasks: Count | None = Field(default=None, description="Number of tasks (MPI ranks) over all nodes.", examples=[16])
    ntasks_per_node: Count | None = Field(default=None, description="Number of tasks on each node.", examples=[8])
    cpus_per_task: Count | None = Field(default=None, description="Number of CPUs of each task.", examples=[4])
    mem: Memory | None = Field(
        default=None,
        description="Memory of each node: a number with K, M, G or T, without a unit MiB; 0 is all of it.",
        examples=["16G", 4000],
    )
    mem_per_cpu: Memory | None = Field(
        default=None,
        description="Memory of each CPU, in the form of `mem`; not along with it.",
        examples=["2G"],
    )
    gpus: Gpus | None = Field(
        default=None,
        description="Number of GPUs of the whole job, with the type where it matters.",
        examples=[2, "a100:2"],
    )
    gpus_per_node: Gpus | None = Field(default=None, description="Number of GPUs on each node.", examples=[4, "h100:4"])
    gpus_per_task: Gpus | None = Field(default=None, description="Number of GPUs of each task.", examples=[1])
    gres: Joined | None = Field(
        default=None,
        description="Generic resources of each node; a list is joined with commas.",
        examples=["gpu:a100:2,nvme:1"],
    )
    time: Walltime | None = Field(
        default=None,
        description="Time limit: minutes, minutes:seconds, hours:minutes:seconds, days-hours, "
        "days-hours:minutes or days-hours:minutes:seconds.",
        examples=[30, "1:30:00", "2-12:00:00"],
    )
    partition: Joined | None = Field(
        default=None, description="Partition, or several to choose from.", examples=["batch"]
    )
    account: Line | None = Field(default=None, description="Account that the job is charged to.", examples=["climate"])
    qos: Line | None = Field(default=None, description="Quality of service.", examples=["normal"])
    constraint: Line | None = Field(default=None, description="Node features that are needed.", examples=["skylake&ib"])
    reservation: Joined | None = Field(default=None, description="Reservation to run in.", examples=["course"])
    nodelist: Joined | None = Field(default=None, description="Nodes that must be used.", examples=["n[1-4]"])
    exclude: Joined | None = Field(default=None, description="Nodes that must not be used.", examples=["n7,n9"])
    array: ArrayIndices | None = Field(
        default=None,
        description="Task indices of a job array; `%4` lets at most 4 run at once.",
        examples=["0-15", "1-99%4"],
    )
    dependency: Line | None = Field(
        default=None, description="Jobs that this one waits for.", examples=["afterok:1234", "singleton"]
    )
    exclusive: Switch = Field(default=False, description="Whether the job has its nodes for itself.", examples=[True])
    requeue: Switch | None = Field(
        default=None,
        description="Whether Slurm may put the job back in the queue; left out, the cluster decides.",
        examples=[True],
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Resources:
        if self.mem is not None and self.mem_per_cpu is not None:
            raise Faults(
                [
                    Fault(
                        ("mem_per_cpu",),
                        "can't be given along with `mem`",
                        "keep one: `mem` counts for a node, `mem_per_cpu` for a CPU",
                        (("mem",), ("mem_per_cpu",)),
                    )
                ]
            )
        return self

    @property
    def min_nodes(self) -> int | None:
        """The least number of nodes that was asked for."""
        return None if self.nodes is None else int(str(self.nodes).partition("-")[0])

    @property
    def wants_gpus(self) -> bool:
        """Whether any key asks for at least one GPU."""
        for asked in (self.gpus, self.gpus_per_node, self.gpus_per_task):
            if asked is not None and any(int(part.rpartition(":")[2]) for part in asked.split(",")):
                return True
        gres = (self.gres or "").split(",")
        return any(_GPU_GRES.fullmatch(part.strip()) and not re.search(r"[:=]0$", part) for part in gres)
