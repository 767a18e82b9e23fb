"""Text that comes from others (names, paths, messages), made safe to print, and characters for other encodings.

Only the standard library, and no other module of hpcfrugal.
"""

from __future__ import annotations

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories (Unicode Standard, table 4-4) that control a terminal, break a line or have no glyph."""


_IN_ASCII = str.maketrans(
    {
        "≥": ">=", "–": "-", "—": "-", "…": "...", "─": "-", "━": "=", "│": "|", "└": "`", "├": "|", "→": "->",
        "✓": "+", "✗": "x", "·": ".", "µ": "u", "₂": "2", "é": "e", "É": "E",
    }
)  # fmt: skip


def in_ascii(text: str) -> str:
    """``text`` with the special characters of this program replaced by ASCII; all others stay."""
    return text.translate(_IN_ASCII)


def replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Error handler for ``codecs.register_error``: ASCII with the same meaning, else a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    # Characters that are not in the table, and lone surrogates, become question marks.
    replaced = (in_ascii(character) for character in lacking)
    return "".join(text if text.isascii() else "?" for text in replaced), error.end


def printable(text: str) -> str:
    """``text`` with control, format and line separating characters replaced.

    An escape sequence in the name of a job must not reach a terminal.
    """
    if text.isprintable():
        return text
    import unicodedata

    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _HARMFUL else c for c in text)


def quoted_value(value: object, limit: int = 60) -> str:
    """Any value for a message: quoted, escaped, cut to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def clean_text(text: str) -> str:
    """``text`` with question marks for lone surrogates, which databases and terminals do not accept."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def plain(text: str | None, limit: int = 40) -> str:
    """``printable`` text, cut to ``limit`` characters with an ellipsis; empty for None."""
    if text is None:
        return ""
    safe = printable(text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
