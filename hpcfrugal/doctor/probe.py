"""Open every sensor as the sidecar does and print what it found as JSON; run as a child process, since a driver
can hang."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from hpcfrugal.sidecar.ladder import Ladder
from hpcfrugal.sidecar.sources import Place, best, lesser
from hpcfrugal.sidecar.worker import boottime_ns

READ_WAIT_S = 2.0


def probe(
    sysfs: str = "/sys", proc: str = "/proc", environ: Mapping[str, str] = os.environ
) -> dict[str, list[dict[str, object]]]:
    """Channels that would be sampled here, better sources that cannot be used and why, and the GPUs in sight."""
    place = Place(sysfs, proc, environ, boottime_ns, in_slurm="SLURM_JOB_ID" in environ)
    ladder = Ladder(best(place), lesser(place), boottime_ns, lambda: False)
    ladder.sample(READ_WAIT_S)
    return {
        "channels": [
            {**entry.channel.header(), "readable": entry.meter.energy_uj is not None} for entry in ladder.entries
        ],
        "absent": [absent.header() for absent in ladder.absent],
        "gpus": [gpu.header() for gpu in ladder.gpus],
    }


if __name__ == "__main__":
    print(json.dumps(probe()))
