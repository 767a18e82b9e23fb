"""Energy sensors of a node, one file per source, all behind the protocol of ``base``."""

from __future__ import annotations
