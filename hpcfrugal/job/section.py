"""The base of every mapping in a job file, and the mistakes that its checks find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.text import quoted_value
from hpcfrugal.settings.section import fields_below

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a section: its key, relative to the section, what is wrong, and the keys that were compared."""

    path: KeyPath
    what: str
    hint: str | None = None
    involves: tuple[KeyPath, ...] = ()


class Faults(ValueError):
    """Several mistakes found by one validator."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault.what for fault in self.faults))


class Excludes:
    """Marks a field that can't be given along with others of its section; each with a hint on which one to keep.

    It stands among the field's annotations: ``Annotated[Memory | None, Excludes(mem="keep one of the two")]``.
    """

    def __init__(self, **hints: str) -> None:
        self.hints = hints


class JobSection(BaseModel):
    """Base of every mapping in a job file: unknown keys are refused, and a section never changes once built."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, data: Any) -> Any:
        """A known key without a value counts as absent, so that a section may be commented out."""
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}

    @model_validator(mode="after")
    def _compare_keys(self) -> Self:
        faults = [
            Fault((key,), f"can't be given along with `{other}`", hint, ((other,), (key,)))
            for key, other, hint in exclusions(type(self))
            if getattr(self, key) is not None and getattr(self, other) is not None
        ]
        faults += self.contradictions()
        if faults:
            raise Faults(faults)
        return self

    def contradictions(self) -> list[Fault]:
        """Mistakes in how the keys fit together, beyond those that exclude each other."""
        return []


def exclusions(section: type[JobSection]) -> Iterator[tuple[str, str, str]]:
    """Pairs of keys that exclude each other, each with the hint on which one to keep."""
    for key, info in section.model_fields.items():
        for mark in info.metadata:
            if isinstance(mark, Excludes):
                yield from ((key, other, hint) for other, hint in mark.hints.items())


def optional(description: str, *examples: Any, default: Any = None) -> Any:
    """A field that may be left out."""
    return Field(default=default, description=description, examples=list(examples))


def keys_below(section: type[JobSection]) -> Iterator[tuple[KeyPath, FieldInfo]]:
    """Every key path below a section with its field, a section before the keys that it holds."""
    return fields_below(section, JobSection)


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``resources.time``, ``sbatch, entry 2``; odd keys in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f", entry {part + 1}"
        else:
            word = part if part and part.replace("-", "_").isidentifier() else quoted_value(part)
            text += f".{word}" if text else word
    return text
