"""The options of sbatch: one row for each.

An option that a key of the job file stands for is an `SbatchOption` among the annotations of that key's field (in
resources.py, model.py and schedule.py), which also holds the key's type, description and examples. Every other option
is a row of OTHER_OPTIONS below. The flags that are rendered, the checks of `sbatch:` and of batch scripts, the JSON
Schema and the tables of docs/job-file.md all follow from these rows; see :class:`OptionTable`.

Names, letters and arguments are those of Slurm 22.05 to 26.05 (sbatch(1); `common_options` in src/common/slurm_opt.c).
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from hpcfrugal.core.quick import dataclass

Argument = Literal["none", "optional", "required"]


@dataclass(frozen=True, slots=True)
class SbatchOption:
    """One option of sbatch.

    Attributes:
        name: the long name, without dashes.
        short: the letter that stands for it.
        argument: whether sbatch takes a value for it.
        other_names: further long names that sbatch knows it by.
        opposite: the long name of the option that sets the key to false.
        other_values: values that mean something else than the key. With one of them the option may stand in `sbatch:`,
            and in a script it does not set the key.
        refused: why `sbatch:` does not accept it and what to do instead; None where it may stand there. An option that
            a key stands for needs no reason: it is always refused there.
        in_script: whether a #SBATCH line of a script may hold it.
    """

    name: str
    short: str = ""
    argument: Argument = "required"
    other_names: tuple[str, ...] = ()
    opposite: str | None = None
    other_values: frozenset[str] = field(default_factory=frozenset)
    refused: str | None = None
    in_script: bool = True


def _passed(name: str, short: str = "", argument: Argument = "required") -> SbatchOption:
    """An option that is handed on to sbatch as it stands."""
    return SbatchOption(name, short, argument)


def _only_in_script(name: str, why: str, short: str = "", argument: Argument = "required") -> SbatchOption:
    """An option that a script of the user's may hold, but not the job file."""
    return SbatchOption(name, short, argument, refused=why)


def _refused(name: str, why: str, short: str = "", argument: Argument = "required") -> SbatchOption:
    """An option under which the job would not be submitted, or its energy not be measured."""
    return SbatchOption(name, short, argument, refused=why, in_script=False)


_USE_ENV = "use the key `env`"
_USE_CONTAINER = "the sidecar could not read the sensors; use the key `container`"
_NOTHING_SUBMITTED = "nothing would be submitted"
_ANSWER = "hpcfrugal parses the output of sbatch"
_OWNER = "a job belongs to the user who submits it"

OTHER_OPTIONS = (
    _passed("acctg-freq"),
    _refused("autocomplete", _NOTHING_SUBMITTED),
    _passed("batch"),
    _passed("bb"),
    _passed("bbf"),
    _passed("cluster-constraint"),
    # In a script it may name this cluster, which only the submission knows.
    SbatchOption(
        "clusters",
        "M",
        other_names=("cluster",),
        refused="jobs go to the cluster of this login node; log in to the other cluster and submit there",
    ),
    _passed("consolidate-segments", argument="none"),
    _refused("container", _USE_CONTAINER),
    _refused("container-id", _USE_CONTAINER),
    _refused("container-type", _USE_CONTAINER),
    _passed("context"),
    _passed("contiguous", argument="none"),
    _passed("core-spec", "S"),
    _passed("cores-per-socket"),
    _passed("cpu-freq"),
    _only_in_script("deadline", "Slurm deletes a job that would miss it; use the key `schedule.deadline`"),
    _passed("delay-boot"),
    _passed("distribution", "m"),
    _only_in_script("export-file", _USE_ENV),
    _refused("external", "Slurm runs no script in an external job", argument="none"),
    _passed("extra"),
    _passed("extra-node-info", "B"),
    _only_in_script("get-user-env", "it replaces the job's environment; use the key `env`", argument="optional"),
    _refused("gid", _OWNER),
    _passed("gpu-bind"),
    _passed("gpu-freq"),
    _passed("gpus-per-socket"),
    _passed("gres-flags"),
    _refused("help", _NOTHING_SUBMITTED, "h", "none"),
    _passed("hint"),
    _passed("ignore-pbs", argument="none"),
    _passed("input", "i"),
    _passed("kill-on-invalid-dep"),
    _passed("licenses", "L"),
    _passed("mcs-label"),
    _passed("mem-bind"),
    _passed("mem-update"),
    _passed("mincpus"),
    _passed("network"),
    _passed("nice", argument="optional"),
    _passed("no-kill", "k", "optional"),
    _only_in_script("nodefile", "use the key `resources.nodelist`", "F"),
    _passed("ntasks-per-core"),
    _passed("ntasks-per-gpu"),
    _passed("ntasks-per-socket"),
    _passed("ntasks-per-tres"),
    _passed("oom-kill-step", argument="optional"),
    _passed("open-mode"),
    _passed("overcommit", "O", "none"),
    _passed("oversubscribe", "s", "none"),
    _only_in_script("parsable", _ANSWER, argument="none"),
    _passed("power"),
    _passed("prefer"),
    _passed("priority"),
    _passed("profile"),
    _passed("propagate", argument="optional"),
    _only_in_script("quiet", _ANSWER, "Q", "none"),
    _passed("reboot", argument="none"),
    _passed("resources"),
    _passed("resv-ports", argument="optional"),
    _passed("segment"),
    _passed("signal"),
    _passed("sockets-per-node"),
    _passed("spread-job", argument="none"),
    _passed("spread-segments", argument="none"),
    _passed("stepmgr", argument="none"),
    _passed("switches"),
    _refused("test-only", f"{_NOTHING_SUBMITTED}; use `hpcfrugal submit --dry-run`", argument="none"),
    _passed("thread-spec"),
    _passed("threads-per-core"),
    _passed("time-min"),
    _passed("tmp"),
    _passed("tres-bind"),
    _passed("tres-per-task"),
    _refused("uid", _OWNER),
    _refused("usage", _NOTHING_SUBMITTED, argument="none"),
    _passed("use-min-nodes", argument="none"),
    _passed("verbose", "v", "none"),
    _refused("version", _NOTHING_SUBMITTED, "V", "none"),
    _refused("wait", "use `hpcfrugal submit --wait`", "W", "none"),
    _passed("wait-all-nodes"),
    _passed("wckey"),
    _refused("wrap", "use the key `command`"),
)

GPU_GRES = "gres=gpu"
"""Stands in EXCLUSIVE for the GPUs among the generic resources of --gres, whose others exclude nothing."""

EXCLUSIVE = (
    ("mem", "mem-per-cpu", "mem-per-gpu"),
    ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", GPU_GRES),
    ("cpus-per-task", "cpus-per-gpu"),
    ("gpus-per-task", "ntasks-per-gpu"),
    ("ntasks-per-gpu", "ntasks-per-tres", "ntasks-per-node", "gpus-per-socket"),
    ("hint", "ntasks-per-core"),
    ("hint", "threads-per-core"),
    ("hint", "extra-node-info"),
    ("core-spec", "thread-spec"),
    ("nodelist", "nodefile"),
    ("exclusive", "oversubscribe"),
    ("time", "time-min"),
)
"""Options that sbatch refuses together, or of which one implies the other (sbatch(1), src/common/slurm_opt.c). One that
the job file sets replaces all others of its row in the script."""


def rivals_of(name: str) -> frozenset[str]:
    """The options that can't stand beside the one of this name."""
    return frozenset(other for row in EXCLUSIVE if name in row for other in row) - {name}
