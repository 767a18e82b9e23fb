"""Names of machines."""

from __future__ import annotations

import socket


def short_name(node: str) -> str:
    """The host name without its domain."""
    return node.partition(".")[0]


def this_host() -> str:
    """The name of this machine without its domain."""
    return short_name(socket.gethostname())
