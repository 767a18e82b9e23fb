"""Files of others: how much of one is read, and JSON in lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.core.safe_read import UnsafeFile, parse_json, parse_json_lines, read_regular, read_tail


def test_a_document_has_32_mib_at_most(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.touch()
    os.truncate(path, 33_554_432)
    content, status = read_regular(path)
    assert len(content) == status.st_size == 33_554_432
    os.truncate(path, 33_554_433)
    with pytest.raises(UnsafeFile, match=r"^larger than 33554432 bytes$"):
        read_regular(path)


def test_of_a_log_only_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for content, tail in ((b"", b""), (b"abc", b"abc"), (b"x" * 10_000 + b"end", b"xend")):
        path.write_bytes(content)
        found, status = read_tail(path, 4, os.getuid())
        assert (found, status.st_size) == (tail, len(content))
    (tmp_path / "link").symlink_to(path)
    for name, reason in (("link", "a symbolic link"), ("missing", "cannot be read")):
        with pytest.raises(UnsafeFile, match=reason):
            read_tail(tmp_path / name, 4, os.getuid())


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"a":[1', b"2]}"],
        [b'{},{"a":[1', b"2]}"],
        [b'{"kind":1},{"a":[{"kind":2}', b'{"kind":3}]}'],
        [b'{},0,{"a":[1', b"2]}"],
        [b"{}", b"{},{}"],
        [b"{}", b""],
        [b"NaN", b"{}"],
        [b"\xff", b"{}"],
        [b"[" * 100_000],
    ],
)
def test_a_value_that_is_not_one_line_is_noticed(lines: list[bytes]) -> None:
    assert parse_json_lines(lines) is None


values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))


@given(st.lists(values, min_size=1, max_size=5))
def test_lines_are_read_as_each_alone(items: list[object]) -> None:
    lines = [json.dumps(item).encode() for item in items]
    assert parse_json_lines(lines) == [parse_json(line) for line in lines] == items
