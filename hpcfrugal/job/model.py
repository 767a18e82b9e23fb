"""JobSpec: what a user asks for, complete and checked, whatever form it was written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from hpcfrugal.job.container import Container
from hpcfrugal.job.energy import Energy
from hpcfrugal.job.fields import Fault, Faults, Section
from hpcfrugal.job.forms import FilePath, Line, Name, Texts
from hpcfrugal.job.labels import Command, DirectiveLines, Environment, ExtraFlags, Modules, Tags, Template
from hpcfrugal.job.names import name_from_command, name_from_path
from hpcfrugal.job.resources import Resources
from hpcfrugal.job.schedule import Schedule


class JobSpec(Section):
    """A job file: one of `command` and `script`; everything else has a default."""

    name: Name = Field(
        default="",
        description="Name of the job; left out, that of the job file without its suffix.",
        examples=["matmul"],
    )
    command: Command | None = Field(
        default=None,
        description="Shell commands to run, on several lines if need be; or one command as a list of words.",
        examples=["python train.py --epochs 10", ["python", "train.py"]],
    )
    script: FilePath | None = Field(
        default=None,
        description="Existing script to run in place of `command`, relative to the job file. "
        "Its #SBATCH lines hold where the job file is silent.",
        examples=["train.sh"],
    )
    args: Texts = Field(default=(), description="Arguments of the script.", examples=[["--epochs", "10"]])
    workdir: FilePath | None = Field(
        default=None,
        description="Directory to run in, relative to the job file; left out, where `submit` was called.",
        examples=["~/runs"],
    )
    env: Environment = Field(
        default={},
        description="Environment variables; numbers keep their text.",
        examples=[{"OMP_NUM_THREADS": 4}],
    )
    modules: Modules = Field(
        default=(), description="Environment modules to load, in order.", examples=[["gcc/12", "openmpi"]]
    )
    container: Container | None = Field(
        default=None,
        description="Container to run in: an image, or a mapping.",
        examples=["images/torch.sif", {"image": "images/torch.sif", "nv": True}],
    )
    template: Template | None = Field(
        default=None,
        description="Template of the batch script; left out, the one that fits.",
        examples=["torchrun", "mpi"],
    )
    output: Line | None = Field(
        default=None,
        description="File for the job's output, with Slurm's patterns.",
        examples=["logs/%x-%j.out"],
    )
    error: Line | None = Field(
        default=None,
        description="File for the job's errors; left out, along with the output.",
        examples=["logs/%x-%j.err"],
    )
    resources: Resources = Field(
        default=Resources(),
        description="What the job asks of the cluster, in Slurm's words.",
        examples=[{"nodes": 2, "time": "1:30:00"}],
    )
    energy: Energy = Field(
        default=Energy(),
        description="Sampling of energy: `off`, or a mapping.",
        examples=["off", {"interval": "0.5s"}],
    )
    schedule: Schedule = Field(default=Schedule(), description="When the job may run.", examples=[{"max_delay": "12h"}])
    tags: Tags = Field(
        default={},
        description="Labels for reports: `project`, `phase` and any of your own.",
        examples=[{"project": "climate", "phase": "training"}],
    )
    sbatch: ExtraFlags = Field(
        default=(),
        description="Further options of sbatch, for what has no key here.",
        examples=[["--mail-type=END", "--licenses=matlab:1"], {"mail-type": "END"}],
    )
    directives: DirectiveLines = Field(
        default=(),
        description="The #SBATCH lines of the script, as they stand there; not a key of the job file.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_name(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or (data.get("name") is not None and data["name"] != ""):
            return data
        command, script = data.get("command"), data.get("script")
        if isinstance(command, Sequence) and not isinstance(command, str) and command:
            command = str(command[0])
        name = "job"
        if isinstance(script, str):
            name = name_from_path(script)
        elif isinstance(command, str):
            name = name_from_command(command)
        return {**data, "name": name}

    @model_validator(mode="after")
    def _fit_together(self) -> JobSpec:
        faults = []
        both = (("command",), ("script",))
        if self.command is None and self.script is None:
            faults.append(Fault(("command",), "is missing", "write what to run: `command: python train.py`", both))
        if self.command is not None and self.script is not None:
            faults.append(Fault(("script",), "can't be given along with `command`", "keep one of the two", both))
        if self.args and self.script is None:
            faults.append(
                Fault(("args",), "has no `script` to go to", "write them behind the command", (("args",), *both))
            )
        if self.schedule.interruptible is not None and self.resources.requeue is False:
            faults.append(
                Fault(
                    ("resources", "requeue"),
                    "forbids what `schedule.interruptible` needs",
                    "leave `requeue` out, or `interruptible`",
                    (("resources", "requeue"), ("schedule", "interruptible")),
                )
            )
        if faults:
            raise Faults(faults)
        return self
