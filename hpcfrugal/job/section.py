"""The base of every mapping in a job file, and the keys of it that exclude each other."""

from __future__ import annotations

from collections.abc import Iterator

from hpcfrugal.core.section import Fault, KeyPath, Section
from hpcfrugal.core.text import quoted_value


class Excludes:
    """Marks a key that can't be given along with others of its section; each with a hint on which one to keep:
    ``marks=[Excludes(mem="keep one of the two")]``.
    """

    def __init__(self, **hints: str) -> None:
        self.hints = hints


class JobSection(Section):
    """Base of every mapping in a job file."""

    def contradictions(self) -> list[Fault]:
        """Keys that exclude each other; a section adds what else does not fit together."""
        return [
            Fault((key,), f"can't be given along with `{other}`", hint, ((other,), (key,)))
            for key, other, hint in exclusions(type(self))
            if getattr(self, key) is not None and getattr(self, other) is not None
        ]


def exclusions(section: type[JobSection]) -> Iterator[tuple[str, str, str]]:
    """Pairs of keys that exclude each other, each with the hint on which one to keep."""
    for name, key in section.known_keys.items():
        for mark in key.marks:
            if isinstance(mark, Excludes):
                yield from ((name, other, hint) for other, hint in mark.hints.items())


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``resources.time``, ``sbatch, entry 2``; odd keys in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f", entry {part + 1}"
        else:
            word = part if part and part.replace("-", "_").isidentifier() else quoted_value(part)
            text += f".{word}" if text else word
    return text
