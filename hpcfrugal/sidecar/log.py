"""The sidecar's one voice: single lines on stderr, each trouble said once."""

from __future__ import annotations

import os

_said: set[str] = set()


def log(text: str, once: str | None = None) -> None:
    """Write one line to stderr; with ``once``, only the first time for that key."""
    if once is not None:
        if once in _said:
            return
        _said.add(once)
    line = "hpcfrugal sidecar: " + " ".join(text.split()) + "\n"
    try:
        os.write(2, line.encode("utf-8", "replace"))
    except OSError:
        # nobody listens any more, and the sampling matters more than the message
        return
