"""The lab's one error: a message that says what went wrong and, where known, what to do about it."""

from __future__ import annotations


class LabError(Exception):
    """Something the lab needs is missing or failed; the message is all that the user has to read."""
