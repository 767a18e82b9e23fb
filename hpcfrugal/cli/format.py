"""Numbers as people read them. Rounding happens here and nowhere before."""

from __future__ import annotations


def _scaled(value: float, unit: str) -> str:
    value = float(f"{value:.3g}")  # before the prefix is chosen: 999.7 is 1 k
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"0 {unit}" if not value else f"{value * 1e6:.3g} µ{unit}"


def watts(power_w: float | None) -> str:
    """Power with its unit; a dash where it is not known."""
    return "–" if power_w is None else _scaled(power_w, "W")


def joules(energy_uj: int | None) -> str:
    """Energy with its unit; a dash where it is not known."""
    return "–" if energy_uj is None else _scaled(energy_uj / 1e6, "J")
