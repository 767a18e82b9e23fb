"""Rendered scripts against files that a person has read, and what bash and shellcheck say of them.

After a wanted change: ``HPCFRUGAL_WRITE_GOLDEN=1 pytest tests/render`` writes the files anew; read the diff.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hpcfrugal.job.render
from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.render import SegmentPlan, UserScript, builtin_templates, render_script, template_names
from hpcfrugal.job.sbatch_flags import sbatch_flags

GOLDEN = Path(__file__).parent / "golden"
NASTY = "a'; touch /tmp/pwned #"

JOBS: dict[str, dict[str, Any]] = {
    "plain": {"name": "plain", "command": "echo hello\nexit 3\n", "resources": {"time": "1:30:00", "mem": "4G"}},
    "gpu": {
        "name": "gpu",
        "command": "python train.py",
        "resources": {"nodes": 2, "gpus_per_node": 2, "exclusive": True},
        "modules": ["cuda/12.4"],
        "conda": "torch",
        "env": {"OMP_NUM_THREADS": 4},
    },
    "array": {"name": "array", "command": "echo $SLURM_ARRAY_TASK_ID", "resources": {"array": "0-15%4"}},
    "mpi": {"name": "mpi", "template": "mpi", "command": "./solver input.nml", "export": "none"},
    "torchrun": {
        "name": "torchrun",
        "template": "torchrun",
        "command": "train.py --epochs 3",
        "resources": {"nodes": 2, "gpus_per_node": 4},
    },
    "container": {
        "name": "container",
        "container": {"image": "images/torch.sif", "binds": ["/scratch:/data:ro"], "options": ["--cleanenv"]},
        "env": {"OMP_NUM_THREADS": 4},
        "command": "python train.py",
        "resources": {"gpus": 1},
    },
    "script": {
        "name": "script",
        "script": "/home/alice/train.sh",
        "args": ["--seed", "1 2"],
        "directives": ["#SBATCH -p batch   # the usual one", "#SBATCH --time=10"],
    },
    "heterogeneous": {
        "name": "heterogeneous",
        "script": "/home/alice/train.sh",
        "directives": ["#SBATCH -N1", "#SBATCH hetjob", "#SBATCH -N4 --exclusive", "#SBATCH hetjob", "#SBATCH -N2"],
    },
    "segments": {"name": "segments", "command": "python train.py", "resources": {"time": "2:00:00"}},
    "unmeasured": {"name": "unmeasured", "command": "true", "energy": "off"},
    "staged": {
        "name": "staged",
        "script": "/home/alice/train.sh",
        "venv": "/home/alice/it's/.venv",
        "setup": "mkdir $TMPDIR/a",
        "teardown": "rm -r $TMPDIR/a",
    },
    "hostile": {
        "name": NASTY,
        "command": f"echo {NASTY}\n' \" ) }} fi done EOF\n$(",
        "workdir": f"/tmp/{NASTY}",
        "env": {"A": NASTY, "B": "$(touch /tmp/pwned)\n`id`"},
        "modules": [NASTY],
        "tags": {"project": NASTY},
        "resources": {"account": NASTY, "constraint": "a&b|c*2"},
        "sbatch": [f"--extra={NASTY}"],
    },
}


SEGMENTS = SegmentPlan(
    windows=((1_795_300_200, 1_795_303_800), (1_795_325_400, 1_795_329_000)),
    limit_s=7200,
    deadline_s=1_795_340_000,
    margin_s=90,
    signal="USR1",
    grace_s=60,
    restart_cost_s=20,
    checkpoint_cost_s=10,
)


def rendered(name: str, *, slurm: bool = True) -> str:
    spec = job_from_mapping(JOBS[name])
    script = UserScript(["/bin/bash"], "/run/script.user", "#!/bin/bash\necho it's\n") if spec.script else None
    return render_script(
        spec,
        flags=sbatch_flags(spec),
        script=script,
        run_id="20261121T000000Z-00000000",
        run_dir=Path("/home/alice/it's/20261121T000000Z-00000000"),
        slurm=slurm,
        segments=SEGMENTS if name == "segments" else None,
    ).text


@pytest.mark.parametrize("name", JOBS)
def test_golden(name: str) -> None:
    path = GOLDEN / f"{name}.sbatch"
    text = rendered(name).replace(f"hpcfrugal {hpcfrugal.__version__} ", "hpcfrugal VERSION ")
    if os.environ.get("HPCFRUGAL_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("slurm", [True, False])
@pytest.mark.parametrize("name", JOBS)
def test_is_bash(name: str, slurm: bool, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text(rendered(name, slurm=slurm))
    bash = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert (bash.returncode, bash.stderr) == (0, "")
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    checked = subprocess.run([shellcheck, "--shell=bash", path], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_every_template_has_a_golden_script() -> None:
    shown = set()
    for job in JOBS.values():
        script = UserScript([], "x", None) if "script" in job else None
        spec = job_from_mapping(job)
        shown.add(render_script(spec, flags=[], script=script, run_id="r", run_dir=Path("/r"), slurm=True).template)
    assert shown == set(template_names([]))


def test_builtin_templates_are_found() -> None:
    assert (builtin_templates() / "base.sbatch.j2").is_file()
