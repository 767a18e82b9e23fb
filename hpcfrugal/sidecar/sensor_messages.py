"""What a sensor's process writes to the sidecar: lines of a kind and named values, with tabs between.

Text is read as text and numbers as numbers, so that nothing in a line, however broken, can be more than a wrong value.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Value = None | bool | int | str
    Message = tuple[str, dict[str, Value]]

_WORDS: dict[str, bool | None] = {"none": None, "true": True, "false": False}


class BadMessage(Exception):
    """A line that is no message."""


def encode(kind: str, values: Mapping[str, object]) -> str:
    """The line of a message, with its end. A value of another type than None, bool, int and str becomes text.

    Control characters in a text become blanks.
    """
    return "\t".join([kind, *[f"{name}={_encode(value)}" for name, value in values.items()]]) + "\n"


def decode(line: str) -> Message:
    """Kind and values of a line. Raises BadMessage."""
    kind, *fields = line.split("\t")
    values: dict[str, Value] = {}
    for field in fields:
        name, _, text = field.partition("=")
        if text[:1] == "'":
            values[name] = text[1:]
        elif text in _WORDS:
            values[name] = _WORDS[text]
        else:
            values[name] = _number(text)
    return kind, values


def _encode(value: object) -> str:
    if value is None:
        return "none"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return "'" + "".join([" " if char < " " else char for char in str(value)])


def _number(text: str) -> int:
    digits = text[1:] if text[:1] == "-" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) < 40):
        raise BadMessage(f"no value: {text[:40]!r}")
    return int(text)
