"""Lines of keys in TOML files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcfrugal.core.errors import Problem
from hpcfrugal.settings.toml_file import TomlFile

TEXT = """\
# [carbon]
spool = "/a"

carbon.zone = "FR"
[sidecar]
python = [
  "a",
  "b",   # [queues.no]
]
note = \'\'\'
pue = 1
\'\'\'
[ nodes . "n[1-4]" ]  # nodes
idle_power_w = { cpu = 1, dram = 2 }
  [queues.green]
capacity."08:00" = 1
"max_delay" = "1h"
[[forecasts]]
x = 1
[[forecasts]]
x = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> TomlFile:
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    found = TomlFile.read(path, [])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("spool", 2),
        ("carbon", 4),
        ("carbon.zone", 4),
        ("sidecar", 5),
        ("sidecar.python", 6),
        ("sidecar.note", 10),
        ("nodes", 13),
        ("nodes.n[1-4]", 13),
        ("nodes.n[1-4].idle_power_w.dram", 14),
        ("queues.green.capacity", 16),
        ("queues.green.capacity.08:00", 16),
        ("queues.green.max_delay", 17),
        ("forecasts", 18),
        ("forecasts.x", 19),
    ],
)
def test_a_key_has_the_line_where_it_begins(file: TomlFile, keys: str, line: int) -> None:
    assert file.line_of(keys.split(".")) == line


def test_a_key_that_is_missing_has_the_line_of_its_table(file: TomlFile) -> None:
    assert file.line_of(("queues", "green", "step")) == 15
    assert file.line_of(("backend",)) is None


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_end_as_in_toml(tmp_path: Path, newline: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(newline.join(["# a\u2028b\x85c", 'a = "\u2028"', "b = 2", ""]).encode())
    found = TomlFile.read(path, [])
    assert found is not None
    assert (found.line_of(["a"]), found.line_of(["b"])) == (2, 3)


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\n\nb = \n", 3), ("a = 1\n[x\n", 2), ("a = 1\nb = [\n\n", 2), ("[", 1)]
)
def test_a_file_that_is_not_toml_is_named_with_the_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    problems: list[Problem] = []
    assert TomlFile.read(path, problems) is None
    assert [problem.where for problem in problems] == [f"{path}:{line}"]
    assert problems[0].what.startswith("is not valid TOML: ")


@pytest.mark.parametrize(
    ("text", "what"),
    [("a = " + "9" * 5000, "has a number with too many digits"), ("a = " + "[" * 3000, "is nested too deeply")],
)
def test_a_file_beyond_the_limits_of_python_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    problems: list[Problem] = []
    assert TomlFile.read(path, problems) is None
    assert problems == [Problem(str(path), what)]


def test_a_key_of_thousands_of_levels_has_the_line_of_those_around_it(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("x = 1\n" + ".".join("a" * 3000) + " = 1\n")
    found = TomlFile.read(path, [])
    assert found is not None
    assert found.line_of(["a"] * 3000) == 2


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("a = 1\nb = 2\n", encoding="utf-8-sig")
    found = TomlFile.read(path, [])
    assert found is not None
    assert (found.values, found.line_of(["b"])) == ({"a": 1, "b": 2}, 2)
