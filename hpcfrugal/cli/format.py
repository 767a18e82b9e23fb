"""Numbers as people read them. Rounding happens here and nowhere before."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``1-02:03:04``, ``2:03:04`` or ``3:04``."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{secs:02}"
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def _scaled(value: float, unit: str) -> str:
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def watts(power_w: float | None) -> str:
    """Power with its unit; a dash where it is not known."""
    return "–" if power_w is None else _scaled(power_w, "W")


def joules(energy_uj: int | None) -> str:
    """Energy with its unit; a dash where it is not known."""
    return "–" if energy_uj is None else _scaled(energy_uj / 1e6, "J")


def printable(text: str) -> str:
    """Text of other people's (names, paths, messages) without what could steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
