"""Options of a command line, checked. argparse would cost 10 ms and 1.5 MB."""

from __future__ import annotations

from .sampling_rate import FILE_LIMIT_B

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class BadArguments(Exception):
    """The command line is wrong; the text says how."""


def parse_options(
    argv: Sequence[str], valued: Sequence[str], flags: Sequence[str], required: Sequence[str] = ()
) -> tuple[dict[str, str], set[str]]:
    """The values of the ``valued`` options (``--option VALUE`` or ``--option=VALUE``), and the ``flags`` that are set.

    Raises BadArguments.
    """
    values: dict[str, str] = {}
    found: set[str] = set()
    rest = list(argv)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if option in flags and not equals:
            found.add(option)
        elif option not in valued:
            raise BadArguments(f"unknown argument {option!r}")
        elif equals:
            values[option] = value
        elif rest:
            values[option] = rest.pop(0)
        else:
            raise BadArguments(f"{option} needs a value")
    for option in required:
        if not values.get(option):
            raise BadArguments(f"{option} is missing")
    return values, found


def duration_ns(values: Mapping[str, str], option: str, default: str) -> int:
    """An option in seconds, as nanoseconds. Raises BadArguments."""
    seconds = _number(option, values.get(option, default), "a number of seconds", 0.05, 86400, "seconds")
    return int(seconds * 1e9)


def percent_of_core(values: Mapping[str, str]) -> float:
    """What sampling may cost, in percent of one core. Raises BadArguments."""
    return _number("--cpu-budget", values.get("--cpu-budget", "1"), "a percentage", 0.01, 100, "percent")


def _number(option: str, text: str, kind: str, low: float, high: float, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadArguments(f"{option}: {text!r} is not {kind}") from None
    if not low <= value <= high:
        raise BadArguments(f"{option}: {text} is not between {low:g} and {high:g} {unit}")
    return value


def file_limit_b(values: Mapping[str, str]) -> int:
    """The bytes towards which records come less often. Raises BadArguments."""
    text = values.get("--file-limit")
    if text is None:
        return FILE_LIMIT_B
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadArguments(f"--file-limit: {text!r} is not a number of bytes")
    return int(text)
