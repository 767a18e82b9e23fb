"""What a job used beside energy, as a record of the sidecar has it, and where each figure came from.

No energy is derived from these, so an invalid one does not cost the record: it is named and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from hpcfrugal.core.quick import dataclass


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


USE_FIELDS = tuple(Use.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class UseSources:
    """By the kind of figure, its source, and why there is none or not of all."""

    sources: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
