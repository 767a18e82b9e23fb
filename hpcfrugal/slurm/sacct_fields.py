"""The columns of sacct that an import reads: the name of each, and what its text means.

Texts are those of sacct(1), JOB ACCOUNTING FIELDS, and what sites were seen to print. A reader returns None for a value
that is not there, and raises ``ValueError`` with a sentence for a text that it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from hpcfrugal.core.record import MAX_INT, MAX_MEMORY_B, MAX_WALL_NS, MIN_WALL_NS
from hpcfrugal.core.text import quoted_value
from hpcfrugal.core.units import expand_nodelist

Reader = Callable[[str], Any]

_NONE = frozenset({"", "None", "N/A", "(null)", "Unknown", "UNKNOWN", "INVALID", "None assigned"})
"""What Slurm prints where there is no value."""

NO_VALUES = frozenset({0xFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF})
"""Slurm's NO_VAL and INFINITE in 32 and 64 bits (slurm.h), and 16777214, which is NO_VAL in the 24 bits of a float."""

_MAX_COUNT = 10**9
_MAX_SECONDS = 100 * 366 * 86_400
_MAX_JOULES = 10**14
"""More energy than this of one job is no reading: 165 MW for a week."""


class JobName(NamedTuple):
    """What ``JobID`` or ``JobIDRaw`` names: ``123``, ``123_4``, ``123_[5-9]``, ``123+1``, ``123.batch``, ``123+1.0``,
    ``123.0+1``.

    ``task`` is that of an array, in brackets where it stands for all that still wait; ``component`` is that of a
    heterogeneous job. ``step`` None: the job itself.
    """

    job: str
    task: str | None
    component: int | None
    step: str | None


class PerUnit(NamedTuple):
    """An amount of memory in bytes for each ``node`` or ``cpu``; of the whole job where ``unit`` is empty."""

    size_b: int
    unit: str


class Trackable(NamedTuple):
    """What ``AllocTRES`` has: CPUs, bytes of memory, nodes, GPUs, and the GPUs by their type, ``a100=2,v100=1``."""

    cpus: int | None
    memory_b: int | None
    nodes: int | None
    gpus: int | None
    gpu_types: str


_JOB_NAME = re.compile(
    r"(?P<job>[0-9]{1,10})(?:_(?P<task>[0-9]{1,10}|\[[^\]|]*\])|\+(?P<component>[0-9]{1,5}))?"
    r"(?:\.(?P<step>[A-Za-z0-9_]{1,40})(?:\+(?P<of>[0-9]{1,5}))?)?"
)


def job_name(text: str) -> JobName:
    """See ``JobName``."""
    base, dot, step = text.partition(".")
    if base.isdecimal() and base.isascii() and len(base) <= 10 and (not dot or (step.isalnum() and step.isascii())):
        return JobName(base, None, None, step or None)
    match = _JOB_NAME.fullmatch(text)
    if match is None:
        raise ValueError(f"{quoted_value(text)} is not a job id of Slurm")
    component = match["component"] or match["of"]
    return JobName(match["job"], match["task"], None if component is None else int(component), match["step"])


def text(value: str) -> str | None:
    """A name; None where there is none. A job may be called ``None``, so only the empty text means that."""
    return value or None


def account_text(value: str) -> str | None:
    """A name that Slurm may replace by a word for "none"."""
    return None if value in _NONE else value


_STATE = re.compile(r"([A-Z][A-Z_]*)\+?(?: by .*)?")


def state(value: str) -> str:
    """``CANCELLED by 1000`` is CANCELLED."""
    match = _STATE.fullmatch(value)
    if match is None:
        raise ValueError(f"{quoted_value(value)} is not a state of a job")
    return match[1]


def exit_code(value: str) -> tuple[int, int] | None:
    """``code:signal``."""
    if value in _NONE:
        return None
    code, colon, signal = value.partition(":")
    if not (colon and code.isdecimal() and signal.isdecimal() and max(len(code), len(signal)) < 10):
        raise ValueError(f"{quoted_value(value)} is not an exit code and a signal such as 0:15")
    return int(code), int(signal)


def whole(value: str) -> int | None:
    """A whole number from 0 on; None also for Slurm's numbers that mean "not set"."""
    if value in _NONE:
        return None
    if not (value.isascii() and value.isdecimal()):
        raise ValueError(f"{quoted_value(value)} is not a whole number")
    found = int(value[:25])
    if found in NO_VALUES:
        return None
    if found > _MAX_COUNT:
        raise ValueError(f"{quoted_value(value)} is more than there can be")
    return found


def joules(value: str) -> int | None:
    """``ConsumedEnergyRaw``; None for Slurm's numbers that mean "not set"."""
    if value in _NONE:
        return None
    if not (value.isascii() and value.isdecimal()):
        raise ValueError(f"{quoted_value(value)} is not a whole number of joules")
    found = int(value[:25])
    if found in NO_VALUES:
        return None
    if found > _MAX_JOULES:
        raise ValueError(f"{quoted_value(value)} J is more than a job can use")
    return found


_ROUNDED = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?([KMGTP]?)")
_THOUSANDS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}


def rounded_joules(value: str) -> int | None:
    """``ConsumedEnergy``, which has a letter for thousands: ``101.63K`` J."""
    if value in _NONE:
        return None
    match = _ROUNDED.fullmatch(value)
    if match is None:
        raise ValueError(f"{quoted_value(value)} is not an energy such as 794 or 101.63K")
    whole, fraction, letter = match.groups()
    digits = fraction or ""
    return joules(str(int(whole + digits) * _THOUSANDS[letter] // 10 ** len(digits)))


_CLOCK = re.compile(r"(?:([0-9]{1,7})-)?(?:([0-9]{1,9}):)?([0-9]{1,9}):([0-9]{1,9})(?:\.([0-9]{1,6}))?")


def clock_us(value: str) -> int | None:
    """``[days-][hours:]minutes:seconds[.fraction]`` in microseconds."""
    if value in _NONE:
        return None
    match = _CLOCK.fullmatch(value)
    if match is None:
        raise ValueError(f"{quoted_value(value)} is not a time such as 00:01.234, 01:02:03 or 1-02:03:04")
    days, hours, minutes, seconds, fraction = match.groups()
    whole_s = ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes)) * 60 + int(seconds)
    if whole_s > _MAX_SECONDS * 10_000:  # CPU time of ten thousand CPUs
        raise ValueError(f"{quoted_value(value)} is longer than there can be")
    return whole_s * 10**6 + int((fraction or "").ljust(6, "0"))


def clock_s(value: str) -> int | None:
    """The same in seconds, cut."""
    found = clock_us(value)
    if found is not None and found > _MAX_COUNT * 10**6:
        raise ValueError(f"{quoted_value(value)} is longer than there can be")
    return None if found is None else found // 10**6


_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,6}))?([KMGTPE]?)(?:i?[bB])?([nc]?)")
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}
_LETTERS = frozenset("KMG")
_PER = {"": "", "n": "node", "c": "cpu"}


def _size(value: str, unit_b: int, most_b: int) -> PerUnit:
    letter, digits = value[-1:], value[:-1]
    if letter in _LETTERS and digits.isdecimal() and digits.isascii() and len(digits) < 10:
        size_b, per = int(digits) * _BYTES[letter], ""
    else:
        match = _SIZE.fullmatch(value)
        if match is None:
            raise ValueError(f"{quoted_value(value)} is not an amount of memory such as 4000M, 16Gn or 2Gc")
        whole, fraction, letter, per = match.groups()
        digits = fraction or ""
        size_b = int(whole + digits) * (_BYTES[letter] if letter else unit_b) // 10 ** len(digits)
    if size_b > most_b:
        raise ValueError(f"{quoted_value(value)} is more memory than there can be")
    return PerUnit(size_b, _PER[per])


_OF_JOB_B = MAX_INT
"""More memory than this of a whole job is no figure."""


def requested_memory(value: str) -> PerUnit | None:
    """``ReqMem``: MiB without a letter, ``c`` for each CPU, ``n`` for each node (before 21.08). 0 is all of a node's
    memory, of which the size is not printed."""
    if value in _NONE:
        return None
    found = _size(value, 1 << 20, _OF_JOB_B)
    return found if found.size_b else None


def used_memory(value: str) -> int | None:
    """``MaxRSS``: bytes without a letter."""
    return None if value in _NONE else _size(value, 1, MAX_MEMORY_B).size_b


def trackable(value: str) -> Trackable:
    """``billing=8,cpu=8,gres/gpu:a100=2,gres/gpu=2,mem=32G,node=1``.

    GPUs stand there by their type, without it, or both: the larger of the sum of types and the number without one
    counts. Parts of GPUs (``gres/shard``, ``gres/mps``) and ``gres/gpumem`` are no GPUs.
    """
    if value in _NONE:
        return NOTHING
    plain: dict[str, str] = {}
    types: dict[str, int] = {}
    for item in value.split(","):
        name, equals, amount = item.partition("=")
        if not equals:
            raise ValueError(f"{quoted_value(value)} is not a list of resources such as cpu=8,mem=32G")
        if name.startswith("gres/gpu:"):
            kind = name[9:]
            types[kind] = types.get(kind, 0) + (whole(amount) or 0)
        else:
            plain[name] = amount
    memory = plain.get("mem")
    untyped = whole(plain.get("gres/gpu", ""))
    gpus = max(untyped or 0, sum(types.values())) if types or untyped is not None else None
    return Trackable(
        whole(plain.get("cpu", "")),
        None if memory is None else _size(memory, 1 << 20, _OF_JOB_B).size_b or None,
        whole(plain.get("node", "")),
        gpus,
        ",".join(f"{kind}={number}" for kind, number in sorted(types.items())),
    )


NOTHING = Trackable(None, None, None, None, "")


def nodes(value: str) -> str:
    """A node list that can be read; empty where Slurm has assigned none."""
    if value in _NONE:
        return ""
    expand_nodelist(value)
    return value


class AmbiguousInstant(int):
    """An instant in seconds since 1970 of a local time that the clock showed twice; ``later`` is the other one."""

    later: int


def instant_reader(zone: tzinfo | None) -> Callable[[str], int | None]:
    """Reads epoch seconds, ISO 8601 with an offset, and local times of ``zone`` (None: there is no zone for those), as
    seconds since 1970."""

    def instant(value: str) -> int | None:
        if value.isdecimal() and value.isascii():
            at_s = int(value[:25])
            return _checked(value, at_s) if at_s else None
        if value in _NONE:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{quoted_value(value)} is not a time such as 2026-11-28T20:15:00") from None
        if moment.tzinfo is not None:
            return _checked(value, _seconds(moment))
        if zone is None:
            raise ValueError(f"{quoted_value(value)} has no time zone; --timezone names it")
        first_s, later_s = (_seconds(moment.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
        found = _checked(value, first_s)
        if later_s > first_s:
            found = AmbiguousInstant(first_s)
            found.later = later_s
        return found

    return instant


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_S, _LAST_S = MIN_WALL_NS // 10**9, MAX_WALL_NS // 10**9


def _seconds(moment: datetime) -> int:
    try:
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(seconds=1)
    except OverflowError:
        return -1


def _checked(value: str, at_s: int) -> int:
    if not _FIRST_S <= at_s <= _LAST_S:
        raise ValueError(f"{quoted_value(value)} is not a time between 2000 and 2200")
    return at_s


@dataclass(frozen=True, slots=True)
class SacctField:
    """A column: its name in Slurm and the key of its value here.

    ``essential``: a row in which it cannot be read does not count. Two columns may have one key: the first in the table
    counts.
    """

    name: str
    key: str
    read: Reader
    essential: bool = False


INSTANT: Reader = instant_reader(None)
"""Stands for the reader of instants, which depends on the zone of a file."""

FIELDS = (
    SacctField("JobID", "shown_id", job_name, essential=True),
    SacctField("Submit", "submit", INSTANT, essential=True),
    SacctField("JobIDRaw", "raw_id", job_name, essential=True),
    SacctField("Cluster", "cluster", account_text),
    SacctField("State", "state", state, essential=True),
    SacctField("Eligible", "eligible", INSTANT),
    SacctField("Start", "start", INSTANT, essential=True),
    SacctField("End", "end", INSTANT, essential=True),
    SacctField("ElapsedRaw", "elapsed_s", whole, essential=True),
    SacctField("Elapsed", "elapsed_s", clock_s, essential=True),
    SacctField("Suspended", "suspended_s", clock_s),
    SacctField("User", "user", account_text),
    SacctField("Account", "account", account_text),
    SacctField("Partition", "partition", account_text),
    SacctField("QOS", "qos", account_text),
    SacctField("ExitCode", "exit", exit_code),
    SacctField("AllocCPUS", "cpus", whole, essential=True),
    SacctField("NCPUS", "cpus", whole, essential=True),
    SacctField("NNodes", "node_count", whole),
    SacctField("NodeList", "nodes", nodes),
    SacctField("AllocTRES", "resources", trackable),
    SacctField("ReqMem", "requested_memory", requested_memory),
    SacctField("TotalCPU", "cpu_us", clock_us),
    SacctField("MaxRSS", "max_rss_b", used_memory),
    SacctField("ConsumedEnergyRaw", "energy_j", joules),
    SacctField("ConsumedEnergy", "energy_j", rounded_joules),
    SacctField("SLUID", "sluid", account_text),
    SacctField("JobName", "name", text),
)
"""In the order in which they are asked for: what tells jobs apart first, and last the name, which may hold anything."""

BY_NAME: Mapping[str, SacctField] = {field.name.lower(): field for field in FIELDS}
"""By name in lower case, as sacct takes them."""

FREE_TEXT = frozenset(
    {"jobname", "comment", "admincomment", "systemcomment", "workdir", "submitline", "extra", "reason"}
)
"""Columns whose values are texts of users, in which a delimiter or the end of a line may stand."""
