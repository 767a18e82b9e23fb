"""Texts that cannot harm a terminal, and spans of time that claim no more than is known."""

from __future__ import annotations

import codecs
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.core.text import duration, in_ascii, in_its_place, mass, plain, printable


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


@pytest.mark.parametrize(
    ("mass_g", "shown"),
    [
        (0, "0 g"),
        (1e-12, "<0.001 µg"),
        (-1e-12, ">-0.001 µg"),
        (7.25e-07, "0.725 µg"),
        (2.01e-4, "201 µg"),
        (9.996e-4, "1 mg"),
        (15.44, "15.4 g"),
        (-999.7, "-1 kg"),
        (1234, "1.23 kg"),
        (3e10, "30,000 t"),
    ],
)
def test_a_mass_has_the_unit_that_fits(mass_g: float, shown: str) -> None:
    assert mass(mass_g) == shown


def test_where_only_ascii_can_be_written_signs_keep_their_meaning() -> None:
    codecs.register_error("test-fallback", in_its_place)
    text = "≥ 3.487 – unknown, 5 µg CO₂e … 山\udcff"
    assert text.encode("ascii", "test-fallback") == b">= 3.487 - unknown, 5 ug CO2e ... ??"
    assert "≥ é".encode("latin-1", "test-fallback") == b">= \xe9", "what can be written is"
    assert in_ascii("≥ 山") == ">= 山"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "test-fallback")
