"""Exact integrals of the hardware table's waves: integer microjoules, each term rounded down."""

from __future__ import annotations

from .hardware import SQUARE, STEADY, Domain, Wave

NS = 1_000_000_000


def wave_energy_uj(wave: Wave, boottime_ns: int) -> int:
    """Energy of one wave from boot (shifted by its phase) to `boottime_ns`."""
    if wave.kind == STEADY:
        return wave.power_uw * boottime_ns // NS
    periods, within = divmod(boottime_ns + wave.phase_ns, wave.period_ns)
    if wave.kind == SQUARE:
        return wave.power_uw * (periods * wave.on_ns + min(within, wave.on_ns)) // NS
    # Triangle: the power climbs by 2 * power / period, so x into the climb the area is power * x^2 / period.
    area = wave.power_uw * wave.period_ns // 2
    rest = wave.period_ns - within
    if within <= rest:
        part = wave.power_uw * within * within // wave.period_ns
    else:
        part = area - wave.power_uw * rest * rest // wave.period_ns
    return (periods * area + part) // NS


def domain_energy_uj(domain: Domain, boottime_ns: int) -> int:
    """Energy of a domain from boot to `boottime_ns`, up to a constant: only differences mean anything."""
    return sum(wave_energy_uj(wave, boottime_ns) for wave in domain.waves)


def counter_uj(domain: Domain, boottime_ns: int) -> int:
    """What the domain's counter shows at `boottime_ns`."""
    return (domain.offset_uj + domain_energy_uj(domain, boottime_ns)) % (domain.range_uj + 1)
