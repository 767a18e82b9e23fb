"""Named entries of the settings, value by value, every mistake gathered with the file and key that it stands in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.core.units import expand_nodelist, parse_duration
from hpcfrugal.settings.config import ConfigEntry

_T = TypeVar("_T")


def read_entries(
    entries: Mapping[str, ConfigEntry], read: Callable[[ConfigEntry, list[Problem]], _T | None]
) -> dict[str, _T]:
    """What ``read`` makes of each entry, by name and in the order of the files; None of a wrong one is left out.

    Raises:
        InputError: every mistake that ``read`` noted, of every entry.
    """
    problems: list[Problem] = []
    found = {name: read(entry, problems) for name, entry in entries.items()}
    if problems:
        raise InputError(problems)
    return {name: one for name, one in found.items() if one is not None}


class Keys:
    """A reader over one entry. Each method notes its key as known; ``finish`` names those that nobody asked for."""

    def __init__(self, entry: ConfigEntry, problems: list[Problem]) -> None:
        self.entry = entry
        self._problems = problems
        self._known: dict[str, None] = {}

    def wrong(self, key: str, what: str, hint: str | None = None) -> None:
        """Note a mistake in a key."""
        self._problems.append(Problem(f"{self.entry.origin}.{key}", what, hint))

    def raw(self, key: str) -> Any:
        self._known[key] = None
        return self.entry.values.get(key)

    def finish(self, what: str) -> None:
        """Note the keys that nobody asked for; ``what`` is what the entry describes, such as ``a queue``."""
        for key in self.entry.values:
            if key not in self._known:
                self.wrong(key, f"is not a setting of {what}", did_you_mean(key, self._known))

    def parsed(self, key: str, parse: Callable[[Any], _T], example: str | None = None) -> _T | None:
        """What ``parse`` makes of the value, which raises ValueError; required where there is an ``example``."""
        value = self.raw(key)
        if value is None:
            if example is not None:
                self.wrong(key, "is missing", f"for example {example}")
            return None
        try:
            return parse(value)
        except ValueError as error:
            self.wrong(key, str(error))
            return None

    def text(self, key: str, example: str | None = None) -> str | None:
        """A text; required where there is an ``example``."""
        value = self.raw(key)
        if value is None and example is None:
            return None
        if isinstance(value, str) and value.strip() and value.isprintable():
            return value
        self.wrong(key, "is missing" if value is None else "needs a text on one line", f"for example {example}")
        return None

    def choice(self, key: str, values: Sequence[str], default: str | None = None) -> str | None:
        """One of ``values``; required where there is no default."""
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value in values:
            return value
        what = "is missing" if value is None else f"is unknown: {str(value)[:40]!r}"
        self.wrong(key, what, did_you_mean(str(value)[:40], values))
        return None

    def flag(self, key: str, default: bool) -> bool:
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(key, "needs true or false")
        return default

    def span_ns(self, key: str, default_ns: int, low_s: float, high_s: float) -> int:
        """A duration such as ``"10s"``, or a number of seconds."""
        value = self.raw(key)
        if value is None:
            return default_ns
        try:
            seconds = parse_duration(value, bare_unit="s").total_seconds()
        except ValueError as error:
            self.wrong(key, str(error))
            return default_ns
        if low_s <= seconds <= high_s:
            return round(seconds * 1e9)
        self.wrong(key, f"is {seconds:g} s", f"from {low_s:g} s to {high_s:g} s")
        return default_ns

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.wrong(key, f"needs a number from {low:g} to {high:g}")
        return default

    def index(self, key: str) -> int | None:
        value = self.raw(key)
        if value is None or (type(value) is int and 0 <= value < 1000):
            return value
        self.wrong(key, "needs a number that counts from 0")
        return None

    def words(self, key: str) -> tuple[str, ...] | None:
        """A list of texts, such as a command."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, list) and value and all(isinstance(word, str) and "\0" not in word for word in value):
            return tuple(value)
        self.wrong(key, "needs a list of texts, a command and its arguments")
        return None

    def path(self, key: str, example: str | None = None) -> Path | None:
        """An absolute path, or one that starts with ~; required where there is an ``example``."""
        value = self.text(key, example)
        if value is None:
            return None
        try:
            path = Path(value).expanduser()
        except RuntimeError:
            path = Path()  # a user that there is not
        if path.is_absolute():
            return path
        self.wrong(key, f"is not an absolute path: {value[:80]!r}")
        return None

    def url(self, key: str, example: str, *, with_node: bool = False) -> str | None:
        """An http(s) address without credentials in it and without a query."""
        value = self.text(key, example)
        if value is None:
            return None
        try:
            parts = urlsplit(value.replace("{node}", "node") if with_node else value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        if parts.scheme not in ("http", "https") or not host or re.search(r"[\s{}]", parts.geturl()):
            self.wrong(key, f"is not an address: {value[:80]!r}", f"for example {example}")
        elif parts.username is not None or parts.password is not None:
            self.wrong(
                key, "holds credentials", "name a file or an environment variable: token_file, password_env, ..."
            )
        elif parts.query or parts.fragment:
            self.wrong(key, "needs an address without ? and #")
        else:
            return value.rstrip("/")
        return None

    def nodes(self) -> tuple[str, ...] | None:
        """Nodes in Slurm's form, in order."""
        value = self.text("nodes")
        if value is None:
            return None
        try:
            names = tuple(dict.fromkeys(expand_nodelist(value)))
        except ValueError as error:
            self.wrong("nodes", str(error))
            return None
        if not names:
            self.wrong("nodes", "names no node")
        return names or None
