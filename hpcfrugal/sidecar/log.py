"""Messages of the program on a node: single lines on stderr, each problem once."""

from __future__ import annotations

import os

_logged: set[str] = set()
_program = ["hpcfrugal sidecar"]


def log_as(program: str) -> None:
    """Begin each message with this name."""
    _program[0] = program


def log(text: str, once: str | None = None) -> None:
    """Write one line to stderr; with ``once``, only the first time for that key."""
    if once is not None:
        if once in _logged:
            return
        _logged.add(once)
    line = f"{_program[0]}: " + " ".join(text.split()) + "\n"
    try:
        os.write(2, line.encode("utf-8", "replace"))
    except OSError:
        # stderr is closed; sampling matters more than the message
        return
