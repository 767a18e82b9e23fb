"""Texts that cannot harm a terminal."""

from __future__ import annotations

import codecs
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.core.text import in_ascii, plain, printable, replace_unencodable


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


def test_where_only_ascii_can_be_written_signs_keep_their_meaning() -> None:
    codecs.register_error("test-fallback", replace_unencodable)
    text = "≥ 3.487 – unknown, 5 µg CO₂e … 山\udcff"
    assert text.encode("ascii", "test-fallback") == b">= 3.487 - unknown, 5 ug CO2e ... ??"
    assert "≥ é".encode("latin-1", "test-fallback") == b">= \xe9", "what can be written is"
    assert in_ascii("≥ 山") == ">= 山"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "test-fallback")
