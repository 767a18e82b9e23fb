"""The C module behind ``signal``: the wrapper only adds enums, for 4 ms and 0.9 MB."""

from __future__ import annotations

try:
    import _signal as signal  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    import signal

__all__ = ["signal"]
