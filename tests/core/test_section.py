"""Sections: what is read, what is refused, and that every mistake is found at once."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from hpcfrugal.core.errors import InputError
from hpcfrugal.core.section import Fault, Faults, Section, ValueType, keys_below, optional, required


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("is not a whole number.")
    return value


def _list_of_whole(value: Any) -> tuple[int, ...]:
    faults = [Fault((at,), "is not a whole number") for at, one in enumerate(value) if type(one) is not int]
    if faults:
        raise Faults(*faults)
    return tuple(value)


Whole = ValueType(_whole, to_json=str)


class Inner(Section):
    low: int = required(Whole, "The lower one.", 3)
    high: int = optional(Whole, default=10)

    @classmethod
    def written_out(cls, values: Any) -> Any:
        if values == "no":
            return None
        return {"low": values} if isinstance(values, int) else values

    def contradictions(self) -> list[Fault]:
        if self.low is not None and self.low > self.high:
            return [Fault(("low",), "is above `high`", "swap them", (("low",), ("high",)))]
        return []


class Outer(Section):
    inner: Inner | None = optional(Inner)
    sizes: tuple[int, ...] = optional(ValueType(_list_of_whole), default=())
    count: int | None = optional(Whole, marks=["a mark"])

    def derived(self) -> Mapping[str, Any]:
        return {"count": len(self.sizes)} if self.count is None else {}

    def contradictions(self) -> list[Fault]:
        involved = (("count",), ("inner", "low"))
        too_many = self.inner is not None and self.inner.low is not None and (self.count or 0) > self.inner.low
        return [Fault(("count",), "is above `inner.low`", None, involved)] if too_many else []


class Later(Outer):
    last: int = required(Whole)
    count: int | None = optional(Whole, default=4)


def found(values: object) -> list[tuple[str, str]]:
    return [(".".join(map(str, fault.path)), fault.what) for fault in Outer.checked(values)[1]]


def test_values_are_read_and_others_have_their_defaults() -> None:
    made = Outer(inner={"low": 3}, sizes=[1, 2])
    assert made.inner == Inner(low=3, high=10)
    assert (made.sizes, made.count) == ((1, 2), 2)
    assert Outer(inner=None, sizes=None) == Outer()
    assert Outer(inner=made.inner).inner is made.inner


def test_short_forms_are_written_out() -> None:
    assert Outer(inner=7).inner == Inner(low=7)
    assert Outer(inner="no").inner is None


def test_every_mistake_is_found_at_once() -> None:
    assert found({"inner": {"high": "x", "lo": 1}, "sizes": [1, "a", "b"], "cuont": 1}) == [
        ("inner.low", "is missing"),
        ("inner.high", "is not a whole number"),
        ("inner.lo", "is not a key"),
        ("sizes.1", "is not a whole number"),
        ("sizes.2", "is not a whole number"),
        ("cuont", "is not a key"),
    ]
    assert found([1]) == [("", "must be a mapping of keys")]
    assert found({"inner": [1]}) == [("inner", "must be a mapping of keys")]


def test_what_does_not_fit_together_is_found_beside_other_mistakes_unless_it_involves_them() -> None:
    assert found({"inner": {"low": 1}, "count": 2, "sizes": ["a"]}) == [
        ("sizes.0", "is not a whole number"),
        ("count", "is above `inner.low`"),
    ]
    assert found({"inner": {"low": 20}, "count": 30}) == [("inner.low", "is above `high`")]
    assert found({"inner": {"low": "x"}, "count": 2}) == [("inner.low", "is not a whole number")]


def test_a_wrong_call_names_all_that_is_wrong() -> None:
    with pytest.raises(InputError) as refused:
        Outer(inner={"low": "x"}, cuont=1)
    assert [str(problem) for problem in refused.value.problems] == [
        "Outer: inner.low: is not a whole number",
        "Outer: cuont: is not a key (did you mean count?)",
    ]
    with pytest.raises(InputError, match=r"^Inner: low: is missing \(for example 3\)$"):
        Inner()


def test_a_section_cannot_be_changed_but_copied_with_other_values() -> None:
    made = Outer(count=1)
    with pytest.raises(AttributeError, match="Outer cannot be changed"):
        made.count = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="Outer cannot be changed"):
        del made.count
    assert made.changed(count=2) == Outer(count=2) != made
    assert made.count == 1
    assert hash(made) == hash(Outer(count=1))
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    assert repr(made) == "Outer(inner=None, sizes=(), count=1)"


def test_a_default_belongs_to_one_section_alone() -> None:
    class Labelled(Section):
        labels: dict[str, str] = optional(ValueType(dict), default={"kind": "x"})

    Labelled().labels["kind"] = "y"
    assert Labelled().labels == {"kind": "x"}


def test_a_required_key_that_is_left_out_unchecked_is_not_there() -> None:
    assert not hasattr(Inner.unchecked(high=1), "low")


def test_keys_of_a_subclass_replace_those_of_its_base_in_their_place() -> None:
    assert list(Later.known_keys) == ["inner", "sizes", "count", "last"]
    assert Later(last=1).count == 4
    assert Outer.known_keys["count"].marks == ["a mark"]
    assert [path for path, _ in keys_below(Outer)] == [
        ("inner",), ("inner", "low"), ("inner", "high"), ("sizes",), ("count",),
    ]  # fmt: skip


def test_json_has_every_value() -> None:
    assert Outer(inner=3, sizes=[1]).to_json() == {"inner": {"low": "3", "high": "10"}, "sizes": (1,), "count": "1"}
