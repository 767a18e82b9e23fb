"""Our JSON against the standard library's reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.sidecar.jsonline import dumps

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_reads_back_the_same(value: object) -> None:
    text = dumps(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert "\n" not in text


def test_broken_bytes_of_the_environment_become_a_replacement() -> None:
    assert json.loads(dumps(b"n\xff1".decode("utf-8", "surrogateescape"))) == "n\ufffd1"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_invalid_numbers_are_null(value: float) -> None:
    assert dumps(value) == "null"


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="bytes"):
        dumps([b"x"])
