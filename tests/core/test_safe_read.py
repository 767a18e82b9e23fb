"""Files of others: how much of one is read, and JSON in lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.core.safe_read import UnsafeFile, parse_json, parse_json_fast, read_regular, read_tail


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
    "data", [b"NaN", b"\xff", b"[" * 100_000, b"{},{}", b"", b'{"a":[1', b"[1e400,Infinity]", b"\xef\xbb\xbf{} x"]
)
def test_the_fast_reader_refuses_what_the_other_one_refuses(data: bytes) -> None:
    for read in (parse_json, parse_json_fast):
        with pytest.raises(ValueError, match=r"\S"):
            read(data)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(values, st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_both_readers_read_the_same(value: object, encoding: str) -> None:
    data = json.dumps(value, ensure_ascii=False).encode(encoding)
    assert parse_json_fast(data) == parse_json(data) == value
    assert parse_json_fast(b'["\\ud800"]') == ["\ud800"]
