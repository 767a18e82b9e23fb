"""Other people's words, spans of time and masses as a person reads them, wherever they are printed.

Ground of the package: nothing but the standard library, and no other module of hpcfrugal.
"""

from __future__ import annotations

UNKNOWN = "unknown"

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories (Unicode Standard, table 4-4) of what steers a terminal, breaks a line or has no form."""


_IN_ASCII = str.maketrans(
    {
        "≥": ">=", "–": "-", "—": "-", "…": "...", "─": "-", "━": "=", "│": "|", "└": "`", "├": "|", "→": "->",
        "✓": "+", "✗": "x", "·": ".", "µ": "u", "₂": "2", "é": "e", "É": "E",
    }
)  # fmt: skip


def in_ascii(text: str) -> str:
    """``text`` with ASCII in place of the signs that this program itself writes; other characters stay."""
    return text.translate(_IN_ASCII)


def in_its_place(error: UnicodeError) -> tuple[str, int]:
    """What is written where an encoding lacks a character: ASCII that says the same, else a question mark.

    A handler for ``codecs.register_error``.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    # One without a place in the table, and a lone surrogate, stays what it is and becomes a question mark.
    told = (in_ascii(character) for character in lacking)
    return "".join(text if text.isascii() else "?" for text in told), error.end


def printable(text: str) -> str:
    """Text of other people's (names, paths, messages) without control, format or line separating characters.

    An escape sequence in the name of a job must not reach a terminal.
    """
    if text.isprintable():
        return text
    import unicodedata

    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _HARMFUL else c for c in text)


def clean_text(text: str) -> str:
    """``text`` with lone surrogates, which no database and no terminal takes, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def plain(text: str | None, limit: int = 40) -> str:
    """What ``printable`` leaves of ``text``, cut to ``limit`` characters with an ellipsis; nothing for None."""
    if text is None:
        return ""
    safe = printable(text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def duration(span_ns: int | None) -> str:
    """``1-02:03:04``, ``02:03:04``; below a minute ``12.3 s``, or ``12 s`` where it is known to the second.

    Two clocks can make a span negative; it is shown as 0.
    """
    if span_ns is None:
        return UNKNOWN
    span_ns = max(0, span_ns)
    if span_ns < 60 * 10**9:
        return f"{span_ns / 1e9:.1f} s" if span_ns % 10**9 else f"{span_ns // 10**9} s"
    hours, rest = divmod(span_ns // 10**9, 3600)
    days, hours = divmod(hours, 24)
    text = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text


MASS_UNITS_UG = ((10**12, "t"), (10**9, "kg"), (10**6, "g"), (10**3, "mg"), (1, "µg"))
"""Units of mass in micrograms, the largest first."""


def mass(mass_g: float) -> str:
    """Grams to three digits in the unit that fits: ``725 µg``, ``15.4 g``, ``1.2 kg``."""
    rounded_ug = float(f"{mass_g * 1e6:.3g}")
    if not rounded_ug:
        return "0 g"
    if abs(rounded_ug) < 0.001:
        return f"{'<' if mass_g > 0 else '>-'}0.001 µg"
    factor_ug, name = next((unit for unit in MASS_UNITS_UG if abs(rounded_ug) >= unit[0]), MASS_UNITS_UG[-1])
    value = rounded_ug / factor_ug
    return f"{value:,.0f} {name}" if abs(value) >= 1000 else f"{value:.3g} {name}"
