"""Types of a job file's numbers, and of the amounts that Slurm has forms of its own for."""

from __future__ import annotations

import math
import re
from typing import Any

from hpcfrugal.core.section import ValueType
from hpcfrugal.core.text import quoted_value
from hpcfrugal.core.units import format_memory, parse_memory
from hpcfrugal.job.array_tasks import parse_array
from hpcfrugal.job.text_types import MAX_NAME_CHARS, to_text

_NODES = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")
_GPUS = re.compile(r"(?:[A-Za-z0-9_.-]+:)?[0-9]{1,6}(?:,(?:[A-Za-z0-9_.-]+:)?[0-9]{1,6})*")


def _to_count(value: object) -> int:
    """A whole number from 1 up."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        number = int(value)
    else:
        raise ValueError(f"{quoted_value(value)} is not a whole number; write for example 4")
    if not 1 <= number <= 999_999_999:
        raise ValueError(f"{number} is out of range; it must be 1 or more")
    return number


def _to_number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?", value.strip()):
        return float(value)
    return None


def _to_positive(value: object) -> float:
    number = _to_number(value)
    if number is None or not 0 < number < 1e15:
        raise ValueError(f"{quoted_value(value)} is not a number above 0; write for example 250")
    return number


def _to_fraction(value: object) -> float:
    """A share of 1: ``0.05``, or the same as ``5 %``."""
    example = "write 0.05 or 5 %"
    if isinstance(value, str) and value.strip().endswith("%"):
        percent = _to_number(value.strip()[:-1].strip())
        number = None if percent is None else percent / 100
    else:
        number = _to_number(value)
    if number is None:
        raise ValueError(f"{quoted_value(value)} is not a share; {example}")
    if not 0 <= number <= 1:
        raise ValueError(f"{quoted_value(value)} is not between 0 and 1; {example}")
    return number


def _to_memory(value: object) -> str:
    """An amount of memory in Slurm's form, normalised (``4096`` is ``4G``)."""
    return format_memory(parse_memory(value))  # type: ignore[arg-type]


def _to_nodes(value: object) -> int | str:
    """A number of nodes, or Slurm's ``minimum-maximum``, kept as text."""
    match = _NODES.fullmatch(to_text(value, limit=32).strip())
    low, high = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
    if match is None or low < 1 or high < low:
        raise ValueError(f"{quoted_value(value)} is not a number of nodes; write 2, or 2-4 for 2 to 4")
    return low if match[2] is None else f"{low}-{high}"


def _to_gpus(value: object) -> str:
    """Slurm's ``[type:]number``, several with commas."""
    text = to_text(value, limit=MAX_NAME_CHARS).strip()
    if not _GPUS.fullmatch(text):
        raise ValueError(f"{quoted_value(value)} is not a number of GPUs; write 2 or a100:2")
    return text


def _to_array(value: object) -> str:
    """Slurm's array indices: ``0-15``, ``1,3,5``, ``0-20:2``, with ``%4`` at most 4 at once."""
    text = to_text(value).strip()
    parse_array(text)
    return text


def _whole_or_text(minimum: int, pattern: str) -> dict[str, Any]:
    return {"anyOf": [{"type": "integer", "minimum": minimum}, {"type": "string", "pattern": pattern}]}


Count = ValueType(_to_count, _whole_or_text(1, "^[0-9]{1,9}$"))
Positive = ValueType(
    _to_positive,
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": r"^[0-9.]+([eE][+-]?[0-9]+)?$"},
        ]
    },
)
Fraction = ValueType(
    _to_fraction,
    {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1},
            {"type": "string", "pattern": r"^\s*[0-9.]+\s*%?\s*$"},
        ]
    },
)
Memory = ValueType(_to_memory, _whole_or_text(0, r"^[0-9]+(\.[0-9]+)?\s*([KMGTkmgt]([iI]?[bB])?)?$"))
NodeCount = ValueType(_to_nodes, _whole_or_text(1, r"^[0-9]+(-[0-9]+)?$"))
GpuCount = ValueType(_to_gpus, _whole_or_text(0, r"[0-9]$"))
ArrayIndices = ValueType(_to_array, _whole_or_text(0, r"^[0-9][0-9,:%-]*$"))
