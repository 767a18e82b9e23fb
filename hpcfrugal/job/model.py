"""JobSpec: what a user asks for, complete and checked, whichever form it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcfrugal.core.section import Fault, ValueType, keys_below, optional
from hpcfrugal.job.command_types import (
    EXTRA_FLAGS_SCHEMA,
    CommandText,
    DirectiveLines,
    Environment,
    Export,
    Modules,
    ShellLines,
    Tags,
    Template,
    python_file_as_program,
)
from hpcfrugal.job.container import Container
from hpcfrugal.job.energy import Energy
from hpcfrugal.job.mail import Mail
from hpcfrugal.job.matrix import Matrix, MatrixOfTasks
from hpcfrugal.job.names import name_from_command, name_from_path
from hpcfrugal.job.option_table import OptionTable
from hpcfrugal.job.resources import Resources
from hpcfrugal.job.sbatch_options import OTHER_OPTIONS, SbatchOption
from hpcfrugal.job.schedule import Schedule
from hpcfrugal.job.section import Excludes, JobSection, dotted
from hpcfrugal.job.text_types import FilePath, NameLine, TextLine, Texts


def _to_extra_flags(value: object) -> tuple[str, ...]:
    return SBATCH.extra_flags(value)


class JobSpec(JobSection):
    """A job file: one of `command` and `script`; everything else has a default."""

    name: str = optional(
        NameLine,
        "Name of the job; by default that of the job file without its suffix.",
        "matmul",
        default="",
        marks=[SbatchOption("job-name", "J")],
    )
    command: str | None = optional(
        CommandText,
        "Shell commands to run, on one or several lines; or one command as a list of words.",
        "python train.py --epochs 10",
        ["python", "train.py"],
    )
    script: str | None = optional(
        FilePath,
        "Existing script to run instead of `command`, relative to the job file. "
        "Its #SBATCH lines apply where the job file sets nothing.",
        "train.sh",
        marks=[Excludes(command="keep one of the two")],
    )
    args: tuple[str, ...] = optional(Texts, "Arguments of the script.", ["--epochs", "10"], default=())
    workdir: str | None = optional(
        FilePath,
        "Directory to run in, relative to the job file; by default the one where you call `submit`.",
        "~/runs",
        marks=[SbatchOption("chdir", "D")],
    )
    env: dict[str, str] = optional(
        Environment, "Environment variables; numbers keep their text.", {"OMP_NUM_THREADS": 4}, default={}
    )
    matrix: Matrix | None = optional(
        MatrixOfTasks,
        "Parameters with lists of values: a task of a job array for each combination, which gets its values as "
        "environment variables. Also `include`, `exclude`, `max_running`.",
        {"lr": [0.1, 0.01], "seed": [1, 2, 3]},
    )
    modules: tuple[str, ...] = optional(
        Modules, "Environment modules to load, in order.", ["gcc/12", "openmpi"], default=()
    )
    conda: str | None = optional(
        TextLine,
        "Conda environment to activate after the modules: its name, or its path relative to the job file.",
        "torch",
        "./envs/torch",
    )
    venv: str | None = optional(
        FilePath,
        "Virtual environment (of venv, virtualenv or uv) to activate after the modules, relative to the job file.",
        ".venv",
        marks=[Excludes(conda="keep one of the two")],
    )
    setup: str | None = optional(
        ShellLines,
        "Shell lines to run once before the command or script, outside its container and launcher; or a list of them.",
        "mkdir -p $TMPDIR/cache",
        ["cd $TMPDIR", "tar xf data.tar"],
    )
    teardown: str | None = optional(
        ShellLines,
        "Shell lines to run once after the command or script, however that ended; or a list of them.",
        "cp -r $TMPDIR/results .",
    )
    container: Container | None = optional(
        Container,
        "Container to run in: an image, or a mapping.",
        "images/torch.sif",
        {"image": "images/torch.sif", "nv": True},
    )
    template: str | None = optional(
        Template, "Template of the batch script; by default one is chosen by the other keys.", "torchrun", "mpi"
    )
    output: str | None = optional(
        TextLine,
        "File for the standard output of the job; may contain Slurm's patterns.",
        "logs/%x-%j.out",
        marks=[SbatchOption("output", "o")],
    )
    error: str | None = optional(
        TextLine,
        "File for the standard error of the job; by default the same as `output`.",
        "logs/%x-%j.err",
        marks=[SbatchOption("error", "e")],
    )
    export: str | None = optional(
        Export,
        "Which environment of the submission the job gets: `all` of it (the default), or `none`.",
        "none",
        marks=[SbatchOption("export")],
    )
    comment: str | None = optional(
        TextLine,
        "Comment of the job in Slurm; a low-carbon queue adds its entry.",
        "run 3 of 7",
        marks=[SbatchOption("comment")],
    )
    mail: Mail = optional(
        Mail,
        "Mail from Slurm: an address, for the end and failures, or events, or a mapping.",
        "me@example.org",
        ["END", "FAIL"],
        {"type": "ALL", "user": "me@example.org"},
        default=Mail(),
    )
    resources: Resources = optional(
        Resources, "Resources to request from Slurm.", {"nodes": 2, "time": "1:30:00"}, default=Resources()
    )
    energy: Energy = optional(
        Energy, "How energy is measured: `off`, or a mapping.", "off", {"interval": "0.5s"}, default=Energy()
    )
    schedule: Schedule = optional(Schedule, "When the job may run.", {"max_delay": "12h"}, default=Schedule())
    tags: dict[str, str] = optional(
        Tags,
        "Labels for reports: `project`, `phase` and any others.",
        {"project": "climate", "phase": "training"},
        default={},
    )
    sbatch: tuple[str, ...] = optional(
        ValueType(_to_extra_flags, EXTRA_FLAGS_SCHEMA),
        "Further options of sbatch, for which there is no key.",
        ["--licenses=matlab:1", "--nice=100"],
        {"licenses": "matlab:1"},
        default=(),
    )
    directives: tuple[str, ...] = optional(
        DirectiveLines, "The #SBATCH lines of the script, unchanged; not a key of the job file.", default=()
    )

    def derived(self) -> Mapping[str, Any]:
        """The name, where none is given, and the array of a matrix."""
        values: dict[str, Any] = {}
        if not self.name:
            values["name"] = (
                name_from_path(self.script) if self.script is not None else name_from_command(self.command or "")
            )
        if self.matrix is not None and self.resources.array is None:
            values["resources"] = self.resources.changed(array=self.matrix.array)
        return values

    def contradictions(self) -> list[Fault]:
        """Nothing to run, keys that need others or have no effect beside them."""
        faults = super().contradictions()
        both = (("command",), ("script",))
        if self.command is None and self.script is None:
            faults.append(Fault(("command",), "is missing", "write what to run: `command: python train.py`", both))
        if self.args and self.script is None:
            hint = "write them after the command"
            faults.append(Fault(("args",), "needs a `script`", hint, (("args",), *both)))
        if self.template == "torchrun" and (file := python_file_as_program(self.command or "")):
            what = f"has several commands, which bash runs in each process of torchrun, and {file} is no command"
            faults.append(Fault(("command",), what, f"write `python {file}`", (("command",), ("template",))))
        if self.container is not None:
            for key in ("conda", "venv"):
                if getattr(self, key) is not None:
                    hint = "activate it in the command, which runs in the container"
                    faults.append(
                        Fault((key,), "can't be given along with `container`", hint, ((key,), ("container",)))
                    )
        if self.matrix is not None:
            array = ("resources", "array")
            if self.resources.array not in (None, self.matrix.array):
                hint = "keep one: a matrix is an array with a task for each combination"
                faults.append(
                    Fault(("matrix",), "can't be given along with `resources.array`", hint, (("matrix",), array))
                )
            for key, names in (("env", self.env), ("tags", self.tags)):
                if twice := [name for name in self.matrix.parameters if name in names]:
                    what = f"{', '.join(twice)} can't be in `{key}` as well"
                    faults.append(Fault(("matrix",), what, "use another name", (("matrix",), (key,))))
        if self.resources.hold and self.schedule.effective_policy != "asap":
            hold = ("resources", "hold")
            hint = "use `schedule.earliest`, or leave one of the two out"
            faults.append(Fault(hold, "the start of a held job can't be planned", hint, (hold, ("schedule",))))
        if self.schedule.interruptible is not None and self.resources.requeue is False:
            requeue = ("resources", "requeue")
            what = "can't be false along with `schedule.interruptible`, which requeues the job"
            hint = "leave `requeue` or `interruptible` out"
            faults.append(Fault(requeue, what, hint, (requeue, ("schedule", "interruptible"))))
        return faults


JOB_KEYS = {dotted(path): key for path, key in keys_below(JobSpec)}
"""Every key of a job file, a section before the keys that it holds."""

_OPTIONS = {path: mark for path, key in JOB_KEYS.items() for mark in key.marks if isinstance(mark, SbatchOption)}

SBATCH = OptionTable(_OPTIONS, OTHER_OPTIONS)
"""Every option of sbatch, and the keys of the job file that stand for them."""
