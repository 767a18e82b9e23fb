"""Types of setting values. Each takes a value from a TOML file or an environment variable; a wrong value raises
ValueError with one sentence on what is required."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

from hpcfrugal.core.errors import did_you_mean
from hpcfrugal.core.pue import MonthlyPue, Pue, month_start_ns
from hpcfrugal.core.section import Fault, Faults, ValueType
from hpcfrugal.core.units import expand_nodelist, format_duration, parse_duration
from hpcfrugal.core.user import user_name

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"\$(?:\w+|\{[^}]*\})", re.ASCII)
"""What ``os.path.expandvars`` replaces, if it is set."""
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def name_of(value: Any) -> str:
    """A name of a grid zone, provider or queue."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError('needs a name of up to 64 letters, digits, "_", "." and "-"')
    return value


def text_of(value: Any) -> str:
    """One line of text."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("needs a text on one line")
    return value


def absolute_path(value: Any) -> Path:
    """An absolute path; ``~`` and ``$VARIABLE`` are expanded."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError('needs a path, such as "~/hpcfrugal/spool"')
    unset = [one for one in _VARIABLE.findall(value) if one.strip("${}") not in os.environ]
    if unset:
        raise ValueError(f"names a variable that is not set: {unset[0][:80]}")
    try:
        path = Path(os.path.expandvars(value)).expanduser()
    except RuntimeError:
        if value.partition("/")[0] == "~":
            raise ValueError("starts with ~, but your home directory is not known: set HOME") from None
        raise ValueError(f"names a user that does not exist: {value[:80]!r}") from None
    if not path.is_absolute():
        raise ValueError(f"needs an absolute path, or one that starts with ~, not {value[:80]!r}")
    return path


def by_user(value: Any) -> Path:
    """An absolute path with a folder for each user, which is called ``%u``."""
    if not isinstance(value, Path) and not (isinstance(value, str) and "%u" in value.split("/")):
        raise ValueError('needs a path with a folder %u, the user\'s name, such as "/shared/hpcfrugal/users/%u"')
    path = absolute_path(value)
    if "%" in "/".join(part for part in path.parts if part != "%u"):
        raise ValueError("has a % that is not the folder %u")
    return path


def path_of_user(path: Path, user: str) -> Path:
    """A path ``by_user`` for one of them. Raises ``ValueError`` for a name that cannot be that of a folder."""
    if not user or user.startswith(".") or "/" in user or not user.isprintable():
        raise ValueError(f"{user[:80]!r} cannot be the name of a folder")
    return Path(*(user if part == "%u" else part for part in path.parts))


def own_path(value: Any) -> Path:
    """An absolute path, in which the folder ``%u`` is the user's name."""
    if isinstance(value, str) and "%" in value:
        return path_of_user(by_user(value), user_name())
    return absolute_path(value)


def time_zone_of(value: Any) -> ZoneInfo:
    """A time zone of the IANA database."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # few settings have one

    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(name_of(value) if "/" not in str(value) else str(value))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError('needs a time zone by its name, such as "Europe/Paris" or "UTC"') from None


def words_of(value: Any) -> tuple[str, ...]:
    """A list of words, such as a command and its arguments."""
    if isinstance(value, list | tuple) and value and all(isinstance(w, str) and w and "\0" not in w for w in value):
        return tuple(value)
    raise ValueError("needs a list of texts: a command and its arguments")


def interpreters_of(value: Any) -> tuple[str, ...]:
    """Interpreters, as a list or as text with colons between."""
    words = value.split(":") if isinstance(value, str) else value
    try:
        return words_of(words)
    except ValueError:
        raise ValueError('needs a list of interpreters, such as ["python3", "/usr/bin/python3"]') from None


def nodes_of(value: Any) -> tuple[str, ...]:
    """Nodes in Slurm's form, each once."""
    names = tuple(dict.fromkeys(expand_nodelist(text_of(value))))
    if not names:
        raise ValueError("names no node")
    return names


def share_of(value: Any) -> float:
    """A share from 0 to 1, also as a percentage."""
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    share = float(match[1]) / 100 if match else value
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise ValueError('needs a share from 0 to 1, such as 0.05 or "5 %"')
    return float(share)


def url_of(value: Any, *, placeholder: str = "") -> str:
    """An http(s) address without credentials, query and fragment. It may hold the ``placeholder``."""
    text = str(value).replace(placeholder, "node") if placeholder else str(value)
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    # `urlsplit` drops tabs, line breaks and what is around the address
    if not is_address or not text.isprintable() or re.search(r"[\s{}]", text):
        raise ValueError("needs a URL, such as https://example.org")
    if parts.username is not None or parts.password is not None:
        hint = "name a file or an environment variable: token_file, password_env, ..."
        raise Faults(Fault((), "must not hold credentials", hint))
    if parts.query or parts.fragment:
        raise ValueError("needs a URL without ? and #")
    return str(value).rstrip("/")


def number_of(value: Any, low: float, high: float, *, as_text: bool = False) -> float:
    """See ``number``."""
    try:
        is_number = type(value) in (int, float) or (as_text and isinstance(value, str))
        found = float(value) if is_number else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not low <= found <= high:
        raise ValueError(f"needs a number from {low:g} to {high:g}")
    return found


def number(low: float, high: float) -> ValueType[float]:
    """A number from ``low`` to ``high``."""
    return ValueType(lambda value: number_of(value, low, high))


def integer(low: int, high: int) -> ValueType[int]:
    """An integer from ``low`` to ``high``."""

    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"needs a whole number from {low} to {high}")
        return value

    return ValueType(read)


def monthly_pue_or_number(value: Any) -> Pue:
    """A power usage effectiveness from 1 to 10, or a table of one for each month."""
    if isinstance(value, MonthlyPue):
        return value
    if not isinstance(value, Mapping):
        return number_of(value, 1, 10, as_text=True)
    months: dict[str, float] = {}
    faults = [] if value else [Fault((), "names no month", 'for example {"2026-01" = 1.2}')]
    for month, figure in value.items():
        try:
            month_start_ns(month)
            months[month] = number_of(figure, 1, 10)
        except ValueError as error:
            faults.append(Fault((month,), str(error)))
    if faults:
        raise Faults(*faults)
    return MonthlyPue(tuple(sorted(months.items())))


def names_by_key(value: Any) -> Mapping[str, tuple[str, ...]]:
    """A table of lists of names."""
    if not isinstance(value, Mapping):
        raise ValueError('needs a table, such as {physics = ["alice", "bob"]}')
    found: dict[str, tuple[str, ...]] = {}
    faults = []
    for key, names in value.items():
        try:
            found[key] = tuple(text_of(name) for name in words_of(names))
        except ValueError:
            faults.append(Fault((key,), 'needs a list of names, such as ["alice", "bob"]'))
    if faults:
        raise Faults(*faults)
    return found


def interval_of(value: Any, low: float, high: float) -> tuple[float, float]:
    """See ``interval``."""
    ends = value if isinstance(value, list | tuple) else (value, value)
    try:
        first, last = (number_of(end, low, high) for end in ends)
    except ValueError:
        first, last = math.inf, -math.inf
    if first > last:
        raise ValueError(f"needs a number from {low:g} to {high:g}, or a list of two, the lower one first")
    return first, last


def interval(low: float, high: float) -> ValueType[tuple[float, float]]:
    """Two numbers from ``low`` to ``high``, the lower one first; one stands for both."""
    return ValueType(lambda value: interval_of(value, low, high))


def time_span_of(value: Any, low_s: float, high_s: float, bare_unit: str | None = None) -> timedelta:
    """A duration such as ``10s``; a bare number is in ``bare_unit``, or refused if that is None."""
    low, high = timedelta(seconds=low_s), timedelta(seconds=high_s)
    found = value if isinstance(value, timedelta) else parse_duration(value, bare_unit=bare_unit)
    if not low <= found <= high:
        raise ValueError(f"needs a time from {format_duration(low)} to {format_duration(high)}")
    return found


def time_span(low_s: float, high_s: float, bare_unit: str | None = None) -> ValueType[timedelta]:
    """See ``time_span_of``."""
    return ValueType(lambda value: time_span_of(value, low_s, high_s, bare_unit))


def one_of(choices: Any) -> ValueType[Any]:
    """One of the values of a ``Literal``."""
    known = get_args(choices)
    words = [str(one) for one in known]

    def read(value: Any) -> Any:
        # In TOML `true` is not 1.
        found = next((one for one in known if one == value and type(one) is type(value)), None)
        if found is None:
            near = did_you_mean(value, words) if isinstance(value, str) else ""
            hint = near if near.startswith("did you mean") else None
            raise Faults(Fault((), f"needs one of {', '.join(words)}", hint))
        return found

    return ValueType(read)


def flag_of(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("needs true or false")
    return value


Name = ValueType(name_of)
SingleLine = ValueType(text_of)
AbsolutePath = ValueType(absolute_path)
OwnPath = ValueType(own_path)
PathByUser = ValueType(by_user)
TimeZone = ValueType(time_zone_of)
Words = ValueType(words_of)
Interpreters = ValueType(interpreters_of)
Nodes = ValueType(nodes_of)
PueSetting = ValueType(monthly_pue_or_number)
NamesByKey = ValueType(names_by_key)
Share = ValueType(share_of)
Url = ValueType(url_of)
TrueOrFalse = ValueType(flag_of)
