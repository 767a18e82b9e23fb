"""What every `with_*.py` shares: a tracker is started, left alone until standard input ends, and stopped.

The four moments and the tracker's result go, a JSON line each, to the file descriptor of argv[1]. An adapter
loads nothing else than its tracker and uses the API that the tracker's own documentation shows.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

JOULES_PER_KWH = 3_600_000


def follow(
    start: Callable[[], Any], stop: Callable[[Any], dict[str, Any]], tick: Callable[[Any], None] | None = None
) -> None:
    """Run a tracker from `start` to `stop`; `tick` is called once a second for one that takes no samples itself.

    What `start` returns is handed to the others. `stop` returns {"energy_j": {component: joules or None},
    "modelled": [components that are no reading of a counter], "from_wall_s", "to_wall_s" or "duration_s"}.
    """
    say("start_called")
    tracker = start()
    say("started")
    if tick is None:
        sys.stdin.buffer.read()
    else:
        due = time.monotonic() + 1
        while not select.select([0], [], [], max(0.0, due - time.monotonic()))[0]:
            tick(tracker)
            due += 1
    say("stop_called")
    result = stop(tracker)
    say("stopped", **result)


def say(event: str, **more: Any) -> None:
    """One line to the bench."""
    line = json.dumps({"event": event, "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME), **more})
    os.write(int(sys.argv[1]), line.encode() + b"\n")
