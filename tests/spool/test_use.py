"""Figures of use in records and headers that somebody else wrote."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from hpcfrugal.spool.use import USE_FIELDS, Use, UseSources, use_of, use_sources


def test_an_old_record_has_none_of_them() -> None:
    bad: Counter[str] = Counter()
    assert use_of({"job_cpu_us": 5, "memory_b": 6}, bad) == Use()
    assert use_of({"job_cpu_us": 5}, bad) is use_of({}, bad)
    assert use_sources({"cpu_time_source": "proc-tree"}, bad) == UseSources({}, {})
    assert not bad


def test_what_a_record_says_is_taken() -> None:
    bad: Counter[str] = Counter()
    said = {name: index for index, name in enumerate(USE_FIELDS)} | {"io_partial": True}
    use = use_of(said, bad)
    assert {name: getattr(use, name) for name in USE_FIELDS} == said
    assert not bad


@pytest.mark.parametrize("value", [-1, 2**63, "5", 1.5, True, [1], {}])
def test_a_bad_count_costs_itself_alone(value: Any) -> None:
    bad: Counter[str] = Counter()
    use = use_of({"io_read_b": value, "io_write_b": 7}, bad)
    assert (use.io_read_b, use.io_write_b) == (None, 7)
    assert [key for key in bad if key.startswith("record field io_read_b: not an integer")]
    assert sum(bad.values()) == 1


def test_a_mark_that_is_no_truth_value() -> None:
    bad: Counter[str] = Counter()
    assert use_of({"io_partial": 1}, bad).io_partial is None
    assert bad == {"record field io_partial: not true or false": 1}


@pytest.mark.parametrize(
    ("usage", "problems"),
    [
        ([], ["header field usage: not an object"]),
        ({"sources": 5, "reasons": None}, ["header field sources: not an object"]),
        ({"sources": {"io": None, "memory": 7, "gpu_busy": "nvml"}, "reasons": {"io": "a'; rm -rf ~ #\ud800"}}, []),
    ],
)
def test_sources_of_any_form(usage: Any, problems: list[str]) -> None:
    bad: Counter[str] = Counter()
    found = use_sources({"usage": usage}, bad)
    assert sorted(bad) == problems
    assert set(found.sources.values()) <= {"nvml"}
    assert set(found.reasons.values()) <= {"a'; rm -rf ~ #?"}
