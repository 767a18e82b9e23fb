"""The options of sbatch: which of them belong to hpcfrugal, and how a list of extra ones is checked.

The table follows sbatch(1) and the output of ``sbatch --help`` of Slurm 22.05 to 25.11. An option that is not
in it (a site's SPANK plugin, a newer Slurm) is passed on as it stands. sbatch takes an option by any
unambiguous beginning of its name, so an abbreviation of an owned one is refused as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpcfrugal.job.fields import Fault, Faults, line_of, shown

Argument = Literal["none", "optional", "required"]

_OWNED_BY_KEY = {
    "account": "resources.account",
    "array": "resources.array",
    "chdir": "workdir",
    "workdir": "workdir",
    "constraint": "resources.constraint",
    "cpus-per-task": "resources.cpus_per_task",
    "dependency": "resources.dependency",
    "error": "error",
    "exclude": "resources.exclude",
    "export": "env",
    "export-file": "env",
    "gpus": "resources.gpus",
    "gpus-per-node": "resources.gpus_per_node",
    "gpus-per-task": "resources.gpus_per_task",
    "gres": "resources.gres",
    "job-name": "name",
    "mem": "resources.mem",
    "mem-per-cpu": "resources.mem_per_cpu",
    "no-requeue": "resources.requeue",
    "nodelist": "resources.nodelist",
    "nodes": "resources.nodes",
    "ntasks": "resources.ntasks",
    "ntasks-per-node": "resources.ntasks_per_node",
    "output": "output",
    "partition": "resources.partition",
    "qos": "resources.qos",
    "requeue": "resources.requeue",
    "reservation": "resources.reservation",
    "tasks": "resources.ntasks",
    "tasks-per-node": "resources.ntasks_per_node",
    "time": "resources.time",
    "wrap": "command",
}
"""Options that a key of the job file stands for."""

_OWNED_OTHERWISE = {
    "begin": "hpcfrugal sets the start; use the key `schedule.earliest`",
    "cluster": "jobs go to the cluster of this login node; log in to the other one and submit there",
    "clusters": "jobs go to the cluster of this login node; log in to the other one and submit there",
    "comment": "hpcfrugal keeps its plan there; use the key `tags`",
    "container": "it would shut the sensors out; use the key `container`",
    "container-id": "it would shut the sensors out; use the key `container`",
    "deadline": "Slurm deletes a job that would miss it; use the key `schedule.deadline`",
    "get-user-env": "it replaces the environment that the job is handed; use the key `env`",
    "gid": "a job belongs to whoever submits it",
    "help": "it would submit nothing",
    "hold": "a held job has no start to plan; use the key `schedule.earliest`",
    "nodefile": "use the key `resources.nodelist`",
    "parsable": "hpcfrugal reads sbatch's answer itself",
    "quiet": "hpcfrugal reads sbatch's answer itself",
    "test-only": "it would submit nothing; use `hpcfrugal submit --dry-run`",
    "uid": "a job belongs to whoever submits it",
    "usage": "it would submit nothing",
    "version": "it would submit nothing",
    "wait": "use `hpcfrugal submit --wait`",
}
"""Options that hpcfrugal needs for itself or that would undo it, and what to do instead."""

_SHORT = {
    "A": "account",
    "a": "array",
    "B": "extra-node-info",
    "b": "begin",
    "C": "constraint",
    "c": "cpus-per-task",
    "D": "chdir",
    "d": "dependency",
    "e": "error",
    "F": "nodefile",
    "G": "gpus",
    "H": "hold",
    "h": "help",
    "i": "input",
    "J": "job-name",
    "k": "no-kill",
    "L": "licenses",
    "M": "clusters",
    "m": "distribution",
    "N": "nodes",
    "n": "ntasks",
    "O": "overcommit",
    "o": "output",
    "p": "partition",
    "Q": "quiet",
    "q": "qos",
    "S": "core-spec",
    "s": "oversubscribe",
    "t": "time",
    "U": "account",
    "u": "usage",
    "V": "version",
    "v": "verbose",
    "W": "wait",
    "w": "nodelist",
    "x": "exclude",
}

_NO_ARGUMENT = frozenset(
    [
        "contiguous",
        "help",
        "hold",
        "ignore-pbs",
        "no-requeue",
        "overcommit",
        "quiet",
        "reboot",
        "requeue",
        "spread-job",
        "stepmgr",
        "test-only",
        "usage",
        "use-min-nodes",
        "verbose",
        "version",
        "wait",
    ]
)
_OPTIONAL_ARGUMENT = frozenset(
    ["exclusive", "get-user-env", "nice", "no-kill", "oversubscribe", "parsable", "propagate", "resv-ports"]
)
_REQUIRED_ARGUMENT = frozenset(
    [
        "acctg-freq",
        "batch",
        "bb",
        "bbf",
        "cluster-constraint",
        "core-spec",
        "cores-per-socket",
        "cpu-freq",
        "cpus-per-gpu",
        "delay-boot",
        "distribution",
        "extra",
        "extra-node-info",
        "gpu-bind",
        "gpu-freq",
        "gpus-per-socket",
        "gres-flags",
        "hint",
        "input",
        "kill-on-invalid-dep",
        "licenses",
        "mail-type",
        "mail-user",
        "mcs-label",
        "mem-bind",
        "mem-per-gpu",
        "mincpus",
        "network",
        "ntasks-per-core",
        "ntasks-per-gpu",
        "ntasks-per-socket",
        "open-mode",
        "power",
        "prefer",
        "priority",
        "profile",
        "segment",
        "signal",
        "sockets-per-node",
        "switches",
        "thread-spec",
        "threads-per-core",
        "time-min",
        "tmp",
        "tres-bind",
        "tres-per-task",
        "wait-all-nodes",
        "wckey",
    ]
)

OWNED = frozenset(_OWNED_BY_KEY) | frozenset(_OWNED_OTHERWISE)
KNOWN = OWNED | _NO_ARGUMENT | _OPTIONAL_ARGUMENT | _REQUIRED_ARGUMENT
_SHARED_EXCLUSIVE = frozenset({"user", "mcs", "topo"})

# An option in a batch script is the user's own and is kept, save for those under which a job could not be
# followed or would not be submitted at all.
REFUSED_IN_SCRIPT = frozenset(
    [
        "cluster",
        "clusters",
        "container",
        "container-id",
        "gid",
        "help",
        "test-only",
        "uid",
        "usage",
        "version",
        "wait",
        "wrap",
    ]
)


@dataclass(frozen=True, slots=True)
class Flag:
    """One option as sbatch would read it: its full name where that is known, and its value."""

    name: str
    value: str | None


def argument_of(name: str) -> Argument | None:
    """Whether the option takes a value; None for an option that is not known."""
    if name in _NO_ARGUMENT:
        return "none"
    if name in _OPTIONAL_ARGUMENT:
        return "optional"
    return "required" if name in KNOWN else None


def full_name(name: str) -> str:
    """The option that sbatch takes a long name for: itself, or the one that it unambiguously begins."""
    if name in KNOWN:
        return name
    candidates = [known for known in KNOWN if known.startswith(name)]
    return candidates[0] if name and len(candidates) == 1 else name


def read_options(words: Sequence[str]) -> list[Flag]:
    """Read words as sbatch's getopt does: up to the first non-option, a value in the same word or the next.

    An unknown long option without ``=`` is taken to have no value.
    """
    flags: list[Flag] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word in {"-", "--"} or not word.startswith("-"):
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = full_name(name)
            if equals:
                flags.append(Flag(name, value))
            elif argument_of(name) == "required" and at < len(words):
                flags.append(Flag(name, words[at]))
                at += 1
            else:
                flags.append(Flag(name, None))
            continue
        rest = word[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            name = _SHORT.get(letter, letter)
            argument = argument_of(name)
            if argument == "required":
                if not rest and at < len(words):
                    rest = words[at]
                    at += 1
                flags.append(Flag(name, rest or None))
                break
            if argument == "optional":
                flags.append(Flag(name, rest or None))
                break
            flags.append(Flag(name, None))
    return flags


def why_refused(name: str) -> str:
    """What to do instead of passing an owned option."""
    if name in _OWNED_BY_KEY:
        return f"use the key `{_OWNED_BY_KEY[name]}`"
    if name == "exclusive":
        return "use the key `resources.exclusive`"
    return _OWNED_OTHERWISE[name]


def _owner_of(flag: Flag) -> str | None:
    """The owned option that a flag is or abbreviates; None where it may pass."""
    if flag.name == "exclusive":
        # The forms that share a node within one user are no whole-node claim, so they are left to Slurm.
        return None if flag.value in _SHARED_EXCLUSIVE else "exclusive"
    if flag.name in OWNED:
        return flag.name
    if flag.name in KNOWN:
        return None
    starts = sorted(name for name in (*OWNED, "exclusive") if name.startswith(flag.name))
    return starts[0] if len(flag.name) > 1 and starts else None


def check_flag(entry: object) -> str:
    """One extra option, as one word that sbatch reads as nothing else; raises ValueError with the reason."""
    text = line_of(entry, limit=131_072)
    if not text.startswith("-") or text.strip("-") == "":
        raise ValueError(f"{shown(text)} is not an option; every entry begins with `-`, such as --mail-type=END")
    word, _, _ = text.partition("=")
    if any(char.isspace() for char in word):
        name, _, value = text.partition(" ")
        long = f"--{_SHORT.get(name[1:], name.lstrip('-'))}"
        raise ValueError(f"{shown(text)} holds a blank; write it as one word, such as {long}={value.strip()}")
    flags = read_options([text])
    for flag in flags:
        owner = _owner_of(flag)
        if owner is not None:
            raise ValueError(f"{word} is set by hpcfrugal (--{owner}): {why_refused(owner)}")
        if argument_of(flag.name) == "required" and flag.value is None:
            # Without its value the option would swallow the next word of sbatch's command line.
            raise ValueError(f"{text} needs a value in the same entry, such as --{flag.name}=VALUE")
        if argument_of(flag.name) == "none" and flag.value is not None:
            raise ValueError(f"--{flag.name} takes no value; write --{flag.name} alone")
        if len(flag.name) == 1:
            raise ValueError(f"-{flag.name} is not an option of sbatch")
    return text


def flags_of(value: object) -> tuple[str, ...]:
    """The ``sbatch`` key: a list of options, or a mapping of their names (``mail-type: END``)."""
    if isinstance(value, Mapping):
        entries: list[tuple[str | int, object]] = []
        for key, setting in value.items():
            name = f"--{str(key).lstrip('-')}" if len(str(key).lstrip("-")) > 1 else f"-{str(key).lstrip('-')}"
            entries.append((str(key), _from_mapping(name, setting)))
    elif isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list of options, such as [--mail-type=END, --nice=100]")
    else:
        entries = list(enumerate(value))
    found: list[str] = []
    faults: list[Fault] = []
    for place, entry in entries:
        if entry is False:
            continue
        try:
            found.append(check_flag(entry))
        except ValueError as error:
            faults.append(Fault((place,), str(error)))
    if faults:
        raise Faults(faults)
    return tuple(found)


def _from_mapping(name: str, setting: object) -> object:
    """``contiguous: true`` is the bare option, ``false`` leaves it out, another value goes behind a ``=``."""
    plain = argument_of(full_name(_SHORT.get(name.lstrip("-"), name.lstrip("-")))) == "none"
    word = setting.strip().lower() if isinstance(setting, str) else ""
    if setting is None or setting is True or (plain and word in {"true", "yes", "on"}):
        return name
    if setting is False or (plain and word in {"false", "no", "off"}):
        return False
    if isinstance(setting, str | int | float):
        return f"{name}={setting}" if name.startswith("--") else f"{name}{setting}"
    return setting
