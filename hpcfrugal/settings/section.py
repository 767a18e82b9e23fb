"""Base of the models of settings sections, and what is wrong with a section, in sentences.

Adding a setting is adding a field to its section's model. The field's type (see ``hpcfrugal.settings.values``) checks
the value and raises ValueError with one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.settings.origin import Origin
from hpcfrugal.settings.toml_file import Keys

_T = TypeVar("_T")


class Section(BaseModel):
    """A table of the settings. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: ClassVar[str]
    """What the section describes, such as ``a queue``: used in messages."""
    refused: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Keys that are refused with a reason and a hint of their own."""


class NamedSection(Section):
    """A table ``[kind.NAME]``; ``name`` comes from the table's header and is not a key."""

    name: str


_S = TypeVar("_S", bound=Section)
_N = TypeVar("_N", bound=NamedSection)


class Mistakes(ValueError):
    """Several mistakes found by one validator, or one that has a hint or belongs to another key.

    ``where`` of each problem is the key beside the validated one, "" for the validated key itself.
    """

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(problem.what for problem in problems))


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A table ``[kind.NAME]`` of a settings file, not yet checked."""

    name: str
    values: Mapping[str, Any]
    origin: Origin


def section_of(annotation: Any) -> type[Section] | None:
    """The model of a field that holds a section, None for any other field."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def key_paths(model: type[Section]) -> Iterator[Keys]:
    """The path of every key of a model, sections before what they hold."""
    for key, field in model.model_fields.items():
        if key == "name" and issubclass(model, NamedSection):
            continue
        yield (key,)
        if (inner := section_of(field.annotation)) is not None:
            yield from ((key, *path) for path in key_paths(inner))


def check(
    model: type[_S], values: Mapping[str, Any], tables: Iterable[str] = ()
) -> tuple[_S | None, list[tuple[Keys, Problem]]]:
    """The section, or None and every mistake with its key; ``where`` of the problems is left empty.

    ``tables`` are names that the file may hold besides the keys of the model, for suggestions.
    """
    try:
        return model.model_validate(values), []
    except ValidationError as failure:
        found: list[tuple[Keys, Problem]] = []
        for error in failure.errors(include_url=False):
            keys = tuple(str(part) for part in error["loc"])
            cause = error.get("ctx", {}).get("error")
            if isinstance(cause, Mistakes):
                for problem in cause.problems:
                    found.append(((*keys[:-1], problem.where) if problem.where else keys, problem))
            else:
                found.append((keys, _problem(model, keys, error, cause, tables)))
        return None, found


def _problem(model: type[Section], keys: Keys, error: Any, cause: object, tables: Iterable[str]) -> Problem:
    if error["type"] == "extra_forbidden":
        return _unknown(model, keys, tables)
    if error["type"] == "missing":
        examples = _field(model, keys).examples
        return Problem("", "is missing", f"for example {examples[0]}" if examples else None)
    if error["type"] == "literal_error":
        known = get_args(_field(model, keys).annotation)
        near = did_you_mean(error["input"], known) if isinstance(error["input"], str) else ""
        hint = near if near.startswith("did you") else None
        return Problem("", f"needs {' or '.join(known) if len(known) == 2 else 'one of ' + ', '.join(known)}", hint)
    if error["type"] in ("model_type", "dict_type"):
        return Problem("", "needs a table of keys")
    if error["type"] == "bool_type":
        return Problem("", "needs true or false")
    if error["type"] == "string_too_long":
        return Problem("", f"needs a text of at most {error['ctx']['max_length']} characters")
    return Problem("", str(cause).rstrip(".") if isinstance(cause, ValueError) else str(error["msg"]))


def _field(model: type[Section], keys: Keys) -> Any:
    """The model's own description of a key."""
    *above, key = keys
    for part in above:
        inner = section_of(model.model_fields[part].annotation)
        assert inner is not None
        model = inner
    return model.model_fields[key]


def _unknown(model: type[Section], keys: Keys, tables: Iterable[str]) -> Problem:
    *above, key = keys
    inner = model
    for part in above:
        inner = section_of(model.model_fields[part].annotation) or inner
    if key in inner.refused:
        return Problem("", *inner.refused[key])
    beside = [*inner.model_fields] if above else [*map(".".join, key_paths(model)), *tables]
    return Problem("", f"is not a setting of {inner.what}", did_you_mean(key, beside))


def read_table(model: type[_N], table: NamedTable, problems: list[Problem]) -> _N | None:
    """The section that a table describes; None where it is wrong, with every mistake added to ``problems``."""
    values = dict(table.values)
    if "name" in values:
        del values["name"]
        problems.append(Problem(str(table.origin.below("name")), *_refused_name(model)))
    section, found = check(model, {**values, "name": table.name})
    for keys, problem in found:
        where = table.origin if keys == ("name",) else table.origin.below(*keys)
        problems.append(Problem(str(where), problem.what, problem.hint))
    return section


def _refused_name(model: type[NamedSection]) -> tuple[str, str]:
    return f"is not a setting of {model.what}", "the table's header names it"


def read_tables(
    tables: Mapping[str, NamedTable], read: Callable[[NamedTable, list[Problem]], _T | None]
) -> dict[str, _T]:
    """What ``read`` makes of each table, by name and in the order of the files.

    Raises:
        InputError: every mistake of every table.
    """
    problems: list[Problem] = []
    found = {name: read(table, problems) for name, table in tables.items()}
    if problems:
        raise InputError(problems)
    return {name: one for name, one in found.items() if one is not None}
