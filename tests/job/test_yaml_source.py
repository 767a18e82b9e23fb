"""YAML as text and lines, with limits."""

from __future__ import annotations

import pytest
import yaml

from hpcfrugal.core.errors import InputError
from hpcfrugal.job import yaml_source
from hpcfrugal.job.section import dotted
from hpcfrugal.job.yaml_source import read_yaml


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        read_yaml(text, "job.yaml")
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_scalars_keep_their_text() -> None:
    source = read_yaml(
        "a: 1:30:00\nb: no\nc: 1e3\nd: 1.10\ne: 010\nf: 2026-05-31\ng: 'null'\nh: null\ni: ~\nj:\nk: 0x1F\nl: .inf\n",
        "job.yaml",
    )
    assert source.value == {
        "a": "1:30:00",
        "b": "no",
        "c": "1e3",
        "d": "1.10",
        "e": "010",
        "f": "2026-05-31",
        "g": "null",
        "h": None,
        "i": None,
        "j": None,
        "k": "0x1F",
        "l": ".inf",
    }
    assert source.line_of(("c",)) == 3
    assert source.line_of(("c", "below")) == 3
    assert source.line_of(("unknown",)) is None


def test_lines_of_nested_keys_and_entries() -> None:
    source = read_yaml("a:\n  b:\n    - x\n    - y\n", "job.yaml")
    assert source.lines == {("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1): 4}


def test_a_key_given_twice_is_reported_with_both_lines() -> None:
    source = read_yaml("a: 1\nb: {c: 1, c: 2}\na: 2\n", "job.yaml")
    assert [str(problem) for problem in source.problems] == [
        "job.yaml:2: b.c: duplicate key, first on line 2 (keep one of the two)",
        "job.yaml:3: a: duplicate key, first on line 1 (keep one of the two)",
    ]
    assert source.value["a"] == "1"


def test_aliases_and_merges_are_followed() -> None:
    source = read_yaml("a: &x {p: 1, q: 2}\nb: *x\nc:\n  <<: *x\n  q: 3\n", "job.yaml")
    assert source.value["b"] == {"p": "1", "q": "2"}
    assert source.value["c"] == {"p": "1", "q": "3"}
    assert not source.problems


def test_of_a_list_of_merges_the_first_mapping_counts() -> None:
    text = "a: &a {p: 1, q: 2}\nb: &b\n  q: 3\n  r: 4\nc:\n  s: 5\n  <<: [*a, *b, {r: 6, t: 7}]\n"
    source = read_yaml(text, "job.yaml")
    assert source.value["c"] == {"p": "1", "q": "2", "r": "4", "s": "5", "t": "7"}
    assert [source.line_of(("c", key)) for key in "pqst"] == [1, 1, 6, 7]
    assert not source.problems


def test_an_alias_bomb_is_refused_at_once() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"
    assert "more than 20000 values" in refusal(text)


def test_a_merge_bomb_is_refused_at_once() -> None:
    text = "a0: &a0 {k: [x, x, x, x, x, x, x, x, x]}\n"
    for level in range(1, 12):
        text += f"a{level}: &a{level} {{{', '.join(f'k{i}: *a{level - 1}' for i in range(9))}}}\n"
    assert "more than 20000 values" in refusal(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\nb: 2\n", "job.yaml:2: not YAML"),
        ("a:\n\tb: 1\n", "job.yaml:2: tabs can't indent lines in YAML (use spaces)"),
        ("a:\n  - b\n\tc: d\n", "job.yaml:3: tabs can't indent lines in YAML (use spaces)"),
        (
            "a: b: c\n",
            "job.yaml:1: not YAML: a `key: value` is not allowed here (put text that contains `: `",
        ),
        ("a: 1\n b: 2\n", "job.yaml:2: not YAML: a `key: value` is not allowed here"),
        ("a: @x\n", "'@' can't start a value in YAML (put the text in quotes)"),
        ("a: 1\n---\nb: 2\n", "job.yaml:2: a second document starts here"),
        ("a: !!python/object:os.system x\n", "job.yaml:1: the YAML tag"),
        ("a: !mine x\n", "the YAML tag '!mine' is not supported"),
        ("? [a]\n: 1\n", "a key must be plain text"),
        ("a: &x [*x]\n", "refers to a value that contains it"),
        ("a: *x\n", "job.yaml:1: *x is not defined above"),
        ("a: b\nc: x\x00y\n", r"job.yaml:2: '\x00' is not allowed in YAML (remove the control characters)"),
        ('a: "b\\@"\n', "job.yaml:1: not YAML"),
        ("<<: 3\n", "`<<` needs a mapping, or a list of mappings"),
        ("<<: []\n", "`<<` needs a mapping, or a list of mappings"),
        ("<<: [{a: 1}, 3]\n", "`<<` needs a mapping, or a list of mappings"),
        ("a: " + "[" * 30 + "]" * 30, "more than 20 levels deep"),
        ("a: " + "[" * 50_000, "more than 20 levels deep"),
    ],
)
def test_anything_but_plain_yaml_is_refused_with_its_line(text: str, told: str) -> None:
    assert told in refusal(text)


@pytest.mark.parametrize("text", ["a: [1\nb: 2\n", "a: b: c\n", "a: " + "[" * 50_000])
def test_the_same_is_reported_where_pyyaml_lacks_libyaml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(text)
    monkeypatch.setattr(yaml_source, "_Loader", yaml.SafeLoader)
    assert refusal(text) == told


def test_key_paths_are_written_as_people_do() -> None:
    assert dotted(("resources", "time")) == "resources.time"
    assert dotted(("sbatch", 1)) == "sbatch, entry 2"
    assert dotted(("env", "A B\n")) == r"env.'A B\n'"
