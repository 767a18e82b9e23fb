"""A sandbox with Slurm's commands and a forecast in a file, for jobs that are planned."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fake_slurm import FakeSlurm
from sandbox import Result, Sandbox

# What sbatch says of a job that could start in so many seconds, and the id of one that it takes.
_SBATCH = """
case "$*" in
*--test-only*)
    at=$(date -u -d "+{wait_s} seconds" +%Y-%m-%dT%H:%M:%S)
    echo "sbatch: Job 16 to start at $at using 1 processors on nodes n1 in partition batch" >&2;;
*) echo 17;;
esac
"""


class Planned:
    """``box`` with a cluster of its own. ``forecast`` sets what the grid will be like."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        self.slurm = FakeSlurm(folder / "slurm")
        self.file = folder / "forecast.json"
        box.env |= {
            "PATH": f"{self.slurm.bin}:{box.env['PATH']}",
            "HPCFRUGAL_BACKEND": "slurm_cli",
            "HPCFRUGAL_ZONE": "XX",
            "HPCFRUGAL_PROVIDER": "site",
            "TZ": "UTC",
        }
        settings = box.home / ".config/hpcfrugal/config.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(f'[forecasts.site]\nkind = "file"\npath = "{self.file}"\n')
        self.waits(0)

    def waits(self, seconds: int) -> None:
        """How long a job would wait in the queue now, as Slurm says."""
        self.slurm.answer("sbatch", then=_SBATCH.format(wait_s=seconds))

    def forecast(self, values: Sequence[float | None], step_s: float = 3600, start: datetime | None = None) -> datetime:
        """Slots from ``start`` on, which is returned: by default a minute ago."""
        begin = start or datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
        told = {"zone": "XX", "issued_at": begin.isoformat(), "start": begin.isoformat(), "step_s": step_s}
        self.file.write_text(json.dumps(told | {"g_per_kwh": list(values)}))
        return begin

    def job(self, schedule: dict[str, Any], **more: Any) -> Path:
        """A job file with this schedule and, unless told otherwise, a time limit of an hour."""
        return self.box.job("true", **{"resources": {"time": "1:00:00"}, **more, "schedule": schedule})

    def submit(self, schedule: dict[str, Any], **more: Any) -> tuple[Result, dict[str, Any], str]:
        """Submit; the result, the plan as kept with the run, and the script."""
        result = self.box.run("submit", "--json", self.job(schedule, **more))
        assert result.code == 0, result
        run_dir = Path(json.loads(result.out)["run_dir"])
        plan = json.loads((run_dir / "run.json").read_text())["plan"]
        return result, plan, (run_dir / "script.sbatch").read_text()


def begin_of(script: str) -> datetime | None:
    """The begin that a script asks Slurm for; the sandbox is in UTC."""
    found = re.findall(r"^#SBATCH --begin=(\S+)$", script, re.MULTILINE)
    return datetime.fromisoformat(found[-1]).replace(tzinfo=UTC) if found else None
