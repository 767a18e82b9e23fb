"""The energy of a channel by time as it is stored: one JSON array of integers for all of its buckets of 300 s.

The buckets are ``first_bucket_s`` and those that follow it; it is NULL where that is the bucket of the first reading.
Where some of them have no energy, as while a job waited for its next attempt to start or was suspended,
``bucket_numbers`` has the number of each bucket that has; else it is NULL. So SQL needs no more than ``json_each``
(``BUCKETS``). ``bucket_measured_ns`` is NULL where every bucket was measured for all of the time between the channel's
first and its last reading.

Small numbers take few bytes: so the last reading is stored as the time since the first one, and the measured time as
what that lacks of it.

The array has whole joules, differences of the cumulative energy rounded down; the last bucket has what is left of the
channel's energy too. So the buckets add up to it exactly, and a joule is a mean power of 3 mW in a bucket.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from itertools import accumulate
from typing import Annotated, Any

from hpcfrugal.accounting.buckets import BUCKET_NS, EnergyByTime
from hpcfrugal.accounting.series import differences
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import NOT_STORED

BUCKET_S = BUCKET_NS // 10**9
UJ_PER_J = 10**6


def bucket_start(table: str, value: str, otherwise: str = "NULL") -> str:
    """SQL for the first second of the bucket of ``value``, a row of ``json_each`` over a list of buckets.

    ``otherwise`` is SQL for the first second of the first bucket where the table does not have it.
    """
    number = f"coalesce(json_extract({table}.bucket_numbers, '$[' || {value}.key || ']'), {value}.key)"
    return f"coalesce({table}.first_bucket_s, {otherwise}) + {BUCKET_S} * {number}"


BUCKETS = f"""
SELECT channels.job, channels.node, channels.kind,
    {bucket_start("channels", "energy", f"channels.first_wall_ns / {BUCKET_NS} * {BUCKET_S}")} AS bucket_start_s,
    {UJ_PER_J} * energy.value + CASE WHEN energy.key + 1 = json_array_length(channels.bucket_energy_j)
        THEN channels.energy_uj % {UJ_PER_J} ELSE 0 END AS energy_uj
FROM channels CROSS JOIN json_each(channels.bucket_energy_j) AS energy
"""
"""SQL for one row a bucket of a channel of a job."""

NODE_BUCKETS = f"""
SELECT n.agent_file, n.session, n.number, n.kind, {bucket_start("n", "energy")} AS bucket_start_s,
    energy.value AS energy_uj,
    coalesce(json_extract(n.bucket_values, '$[1][' || energy.key || ']'), 0) AS rest_uj
FROM node_channels AS n CROSS JOIN json_each(n.bucket_values, '$[0]') AS energy
"""
"""SQL for one row a bucket of a channel of a node in a session of its agent."""

AGENT_JOB_BUCKETS = f"""
SELECT j.agent_file, j.session, j.name, j.first_ns, j.job_id, j.job, channel.key AS number,
    {bucket_start("j", "energy")} AS bucket_start_s, energy.value AS energy_uj
FROM agent_jobs AS j CROSS JOIN json_each(j.bucket_values) AS channel CROSS JOIN json_each(channel.value) AS energy
"""
"""SQL for one row a bucket of what a job had of a channel of a node in a session of its agent."""


@dataclass(frozen=True, slots=True)
class KnownBucket:
    """A bucket of a job's energy in one channel, or several that follow each other."""

    start_ns: int
    energy_uj: int
    measured_ns: int
    length_ns: int = BUCKET_NS


@dataclass(frozen=True, slots=True)
class PackedBuckets:
    """The columns of a channel's row with its energy by time.

    ``lasted_ns`` is from the first reading, ``first_wall_ns``, to the last; both are None where there is none.
    ``unmeasured_ns`` is the part of it without readings. ``lists`` are the start in ns, the energy in J and the
    measured time of each bucket as they were packed; None of a row that was read from the ledger.
    """

    first_wall_ns: int | None = None
    lasted_ns: int | None = None
    unmeasured_ns: int = 0
    first_bucket_s: int | None = None
    bucket_numbers: str | None = None
    bucket_energy_j: str | None = None
    bucket_measured_ns: str | None = None
    lists: Annotated[tuple[list[int], list[int], list[int]] | None, NOT_STORED] = field(
        default=None, compare=False, repr=False
    )

    @property
    def last_wall_ns(self) -> int | None:
        """The last reading."""
        return None if self.first_wall_ns is None or self.lasted_ns is None else self.first_wall_ns + self.lasted_ns

    @property
    def measured_ns(self) -> int:
        """The time with readings."""
        return (self.lasted_ns or 0) - self.unmeasured_ns


def pack(
    energy: EnergyByTime, measured_ns: int, first_wall_ns: int | None = None, last_wall_ns: int | None = None
) -> PackedBuckets:
    """Pack the buckets of a job's energy that was measured for ``measured_ns``, from the first to the last reading."""
    lasted_ns = None if first_wall_ns is None or last_wall_ns is None else last_wall_ns - first_wall_ns
    unmeasured_ns = (lasted_ns or 0) - measured_ns
    starts_ns = sorted(energy.energies_uj)
    if not starts_ns:
        return PackedBuckets(first_wall_ns, lasted_ns, unmeasured_ns)
    first_ns = starts_ns[0]
    whole = _all_within(starts_ns, first_wall_ns, last_wall_ns)
    measured = [energy.measured[start_ns] for start_ns in starts_ns]
    energies_uj = (energy.energies_uj[start_ns] for start_ns in starts_ns)
    energies_j = differences([upto_uj // UJ_PER_J for upto_uj in accumulate(energies_uj, initial=0)])
    return PackedBuckets(
        first_wall_ns,
        lasted_ns,
        unmeasured_ns,
        None if first_ns == _bucket_ns(first_wall_ns) else first_ns // 10**9,
        _numbers_of(starts_ns),
        _json(energies_j),
        None if measured == whole else _json(measured),
        (starts_ns, energies_j, measured),
    )


def _numbers_of(starts_ns: Sequence[int]) -> str | None:
    """The numbers of buckets, counted from the first; None where they follow each other."""
    first_ns = starts_ns[0]
    if starts_ns[-1] - first_ns == (len(starts_ns) - 1) * BUCKET_NS:
        return None
    return _json([(start_ns - first_ns) // BUCKET_NS for start_ns in starts_ns])


def _in_uj(energies_j: Sequence[int], energy_uj: int) -> list[int]:
    """The energies of buckets in whole joules; the last has what is left of ``energy_uj`` too."""
    energies_uj = [UJ_PER_J * energy_j for energy_j in energies_j]
    energies_uj[-1] += energy_uj % UJ_PER_J
    return energies_uj


def _bucket_ns(wall_ns: int | None) -> int | None:
    """The start of the bucket of an instant."""
    return None if wall_ns is None else wall_ns // BUCKET_NS * BUCKET_NS


@dataclass(frozen=True, slots=True)
class PackedColumns:
    """Several amounts by time in one row: ``bucket_values`` is a list of integers for each, null where all are zero.

    ``first_bucket_s`` and ``bucket_numbers`` are as those of ``PackedBuckets``; all None where there is no bucket.
    """

    first_bucket_s: int | None = None
    bucket_numbers: str | None = None
    bucket_values: str | None = None


NO_COLUMNS = PackedColumns()


def pack_columns(columns: Sequence[Mapping[int, int]]) -> PackedColumns:
    """Pack amounts by the start of their bucket in ns."""
    starts_ns = sorted(set().union(*columns))
    if not starts_ns:
        return NO_COLUMNS
    values = ([column.get(start_ns, 0) for start_ns in starts_ns] for column in columns)
    lists = ",".join(_json(column) if any(column) else "null" for column in values)
    return PackedColumns(starts_ns[0] // 10**9, _numbers_of(starts_ns), f"[{lists}]")


def unpack_columns(packed: PackedColumns) -> list[dict[int, int]]:
    """The amounts that ``pack_columns`` was given, without zeros of a column that has no others."""
    if packed.first_bucket_s is None or packed.bucket_values is None:
        return []
    lists: list[list[int] | None] = _numbers(packed.bucket_values)
    length = max((len(values) for values in lists if values is not None), default=0)
    numbers = _numbers(packed.bucket_numbers) if packed.bucket_numbers is not None else range(length)
    starts_ns = [packed.first_bucket_s * 10**9 + number * BUCKET_NS for number in numbers]
    return [dict(zip(starts_ns, values, strict=True)) if values is not None else {} for values in lists]


def unpack(packed: PackedBuckets, energy_uj: int | None, width_s: int = BUCKET_S) -> list[KnownBucket]:
    """The buckets in the columns of a channel's row, which add up to ``energy_uj``.

    With a ``width_s``, those of each such time (from multiples of it on) as one, where they follow each other and were
    measured all the time.
    """
    if packed.bucket_energy_j is None or energy_uj is None:
        return []
    if packed.lists is not None and width_s == BUCKET_S:
        starts_ns, energies_j, measured = packed.lists
        return list(map(KnownBucket, starts_ns, _in_uj(energies_j, energy_uj), measured))
    bucket_numbers = packed.bucket_numbers
    first_wall_ns, last_wall_ns = packed.first_wall_ns, packed.last_wall_ns
    first_ns = (_bucket_ns(first_wall_ns) or 0) if packed.first_bucket_s is None else packed.first_bucket_s * 10**9
    energies_uj = _in_uj(_numbers(packed.bucket_energy_j), energy_uj)
    if width_s != BUCKET_S and bucket_numbers is None and packed.bucket_measured_ns is None:
        return list(_joined(first_ns, energies_uj, (first_wall_ns, last_wall_ns), width_s * 10**9))
    numbers: Sequence[int] = _numbers(bucket_numbers) if bucket_numbers is not None else range(len(energies_uj))
    starts_ns = [first_ns + BUCKET_NS * number for number in numbers]
    if packed.bucket_measured_ns is None:
        measured = [inside_ns or 0 for inside_ns in _all_within(starts_ns, first_wall_ns, last_wall_ns)]
    else:
        measured = _numbers(packed.bucket_measured_ns)
    return list(map(KnownBucket, starts_ns, energies_uj, measured))


def _joined(
    first_ns: int, energies_uj: Sequence[int], walls_ns: tuple[int | None, int | None], width_ns: int
) -> Iterator[KnownBucket]:
    at, whole = 0, width_ns // BUCKET_NS
    until = whole - first_ns % width_ns // BUCKET_NS
    while at < len(energies_uj):
        start_ns, length_ns = first_ns + BUCKET_NS * at, (min(until, len(energies_uj)) - at) * BUCKET_NS
        measured_ns = _within(start_ns, *walls_ns, length_ns) or 0
        yield KnownBucket(start_ns, sum(energies_uj[at:until]), measured_ns, length_ns)
        at, until = until, until + whole


def _all_within(starts_ns: Sequence[int], first_wall_ns: int | None, last_wall_ns: int | None) -> list[int | None]:
    """How much of each bucket lies between two readings; the buckets are in order, so most of them lie there whole."""
    found: list[int | None] = [None if first_wall_ns is None or last_wall_ns is None else BUCKET_NS] * len(starts_ns)
    if first_wall_ns is not None and last_wall_ns is not None:
        begin, end = bisect_left(starts_ns, first_wall_ns), bisect_right(starts_ns, last_wall_ns - BUCKET_NS)
        for at in (*range(begin), *range(max(begin, end), len(starts_ns))):
            found[at] = _within(starts_ns[at], first_wall_ns, last_wall_ns)
    return found


def _within(
    start_ns: int, first_wall_ns: int | None, last_wall_ns: int | None, length_ns: int = BUCKET_NS
) -> int | None:
    """How much of a bucket lies between two readings."""
    if first_wall_ns is None or last_wall_ns is None:
        return None
    return max(0, min(start_ns + length_ns, last_wall_ns) - max(start_ns, first_wall_ns))


def _numbers(text: str) -> Any:
    """What ``_json`` wrote, without the checks of ``json.loads``, which take longer than that."""
    return _decode(text)[0]


_decode = json.JSONDecoder().raw_decode


def _json(numbers: Sequence[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"
