"""Base class of the models of settings sections, and the mistakes in a section as sentences.

To add a setting, add a field to the model of its section. The field's type (see ``hpcfrugal.settings.values``) checks
the value and raises ValueError with one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.core.quick import dataclass
from hpcfrugal.settings.origin import SettingOrigin
from hpcfrugal.settings.toml_file import Keys

_T = TypeVar("_T")


class Section(BaseModel):
    """A table of the settings. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: ClassVar[str]
    """What the section describes, such as ``a queue``, for messages."""
    refused: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Keys that are refused with their own reason and hint."""


class NamedSection(Section):
    """A table ``[kind.NAME]``; ``name`` comes from the table's header and is not a key."""

    name: str


_M = TypeVar("_M", bound=BaseModel)
_S = TypeVar("_S", bound=Section)
_N = TypeVar("_N", bound=NamedSection)


class Mistakes(ValueError):
    """Several mistakes found by one validator, or one that has a hint or belongs to another key.

    ``where`` of each problem is the key beside the validated one, with dots before keys below it; "" for the validated
    key itself.
    """

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("; ".join(problem.what for problem in problems))


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A table ``[kind.NAME]`` of a settings file, not yet checked."""

    name: str
    values: Mapping[str, Any]
    origin: SettingOrigin


def model_in(annotation: Any, base: type[_M]) -> type[_M] | None:
    """The subclass of ``base`` that a field holds, optional or not; None for any other field."""
    choices = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return next((kind for kind in choices if isinstance(kind, type) and issubclass(kind, base)), None)


def fields_below(model: type[_M], base: type[_M], above: Keys = ()) -> Iterator[tuple[Keys, FieldInfo]]:
    """Every key of a model with its field; a subclass of ``base`` before its own keys."""
    for key, field in model.model_fields.items():
        yield (*above, key), field
        if (inner := model_in(field.annotation, base)) is not None:
            yield from fields_below(inner, base, (*above, key))


def settings_of(model: type[Section]) -> Iterator[tuple[Keys, FieldInfo]]:
    """Every key of a section as in the file, sections before their keys."""
    for keys, field in fields_below(model, Section):
        if not (keys == ("name",) and issubclass(model, NamedSection)):
            yield keys, field


def check(
    model: type[_S], values: Mapping[str, Any], tables: Iterable[str] = ()
) -> tuple[_S | None, list[tuple[Keys, Problem]]]:
    """The section, or None and every mistake with its key; ``where`` of the problems is left empty.

    ``tables`` are other names that may appear in the file, for suggestions.
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
                    found.append(((*keys[:-1], *problem.where.split(".")) if problem.where else keys, problem))
            else:
                found.append((keys, _problem(model, keys, error, cause, tables)))
        return None, found


def _problem(model: type[Section], keys: Keys, error: Any, cause: object, tables: Iterable[str]) -> Problem:
    """One error of pydantic as a sentence."""
    around = _inside(model, keys[:-1])
    field = around.model_fields.get(keys[-1]) if around is not None and keys else None
    kind = error["type"]
    hint = None
    if kind == "extra_forbidden" and around is not None:
        if keys[-1] in around.refused:
            return Problem("", *around.refused[keys[-1]])
        known = [".".join(path) for path, _ in settings_of(around)] + ([] if keys[:-1] else [*tables])
        what, hint = f"is not a setting of {around.what}", did_you_mean(keys[-1], known)
    elif kind == "missing":
        what = "is missing"
        hint = f"for example {field.examples[0]}" if field is not None and field.examples else None
    elif kind == "literal_error" and field is not None:
        choices = [str(choice) for choice in get_args(field.annotation)]
        what = f"needs one of {', '.join(choices)}"
        near = did_you_mean(error["input"], choices) if isinstance(error["input"], str) else ""
        hint = near if near.startswith("did you mean") else None
    elif isinstance(cause, ValueError):
        what = str(cause).rstrip(".")
    elif kind in ("string_too_long", "too_long"):
        what = f"needs a text of at most {error['ctx']['max_length']} characters"
    else:
        what = {"model_type": "needs a table of keys", "bool_type": "needs true or false"}.get(kind, error["msg"])
    return Problem("", what, hint)


def _inside(model: type[Section], keys: Keys) -> type[Section] | None:
    """The model of a section within another; None if the keys lead to no section."""
    for key in keys:
        inner = model_in(model.model_fields[key].annotation, Section) if key in model.model_fields else None
        if inner is None:
            return None
        model = inner
    return model


def read_table(model: type[_N], table: NamedTable, problems: list[Problem]) -> _N | None:
    """The section that a table describes; None if it has mistakes, which are added to ``problems``."""
    if "name" in table.values:
        hint = "the name is in the table's header"
        problems.append(Problem(str(table.origin.below("name")), f"is not a setting of {model.what}", hint))
    section, found = check(model, {**table.values, "name": table.name})
    for keys, problem in found:
        where = table.origin if keys == ("name",) else table.origin.below(*keys)
        problems.append(Problem(str(where), problem.what, problem.hint))
    return section


def read_tables(
    tables: Mapping[str, NamedTable], read: Callable[[NamedTable, list[Problem]], _T | None]
) -> dict[str, _T]:
    """The result of ``read`` for each table, by name and in the order of the files.

    Raises:
        InputError: every mistake of every table.
    """
    problems: list[Problem] = []
    found = {name: read(table, problems) for name, table in tables.items()}
    if problems:
        raise InputError(problems)
    return {name: one for name, one in found.items() if one is not None}
