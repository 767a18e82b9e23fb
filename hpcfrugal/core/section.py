"""Mappings that people write, such as a section of the job file or a table of the settings: a class for each.

Each key is declared with the type of its values, which reads them::

    class Mail(Section):
        user: str | None = optional(TextLine, "Address.", "me@example.org")

A section is built from plain values: every key is read, unknown keys are refused, and a section never changes once it
is built. All mistakes are found at once. This is done here, and not by pydantic or msgspec, since pydantic and making
its models was half of the time of `submit`, and msgspec reports the first mistake alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, dataclass_transform, overload

from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.core.quick import dataclass

_T = TypeVar("_T")
_D = TypeVar("_D")

KeyPath = tuple[str | int, ...]
"""The keys that lead to a value, outermost first; of an entry of a list, its index."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a value: its key relative to the value, what is wrong, what would be right, and the keys that were
    compared. ``unknown_to``: the section that has no such key.
    """

    path: KeyPath
    what: str
    hint: str | None = None
    involves: tuple[KeyPath, ...] = ()
    unknown_to: type[Section] | None = None

    def below(self, *above: str | int) -> Fault:
        """The same fault, relative to a value around."""
        involved = tuple((*above, *path) for path in self.involves)
        return replace(self, path=(*above, *self.path), involves=involved)


class Faults(ValueError):
    """Several mistakes in one value, or one that has a hint or belongs to a key below."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.what for fault in faults))


@dataclass(frozen=True)
class ValueType(Generic[_T]):
    """A type of values of keys.

    Attributes:
        read: takes what was written, or the value that it gave before; raises ``ValueError`` with one sentence, or
            ``Faults``.
        schema: the JSON Schema of what may be written.
        to_json: what ``read`` takes from JSON; None where the value itself is that.
    """

    read: Callable[[Any], _T]
    schema: Mapping[str, Any] | None = None
    to_json: Callable[[Any], Any] | None = None


_REQUIRED: Final = object()


@dataclass(frozen=True)
class SectionKey:
    """One key of a section; ``marks`` are what else a package has noted of it."""

    of: ValueType[Any] | type[Section]
    description: str
    examples: Sequence[Any]
    marks: Sequence[object]
    default: Any = _REQUIRED

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is _REQUIRED

    @property
    def section(self) -> type[Section] | None:
        """The section that it holds; None for any other key."""
        return None if isinstance(self.of, ValueType) else self.of

    def to_json(self, value: Any) -> Any:
        """A value of it in JSON; not for None."""
        if isinstance(self.of, ValueType):
            return self.of.to_json(value) if self.of.to_json is not None else value
        return value.to_json()


def required(of: ValueType[_T] | type[_T], description: str = "", *examples: Any, marks: Sequence[object] = ()) -> _T:
    """A key that may not be left out."""
    of_key: Any = of
    key: Any = SectionKey(of_key, description, examples, marks)
    return key  # type: ignore[no-any-return]


@overload
def optional(
    of: ValueType[_T] | type[_T], description: str = "", *examples: Any, marks: Sequence[object] = ()
) -> _T | None: ...
@overload
def optional(
    of: ValueType[_T] | type[_T], description: str = "", *examples: Any, default: _D, marks: Sequence[object] = ()
) -> _T | _D: ...
def optional(of: Any, description: str = "", *examples: Any, default: Any = None, marks: Sequence[object] = ()) -> Any:
    """A key that may be left out, and its value then."""
    return SectionKey(of, description, examples, marks, default)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(required,))
class Section:
    """Base of all sections. ``Mail(user="me")`` raises ``InputError`` with every mistake."""

    known_keys: ClassVar[Mapping[str, SectionKey]] = {}
    """Its keys by name, those of its base classes first."""
    not_a_mapping: ClassVar[tuple[str, str | None]] = ("must be a mapping of keys", None)
    """What is wrong with any other value in its place, and what would be right."""

    _own_keys: ClassVar[Mapping[str, SectionKey]] = {}
    _defaults: ClassVar[Mapping[str, Any]] = {}
    _dicts: ClassVar[Sequence[str]] = ()
    """Keys whose default is a dict, of which each section has one of its own."""

    def __init_subclass__(cls) -> None:
        cls._own_keys = {name: value for name, value in vars(cls).items() if isinstance(value, SectionKey)}
        for name in cls._own_keys:
            delattr(cls, name)
        every = (vars(base).get("_own_keys", {}) for base in reversed(cls.__mro__))
        cls.known_keys = {name: key for own in every for name, key in own.items()}
        cls._defaults = {name: key.default for name, key in cls.known_keys.items() if not key.required}
        cls._dicts = [name for name, default in cls._defaults.items() if isinstance(default, dict)]

    def __init__(self, **values: Any) -> None:
        found, faults = type(self).checked(values)
        if found is None or faults:
            raise InputError(_problem(type(self).__name__, fault) for fault in faults)
        vars(self).update(vars(found))

    @classmethod
    def unchecked(cls, **values: Any) -> Self:
        """A section with these values as they stand, and the defaults of the other keys; a required one is not set."""
        made = cls.__new__(cls)
        vars(made).update(cls._defaults)
        for name in cls._dicts:
            vars(made)[name] = dict(cls._defaults[name])
        vars(made).update(values)
        return made

    def changed(self, **values: Any) -> Self:
        """A copy with other values, which are not checked."""
        return type(self).unchecked(**vars(self) | values)

    @classmethod
    def checked(cls, values: object) -> tuple[Self | None, list[Fault]]:
        """The section that plain values describe, and every mistake in them.

        With mistakes it has the defaults in place of wrong values, and None for those of required keys; it is None if
        the values are no mapping, or where they stand for no section. An empty key counts as left out, so that a
        section may be commented out.
        """
        if isinstance(values, cls):
            return values, []
        try:
            values = cls.written_out(values)
        except ValueError as error:
            return None, faults_of(error)
        if values is None:
            return None, []
        if not isinstance(values, Mapping):
            return None, [Fault((), *cls.not_a_mapping)]
        found: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, key in cls.known_keys.items():
            if (value := values.get(name)) is None:
                if key.required:
                    found[name] = None
                    hint = f"for example {key.examples[0]}" if key.examples else None
                    faults.append(Fault((name,), "is missing", hint))
                continue
            read, wrong = _read(key, value)
            if read is not None:
                found[name] = read
            elif key.required:
                found[name] = None
            faults += (fault.below(name) for fault in wrong)
        faults += (Fault((str(name),), "is not a key", None, (), cls) for name in values if name not in cls.known_keys)
        section = cls.unchecked(**found)
        vars(section).update(section.derived())
        wrong_keys = [path for fault in faults for path in (fault.path, *fault.involves)]
        for fault in section.contradictions():
            if not any(_overlap(path, wrong) for path in (fault.path, *fault.involves) for wrong in wrong_keys):
                faults.append(fault)
        return section, faults

    @classmethod
    def written_out(cls, values: Any) -> Any:
        """The mapping that a short form stands for, None where that stands for no section; other values as they are.

        Raises ``ValueError``, or ``Faults``.
        """
        return values

    def derived(self) -> Mapping[str, Any]:
        """Values that follow from those of other keys."""
        return {}

    def contradictions(self) -> list[Fault]:
        """Mistakes in how the values fit together; a wrong or missing value of a required key is None here.

        Those that involve a key with another mistake are left out.
        """
        return []

    def to_json(self) -> dict[str, Any]:
        """All values in JSON, from which the same section can be built."""
        own = vars(self)
        return {name: None if own[name] is None else key.to_json(own[name]) for name, key in self.known_keys.items()}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; {type(self).__name__}.changed makes a copy")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def _values(self) -> tuple[Any, ...]:
        return tuple(vars(self).get(name) for name in self.known_keys)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        values = (f"{name}={vars(self).get(name)!r}" for name in self.known_keys)
        return f"{type(self).__name__}({', '.join(values)})"


def keys_below(section: type[Section], above: KeyPath = ()) -> Iterator[tuple[KeyPath, SectionKey]]:
    """Every key of a section with its path, a key that holds a section before the keys of that."""
    for name, key in section.known_keys.items():
        yield (*above, name), key
        if (inner := key.section) is not None:
            yield from keys_below(inner, (*above, name))


def faults_of(error: ValueError) -> list[Fault]:
    """The mistakes that a reader has raised."""
    return list(error.faults) if isinstance(error, Faults) else [Fault((), str(error).rstrip("."))]


def _read(key: SectionKey, value: Any) -> tuple[Any, list[Fault]]:
    if isinstance(key.of, ValueType):
        try:
            return key.of.read(value), []
        except ValueError as error:
            return None, faults_of(error)
    section: type[Section] = key.of
    return section.checked(value)


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _problem(name: str, fault: Fault) -> Problem:
    where = ".".join(map(str, fault.path))
    hint = fault.hint
    if fault.unknown_to is not None:
        hint = did_you_mean(str(fault.path[-1]), fault.unknown_to.known_keys)
    return Problem(f"{name}: {where}" if where else name, fault.what, hint)
