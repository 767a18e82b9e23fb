"""The faster ``dataclass`` makes records like those of ``dataclasses``."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import field, fields, replace
from typing import Any

import pytest

from hpcfrugal.core.quick import dataclass


def _made(decorate: Callable[..., Any]) -> list[Any]:
    """The same classes by one of the two decorators."""

    @decorate(frozen=True, slots=True)
    class Point:
        """Two required fields and some with defaults."""

        x: int
        y: float
        tags: dict[str, str] = field(default_factory=dict, compare=False)
        size: float = field(init=False, repr=False, default=0.0)
        note: str = field(default="n", kw_only=True)

        def __post_init__(self) -> None:
            object.__setattr__(self, "size", self.x + self.y)

    @decorate(frozen=True, slots=True)
    class Named(Point):
        """Fields beside those of its base, and its own text."""

        name: str = "p"

        def __repr__(self) -> str:
            return f"<{self.name}>"

    @decorate(frozen=True, slots=True)
    class Empty:
        """No fields."""

    @decorate(frozen=True, slots=True, order=True)
    class Rank:
        """Ordered."""

        rank: int

    @decorate(slots=True, repr=False)
    class Changing:
        """Not frozen, with a secret."""

        secret: str

    return [Point, Named, Empty, Rank, Changing]


THEIRS, OURS = _made(dataclasses.dataclass), _made(dataclass)


def test_records_equal_those_of_dataclasses() -> None:
    for point, named, empty, rank, changing in (THEIRS, OURS):
        first = point(1, y=2.5, note="a")
        assert (first.x, first.y, first.tags, first.size, first.note) == (1, 2.5, {}, 3.5, "a")
        assert first == point(1, 2.5, {"of no": "importance"}, note="a") != point(1, 2.5)
        assert first != named(1, 2.5, note="a")
        assert hash(first) == hash(point(1, 2.5, note="a"))
        assert repr(first) == "_made.<locals>.Point(x=1, y=2.5, tags={}, note='a')"
        assert replace(first, x=3).size == 5.5
        assert repr(named(1, 2.0, name="q")) == "<q>"
        assert (named(1, 2.0, {}, "q").name, named(1, 2.0).size) == ("q", 3.0)
        assert empty() == empty()
        assert len({empty(), empty()}) == 1
        assert sorted([rank(2), rank(1)]) == [rank(1), rank(2)]
        assert changing("a") == changing("a")
        assert "secret" not in repr(changing("a"))
        with pytest.raises(TypeError, match="unhashable"):
            hash(changing("a"))
        with pytest.raises(TypeError, match=r"Point.__init__\(\) missing 1 required positional argument: 'y'"):
            point(1)
        assert [one.name for one in fields(point)] == ["x", "y", "tags", "size", "note"]
    for theirs, ours in zip(THEIRS, OURS, strict=True):
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


@dataclass(frozen=True, slots=True)
class _Pickled:
    """At the top of a module, as pickle wants it."""

    values: tuple[int, ...]


def test_a_record_is_pickled_before_another_is_made() -> None:
    assert pickle.loads(pickle.dumps(_Pickled((1, 2)))) == _Pickled((1, 2))
