"""A parameter sweep: every combination of the values of some parameters, each a task of one job array."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from hpcfrugal.core.section import Fault, Faults, KeyPath, ValueType
from hpcfrugal.core.text import quoted_value
from hpcfrugal.job.amount_types import Count
from hpcfrugal.job.command_types import to_env_name, to_value
from hpcfrugal.job.text_types import TEXT_KINDS

MOST_COMBINATIONS = 10_000
"""Each has a line in the batch script, which Slurm takes up to 4 MB (slurm.conf(5), ``max_script_size``)."""

_OTHER_KEYS = ("include", "exclude", "max_running")
_OF_THE_SCRIPT = ("SLURM_", "HPCFRUGAL_", "hf_")
_TAGS_OF_REPORTS = ("project", "phase")


class Matrix(NamedTuple):
    """The value of each parameter in each task, by the index of the task; ``max_running`` at the same time at most."""

    tasks: tuple[Mapping[str, str], ...]
    max_running: int | None = None

    @property
    def array(self) -> str:
        """As ``sbatch --array`` takes it."""
        most = "" if self.max_running is None else f"%{self.max_running}"
        return f"0-{len(self.tasks) - 1}{most}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Their names, in the order of the job file."""
        return tuple(self.tasks[0])


def _to_matrix(value: object) -> Matrix:
    """
    Raises:
        ValueError: it is no mapping; or Faults, with everything that is wrong.
    """
    if isinstance(value, Matrix):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping of parameters to lists of values, such as {lr: [0.1, 0.01], seed: [1, 2]}")
    tasks = value.get("tasks") if value.keys() <= {"tasks", "max_running"} else None
    if tasks and isinstance(tasks, list) and all(isinstance(one, Mapping) for one in tasks):
        # As it is stored: the first task has the only value of each parameter, the others are added to that.
        first = {name: [text] for name, text in tasks[0].items()}
        value = {"max_running": value.get("max_running"), **first, "include": tasks[1:]}
    faults: list[Fault] = []
    values = {
        str(name): _values(str(name), some, faults) for name, some in value.items() if str(name) not in _OTHER_KEYS
    }
    if not values:
        faults.append(Fault((), "has no parameter", "write for example {lr: [0.1, 0.01], seed: [1, 2]}", ((),)))
    max_running = _max_running(value.get("max_running"), faults)
    excluded = _combinations(value, "exclude", values, faults)
    included = _combinations(value, "include", values, faults)
    for at, one in included:
        if missing := [name for name in values if name not in one]:
            faults.append(Fault(("include", at), f"has no value of {', '.join(missing)}", "give one of each parameter"))
    if faults:
        raise Faults(*faults)
    count = math.prod(map(len, values.values()))
    if count > MOST_COMBINATIONS:
        raise ValueError(f"has {count} combinations; the limit is {MOST_COMBINATIONS}")
    every = [dict(zip(values, some, strict=True)) for some in product(*values.values())]
    left_out = _Excluded(some for _, some in excluded)
    fitting = set().union(*map(left_out.of, every))
    faults += [Fault(("exclude", at), "fits no combination") for at, some in excluded if _key(some) not in fitting]
    tasks = [one for one in every if not left_out.of(one)]
    there = {_key(one) for one in tasks}
    for at, one in included:
        if _key(one) in there:
            faults.append(Fault(("include", at), "is among the combinations already"))
        there.add(_key(one))
        tasks.append({name: one[name] for name in values})
    if not tasks:
        faults.append(Fault(("exclude",), "leaves no combination"))
    elif len(tasks) > MOST_COMBINATIONS:
        faults.append(Fault(("include",), f"makes {len(tasks)} combinations; the limit is {MOST_COMBINATIONS}"))
    if faults:
        raise Faults(*faults)
    return Matrix(tuple(tasks), max_running)


_Key = frozenset[tuple[str, str]]


def _key(some: Mapping[str, str]) -> _Key:
    return frozenset(some.items())


class _Excluded:
    """Combinations to leave out, found by the names of their parameters, since each may be one of thousands."""

    def __init__(self, combinations: Iterable[Mapping[str, str]]) -> None:
        self._by_names: dict[frozenset[str], set[_Key]] = {}
        for some in combinations:
            self._by_names.setdefault(frozenset(some), set()).add(_key(some))

    def of(self, task: Mapping[str, str]) -> list[_Key]:
        """Those that a task fits."""
        keys = ((frozenset((name, task[name]) for name in names), some) for names, some in self._by_names.items())
        return [key for key, some in keys if key in some]


def _values(name: str, value: object, faults: list[Fault]) -> tuple[str, ...]:
    """The values of a parameter as texts; what is wrong is added to ``faults``."""
    try:
        to_env_name(name)
        if name.startswith(_OF_THE_SCRIPT):
            raise ValueError("is a name of the batch script's own variables; use another one")
        if name in _TAGS_OF_REPORTS:
            raise ValueError("is a tag of the whole job; use another name")
        if isinstance(value, str) or not isinstance(value, Sequence) or not value:
            example = shown_value(str(value)) if value and isinstance(value, str | int | float) else "1, 2"
            raise ValueError(f"needs a list of values, such as [{example}]")
    except ValueError as error:
        faults.append(Fault((name,), str(error)))
        return ()
    found: dict[str, None] = {}
    for at, entry in enumerate(value):
        try:
            text = to_value(entry)
            if text in found:
                raise ValueError(f"{quoted_value(text)} is there twice")
            found[text] = None
        except ValueError as error:
            faults.append(Fault((name, at), str(error)))
    return tuple(found)


def _combinations(
    matrix: Mapping[Any, Any], key: str, values: Mapping[str, Sequence[str]], faults: list[Fault]
) -> list[tuple[int, dict[str, str]]]:
    """The entries of ``include`` or ``exclude`` without mistakes, each with its place in the list."""
    entries = matrix.get(key)
    if entries is None or not values:
        return []
    if isinstance(entries, str) or not isinstance(entries, Sequence):
        faults.append(Fault((key,), "must be a list of mappings, such as [{lr: 0.1, seed: 3}]"))
        return []
    found: list[tuple[int, dict[str, str]]] = []
    for at, entry in enumerate(entries):
        path: KeyPath = (key, at)
        if not isinstance(entry, Mapping) or not entry:
            faults.append(Fault(path, "must be a mapping of parameters to values, such as {lr: 0.1, seed: 3}"))
            continue
        texts: dict[str, str] = {}
        for name, value in entry.items():
            try:
                if name not in values:
                    raise ValueError(f"is not a parameter; there is {', '.join(values)}")
                texts[name] = to_value(value)
            except ValueError as error:
                faults.append(Fault((*path, str(name)), str(error)))
        if len(texts) == len(entry):
            found.append((at, texts))
    return found


def _max_running(value: object, faults: list[Fault]) -> int | None:
    if value is None:
        return None
    text = str(value)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if isinstance(value, bool) or not number:
        faults.append(Fault(("max_running",), f"{quoted_value(value)} is not a number of tasks from 1"))
        return None
    return number


def _to_json(matrix: Matrix) -> dict[str, Any]:
    return {"tasks": [dict(task) for task in matrix.tasks], "max_running": matrix.max_running}


_VALUE = {"type": [*TEXT_KINDS, "null"]}
_SOME = {"type": "array", "items": {"type": "object", "additionalProperties": _VALUE, "minProperties": 1}}

MatrixOfTasks = ValueType(
    _to_matrix,
    {
        "type": "object",
        "properties": {
            "include": {**_SOME, "description": "Further combinations, each with a value of every parameter."},
            "exclude": {**_SOME, "description": "Combinations to leave out, by some or all of their values."},
            "max_running": {**(Count.schema or {}), "description": "Most tasks at the same time."},
        },
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": {"type": "array", "items": _VALUE, "minItems": 1},
    },
    _to_json,
)


def tasks_in_words(matrix: Matrix, most: int = 20) -> list[str]:
    """A line for each task with its values, ``most`` at most."""
    lines = [
        f"task {index}: {', '.join(f'{name}={shown_value(value)}' for name, value in task.items())}"
        for index, task in enumerate(matrix.tasks[:most])
    ]
    left = len(matrix.tasks) - most
    return [*lines, f"and {left} more"] if left > 0 else lines


def shown_value(text: str) -> str:
    """A value as it stands where it is a plain word, else quoted and cut."""
    return text if text and text.isprintable() and " " not in text and len(text) <= 60 else quoted_value(text)
