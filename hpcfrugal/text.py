"""Other people's words and spans of time as a person reads them, wherever they are printed.

Ground of the package: nothing but the standard library, and no other module of hpcfrugal.
"""

from __future__ import annotations

UNKNOWN = "unknown"

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories (Unicode Standard, table 4-4) of what steers a terminal, breaks a line or has no form."""


def printable(text: str) -> str:
    """Text of other people's (names, paths, messages) without control, format or line separating characters.

    An escape sequence in the name of a job must not reach a terminal.
    """
    if text.isprintable():
        return text
    import unicodedata

    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _HARMFUL else c for c in text)


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
