"""What a job used beside energy, as a record of the sidecar has it, and where each figure came from.

No energy is derived from these, so a bad one costs no record: it is counted and left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hpcfrugal.core.json_fields import Fields, clean_text


@dataclass(frozen=True, slots=True)
class Use:
    """Counts that grow from the header on; None is not known.

    ``memory_kib_s`` is memory integrated over ``memory_ns``. ``io_read_b`` and ``io_write_b`` are bytes read from and
    sent to storage; with ``io_partial`` some are missing. ``gpu_busy_us`` is the GPUs' utilisation integrated over
    ``gpu_seen_us``, both summed over the GPUs. The hardware's counters belong to ``counters_cpu_us`` of the job's CPU
    time, and were at work for ``counters_running_ns`` of the ``counters_enabled_ns`` that they should have been.
    """

    memory_kib_s: int | None = None
    memory_ns: int | None = None
    page_faults_minor: int | None = None
    page_faults_major: int | None = None
    io_read_b: int | None = None
    io_write_b: int | None = None
    io_partial: bool | None = None
    gpu_busy_us: int | None = None
    gpu_seen_us: int | None = None
    instructions: int | None = None
    cycles: int | None = None
    cache_references: int | None = None
    cache_misses: int | None = None
    counters_enabled_ns: int | None = None
    counters_running_ns: int | None = None
    counters_cpu_us: int | None = None


NO_USE = Use()
"""One for all records that say nothing: a file may have a hundred thousand of them."""

USE_FIELDS = tuple(item.name for item in fields(Use))

_FLAG = "io_partial"
_NAMES = frozenset(USE_FIELDS)


@dataclass(frozen=True, slots=True)
class UseSources:
    """By the kind of figure, its source, and why there is none or not of all."""

    sources: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def use_of(data: Mapping[str, Any], bad: Counter[str]) -> Use:
    """The figures in a record; what is wrong with them is counted in ``bad``."""
    told = _NAMES.intersection(data)
    if not told:
        return NO_USE
    reader = Fields(data)
    found: dict[str, Any] = {name: reader.flag(name) if name == _FLAG else reader.integer(name) for name in told}
    bad.update(f"record field {problem}" for problem in reader.problems)
    return Use(**found)


def use_sources(data: Mapping[str, Any], bad: Counter[str]) -> UseSources:
    """The entry ``usage`` of a header; one that is not as it should be counts for nothing, and in ``bad``."""
    reader = Fields(data)
    entry = Fields(reader.mapping("usage") or {})
    sources, reasons = entry.mapping("sources") or {}, entry.mapping("reasons") or {}
    bad.update(f"header field {problem}" for problem in (*reader.problems, *entry.problems))
    return UseSources(_texts(sources), _texts(reasons))


def _texts(data: Mapping[str, Any]) -> dict[str, str]:
    return {clean_text(name): clean_text(value) for name, value in data.items() if isinstance(value, str)}
