"""`matrix:` of a job file: the combinations, what is wrong with one, and what its tasks run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sandbox import Sandbox

from hpcfrugal.core.errors import InputError
from hpcfrugal.job import job_from_mapping, load_job
from hpcfrugal.job.matrix import tasks_in_words
from hpcfrugal.job.model import JobSpec
from hpcfrugal.job.schema import job_schema


def job(**matrix: Any) -> JobSpec:
    return job_from_mapping({"command": "true", "matrix": matrix})


def problems(text: str, folder: Path) -> list[str]:
    path = folder / "job.yaml"
    path.write_text(f"command: 'true'\nmatrix:\n{text}")
    with pytest.raises(InputError) as caught:
        load_job(path)
    return [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]


def test_a_task_for_each_combination_the_last_parameter_changes_first() -> None:
    spec = job(lr=[0.1, "1e-2"], seed=[1, 2, 3])
    assert spec.matrix is not None
    assert [f"{task['lr']} {task['seed']}" for task in spec.matrix.tasks] == [
        "0.1 1", "0.1 2", "0.1 3", "1e-2 1", "1e-2 2", "1e-2 3",
    ]  # fmt: skip
    assert spec.resources.array == "0-5"
    assert job(x=[1], max_running=2).resources.array == "0-0%2"


def test_values_are_texts_as_in_env() -> None:
    spec = job(value=[True, 2, 0.5, None, "two words"])
    assert spec.matrix is not None
    assert [task["value"] for task in spec.matrix.tasks] == ["true", "2", "0.5", "", "two words"]
    assert tasks_in_words(spec.matrix, 3) == [
        "task 0: value=true",
        "task 1: value=2",
        "task 2: value=0.5",
        "and 2 more",
    ]
    assert tasks_in_words(spec.matrix)[3:] == ["task 3: value=''", "task 4: value='two words'"]


def test_combinations_are_left_out_and_added() -> None:
    spec = job(a=[1, 2], b=["x", "y"], exclude=[{"a": 1}, {"a": 2, "b": "y"}], include=[{"b": "z", "a": 3}])
    assert spec.matrix is not None
    assert spec.matrix.tasks == ({"a": "2", "b": "x"}, {"a": "3", "b": "z"})
    assert spec.matrix.parameters == ("a", "b")
    assert spec.resources.array == "0-1"


def test_what_is_stored_has_the_parameters_by_index() -> None:
    stored = job(a=[1, 2]).to_json()
    assert stored["matrix"] == {"tasks": [{"a": "1"}, {"a": "2"}], "max_running": None}
    assert stored["resources"]["array"] == "0-1"
    assert job_schema()["properties"]["matrix"]["anyOf"][0]["additionalProperties"]["type"] == "array"


@pytest.mark.parametrize(
    "matrix",
    [
        {"a": [1, 2]},
        {"a": [1]},
        {"tasks": [1, None, "x y"], "b": [True]},
        {"a": [1, 2], "b": ["x", "y"], "exclude": [{"a": 1}], "include": [{"b": "z", "a": 3}], "max_running": 2},
    ],
)
def test_what_is_stored_is_read_back(matrix: dict[str, Any]) -> None:
    spec = job(**matrix)
    assert JobSpec(**json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  lr: 5\n", ["3: matrix.lr: needs a list of values, such as [5]"]),
        ("  lr: []\n", ["3: matrix.lr: needs a list of values, such as [1, 2]"]),
        (
            "  SLURM_X: [1]\n  phase: [a]\n  a-b: [1]\n",
            [
                "3: matrix.SLURM_X: is a name of the batch script's own variables; use another one",
                "4: matrix.phase: is a tag of the whole job; use another name",
                "5: matrix.a-b: 'a-b' is not a valid name of an environment variable; use letters, digits and `_`",
            ],
        ),
        (
            "  s: [1]\n  tasks: [{s: 2}]\n",
            ["4: matrix.tasks, entry 1: must be text, not a mapping; put it in quotes if it is meant as text"],
        ),
        ("  s: [1, 2, 1]\n", ["3: matrix.s, entry 3: '1' is there twice"]),
        ("  s: [1]\n  max_running: 0\n", ["4: matrix.max_running: '0' is not a number of tasks from 1"]),
        (
            "  s: [1]\n  max_running: 12345678901\n",
            ["4: matrix.max_running: '12345678901' is not a number of tasks from 1"],
        ),
        ("  s: [1]\n  exclude: [{t: 1}]\n", ["4: matrix.exclude, entry 1.t: is not a parameter; there is s"]),
        ("  s: [1]\n  exclude: [{s: 1}]\n", ["4: matrix.exclude: leaves no combination"]),
        ("  s: [1]\n  exclude:\n  - s: 2\n", ["5: matrix.exclude, entry 1: fits no combination"]),
        ("  s: [1]\n  include:\n  - s: 1\n", ["5: matrix.include, entry 1: is among the combinations already"]),
        (
            "  s: [1]\n  t: [1]\n  include: [{s: 2}]\n",
            ["5: matrix.include, entry 1: has no value of t (give one of each parameter)"],
        ),
        ("  max_running: 2\n", ["2: matrix: has no parameter (write for example {lr: [0.1, 0.01], seed: [1, 2]})"]),
        (
            "  s: [1]\nresources: {array: 1-4}\nenv: {s: 1}\n",
            [
                "2: matrix: can't be given along with `resources.array` "
                "(keep one: a matrix is an array with a task for each combination)",
                "2: matrix: s can't be in `env` as well (use another name)",
            ],
        ),
    ],
)
def test_mistakes(text: str, expected: list[str], tmp_path: Path) -> None:
    assert problems(text, tmp_path) == expected


def test_a_matrix_has_at_most_10000_combinations() -> None:
    with pytest.raises(InputError, match=r"matrix: has 10100 combinations; the limit is 10000$"):
        job(a=list(range(101)), b=list(range(100)))
    assert job(a=list(range(100)), b=list(range(100))).resources.array == "0-9999"
    with pytest.raises(InputError, match="has 100000 combinations"):  # at once, as are those that are left out
        job(a=list(range(100_000)))
    left_out = [{"a": a, "b": b} for a in range(99) for b in range(100)]
    assert job(a=list(range(100)), b=list(range(100)), exclude=left_out).resources.array == "0-99"
    with pytest.raises(InputError, match=r"matrix\.include: makes 10001 combinations; the limit is 10000$"):
        job(a=list(range(100)), b=list(range(100)), include=[{"a": 100, "b": 0}])


def test_each_task_gets_its_values_and_reports_have_them_as_tags(box: Sandbox) -> None:
    evil = "a'; echo broken; $(echo broken) \"`echo broken`\n"
    matrix = {"value": [evil, "plain"], "seed": [1, 2], "exclude": [{"value": "plain", "seed": 1}]}
    path = box.job('printf "%s|%s" "$value" "$seed" > out.$SLURM_ARRAY_TASK_ID', matrix=matrix, tags={"project": "p"})
    shown = box.run("submit", "--dry-run", path)
    assert shown.err.splitlines()[1:] == [f"task 1: value={evil!r}, seed=2", "task 2: value=plain, seed=2"]
    box.ok("submit", "--wait", path)
    outputs = [(box.work / f"out.{task}").read_text() for task in range(3)]
    assert outputs == [f"{evil}|1", f"{evil}|2", "plain|2"]
    box.ok("ledger", "sync")
    jobs = json.loads(box.ok("report", "--json", "--tag", "value=plain"))["jobs"]
    assert [(one["array_task_id"], one["tags"]) for one in jobs] == [
        ("2", {"project": "p", "seed": "2", "value": "plain"})
    ]
    groups = json.loads(box.ok("report", "--json", "--by", "tag:seed"))["groups"]
    assert [(one["key"], one["jobs"]) for one in groups] == [({"tag:seed": "1"}, 1), ({"tag:seed": "2"}, 2)]


def test_an_array_that_the_cluster_does_not_take(box: Sandbox, tmp_path: Path) -> None:
    from fake_slurm import FakeSlurm

    slurm = FakeSlurm(tmp_path / "slurm")
    slurm.answer("scontrol", "ClusterName = c1\nMaxArraySize            = 4\n")
    slurm.answer("sbatch", "17\n")
    env = {"PATH": f"{slurm.bin}:{box.env['PATH']}", "HPCFRUGAL_BACKEND": "slurm_cli"}
    path = box.job("true", matrix={"a": [1, 2, 3, 4, 5]})
    refused = box.run("submit", path, env=env)
    assert (refused.code, refused.err) == (
        2,
        f"error: {path}:1: matrix: has 5 combinations, and an array of this cluster has 4 tasks at most "
        "(divide it into several jobs, or take fewer values)\n",
    )
    refused = box.run("submit", box.job("true", resources={"array": "1-4"}), env=env)
    assert "resources.array: has the index 4, and the highest of this cluster is 3" in refused.err
    assert slurm.calls("sbatch") == []
    assert box.run("submit", box.job("true", matrix={"a": [1, 2, 3, 4]}), env=env).code == 0
    assert "#SBATCH --array=0-3\n" in next(box.spool.glob("2*/*/script.sbatch")).read_text()
