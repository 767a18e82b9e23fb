"""A job in segments as Slurm runs it on a node: its batch script, really run, with a scontrol that notes its calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.render import SegmentPlan, UserScript, render_script
from hpcfrugal.spool.zipapp import sidecar_zipapp

SCONTROL = """#!/bin/bash
echo "$*" >>"$FAKE_SCONTROL/calls"
echo "${TZ-}" >"$FAKE_SCONTROL/zone"
case $1 in
  show)
    at=
    [ -z "${FAKE_STARTED-}" ] || at="StartTime=$(date -d "@$FAKE_STARTED" +%Y-%m-%dT%H:%M:%S) "
    echo "JobId=17 Restarts=0 Requeue=${FAKE_REQUEUE:-1} $at"
    ;;
  requeue) exit "${FAKE_REQUEUE_CODE:-0}" ;;
esac
"""

PROGRAM = """
import os, signal, sys, time
path = "state"
done = int(open(path).read()) if os.path.exists(path) else 0
def stop(*_):
    time.sleep(float(os.environ.get("SAVE_S", "0.3")))
    open(path, "w").write(str(done))
    print("saved", flush=True)
    if os.environ.get("GO_ON") != "1":
        os._exit(int(os.environ.get("SAVED_CODE", "0")))
if os.environ.get("NO_TERM") == "1":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
if os.environ.get("DEAF") != "1":
    signal.signal(signal.SIGUSR1, stop)
open("ready", "w").close()
while done < int(sys.argv[1]):
    time.sleep(0.1)
    done += 1
print("finished", flush=True)
"""


class Job:
    """A job in segments on one node: every second-long piece of a timeline that starts when the script does."""

    def __init__(self, folder: Path, command: str, *, script: UserScript | None = None, **plan: Any) -> None:
        self.folder = folder
        self.run_dir = folder / "it's a run"
        self.run_dir.mkdir(mode=0o700)
        sidecar_zipapp(self.run_dir / "sidecar.pyz")
        (folder / "bin").mkdir()
        (folder / "bin/scontrol").write_text(SCONTROL)
        (folder / "bin/scontrol").chmod(0o755)
        (folder / "program.py").write_text(PROGRAM)
        self.begun = int(time.time())
        windows = plan.pop("windows", ((0, 2), (100, 110)))
        spec = {"name": "t", "script": script.path} if script else {"name": "t", "command": command}
        if script:
            spec["args"] = ["40"]  # type: ignore[assignment]
        self.text = render_script(
            job_from_mapping(spec),
            flags=[],
            script=script,
            run_id="20261121T000000Z-00000000",
            run_dir=self.run_dir,
            slurm=True,
            pythons=[sys.executable],
            segments=SegmentPlan(
                windows=tuple((self.begun + start, self.begun + end) for start, end in windows),
                deadline_s=self.begun + plan.pop("deadline", 1000),
                **{"limit_s": 60, "margin_s": 0, "signal": "USR1", "grace_s": 5, **plan},
            ),
        ).text
        (folder / "slurm_script").write_text(self.text)
        self.environ = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "17",
            "SLURM_CLUSTER_NAME": "c",
            "HOME": str(folder),
            "FAKE_SCONTROL": str(folder),
        }

    def start(self, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/bash", self.folder / "slurm_script"],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, call: str) -> None:
        """Wait until the batch script has called scontrol like this."""
        until = time.monotonic() + 20
        while call not in self.calls():
            assert time.monotonic() < until
            time.sleep(0.05)

    def run(self, **environ: str) -> tuple[int, str, str]:
        process = self.start(**environ)
        out, err = process.communicate(timeout=40)
        return process.returncode, out, err

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def end(self, restart: int = 0) -> dict[str, Any]:
        data = json.loads((self.run_dir / f"17.{restart}.end.json").read_text())
        assert isinstance(data, dict)
        return data

    def start_time(self, seconds: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.begun + seconds))


RUN = f"{sys.executable} program.py 40"
