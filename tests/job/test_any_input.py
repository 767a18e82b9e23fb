"""Whatever comes in, what comes out is a job or one InputError."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job import JobSpec, job_from_mapping
from hpcfrugal.job.batch_script import read_directives
from hpcfrugal.job.problems import key_paths
from hpcfrugal.job.yaml_source import read_yaml

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["off", "1h", "2-4", "1:30:00", "4G", "x.sif", "-J", "--wckey=END", "5 %", "1-3%2", 10**400]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=5), st.sampled_from(["image", "signal"])), inner, max_size=3),
    ),
    max_leaves=6,
)
SETTINGS = st.lists(st.tuples(st.sampled_from(sorted(key_paths())), VALUES), max_size=8)


def assembled(settings: list[tuple[tuple[str | int, ...], Any]]) -> dict[str, Any]:
    """Values put at their key paths, a later one over an earlier."""
    job: dict[str, Any] = {}
    for path, value in settings:
        node: Any = job
        for part in path[:-1]:
            if not isinstance(node.get(part), dict):
                node[part] = {}
            node = node[part]
        node[path[-1]] = value
    return job


def assert_job_or_problems(data: dict[str, Any]) -> None:
    """That values are refused with problems, or give a job that JSON keeps."""
    problems: tuple[Problem, ...] = ()
    try:
        job = job_from_mapping(data)
    except InputError as refused:
        problems = refused.problems
    else:
        assert JobSpec(**job.to_json()) == job
        return
    assert problems
    assert len(set(problems)) == len(problems)
    for problem in problems:
        assert problem.where.startswith("job: ")


# What only a program can give: no text of a job file stands for it.
@pytest.mark.parametrize("value", [10**400, -(10**400), timedelta(microseconds=-1), timedelta.max])
def test_a_key_takes_or_refuses_values_beyond_all_texts(value: object) -> None:
    for path in key_paths():
        assert_job_or_problems(assembled([(("command",), "true"), (path, value)]))


@given(SETTINGS)
def test_any_values_give_a_job_that_survives_json_or_clear_problems(
    settings: list[tuple[tuple[str | int, ...], Any]],
) -> None:
    assert_job_or_problems(assembled(settings))


@given(st.text(max_size=60) | st.text(alphabet="a:-[]{}&*<>!|#,'\" \n\t?", max_size=40))
def test_any_text_is_yaml_or_refused(text: str) -> None:
    told = "job.yaml"
    try:
        read_yaml(text, "job.yaml")
    except InputError as refused:
        told = str(refused)
    assert told.startswith("job.yaml")


@given(st.text(alphabet="-JNtp=ab1 '\"\\\\#:\t", max_size=40))
def test_any_directive_is_read_or_reported(text: str) -> None:
    found = read_directives(f"#!/bin/sh\n#SBATCH{text}\n", "a.sh")
    assert found.problems or found.lines == (f"#SBATCH{text}",)
