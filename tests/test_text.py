"""Texts that cannot harm a terminal, and spans of time that claim no more than is known."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.text import duration, plain, printable


@given(st.text(alphabet=st.characters(), max_size=80), st.integers(1, 60))
def test_no_text_keeps_a_control_character_or_grows(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown) <= max(limit, 1)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")


def test_harmless_texts_stay() -> None:
    assert plain("Größe 試験 [red]") == "Größe 試験 [red]"
    assert plain("a\x1b[31m\nb\u202e") == "a�[31m�b�"
    assert plain("x" * 300) == "x" * 39 + "…"
    assert plain(None) == ""


def test_whole_texts_are_made_harmless_as_well() -> None:
    assert printable("a" * 300 + "\x1b]0;title\a\u2028") == "a" * 300 + "\ufffd]0;title\ufffd\ufffd"
    # Not printable to Python, but harmless: spaces of other scripts.
    assert printable("山田\u3000太郎\u00a0x") == "山田\u3000太郎\u00a0x"


@pytest.mark.parametrize(
    ("span_ns", "shown"),
    [
        (None, "unknown"),
        (12_340_000_000, "12.3 s"),
        (12 * 10**9, "12 s"),
        (-3 * 10**9, "0 s"),
        (61 * 10**9, "00:01:01"),
        (90_061 * 10**9, "1-01:01:01"),
    ],
)
def test_durations(span_ns: int | None, shown: str) -> None:
    assert duration(span_ns) == shown
