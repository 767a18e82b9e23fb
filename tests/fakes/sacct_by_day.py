"""A sacct that answers by day, and a user's home beside it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from day import today
from fake_slurm import FakeSlurm
from sacct_rows import ORDINARY
from sandbox import Sandbox

from hpcfrugal.core.user import user_name

SACCT = """
for word in "$@"; do
    case "$word" in
        --helpformat) printf '%s\\n' {names}; exit 0 ;;
        --delimiter=*) between=${{word#*=}} ;;
        --starttime=*) day=${{word#*=}}; day=${{day%T*}} ;;
    esac
done
[ "$SLURM_TIME_FORMAT" = %s ] || exit 9
while IFS= read -r line; do printf '%s\\n' "${{line//|/$between}}"; done < '{folder}/header'
[ -e '{folder}/'$day ] || exit 0
while IFS= read -r line; do printf '%s\\n' "${{line//|/$between}}"; done < '{folder}/'$day
"""
NAMES = ["JobID", "Submit", *(name for name in ORDINARY if name not in ("JobID", "Submit"))]


class Site:
    """A cluster ``c1`` whose sacct has rows by day, and a user's home on it."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        self.slurm = FakeSlurm(folder / "slurm")
        self.days = folder / "days"
        self.days.mkdir()
        (self.days / "header").write_text("|".join(NAMES) + "\n")
        self.slurm.answer("sacct", then=SACCT.format(names=" ".join(NAMES), folder=self.days))
        box.env |= {"PATH": f"{self.slurm.bin}:{box.env['PATH']}"}

    def day(self, ago: int, *rows: dict[str, str]) -> None:
        lines = ["|".join(row[name] for name in NAMES) for row in rows]
        name = f"{today() - timedelta(days=ago):%Y-%m-%d}"
        (self.days / name).write_text("".join(f"{line}\n" for line in lines))

    def sync(self, *options: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.box.ok("ledger", "import", "sacct", "--json", *options))
        return document

    def asked(self) -> list[list[str]]:
        """The options of each question so far."""
        return [call for call in self.slurm.calls("sacct") if "--parsable2" in call]


def row(job_id: str, ago: int, **cells: str) -> dict[str, str]:
    """A job of an hour, some days ago."""
    at = int((today() - timedelta(days=ago)).timestamp())
    times = {"Submit": str(at - 50), "Start": str(at), "End": str(at + 3600), "Eligible": str(at - 50)}
    return ORDINARY | {"JobIDRaw": job_id, "JobID": job_id, "User": user_name()} | times | cells
