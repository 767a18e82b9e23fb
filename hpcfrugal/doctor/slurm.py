"""Slurm as this machine sees it."""

from __future__ import annotations

import shutil

from hpcfrugal.core.errors import SetupError
from hpcfrugal.doctor.finding import Finding
from hpcfrugal.slurm import backend, commands

_SHORT_S = 10.0


def slurm_findings() -> list[Finding]:
    """Whether Slurm's commands are there, the controller answers, and the accounting keeps jobs."""
    if not backend.available():
        return [
            Finding(
                "slurm", "commands", "gap", "no sbatch on the PATH: jobs run on this machine (backend local)",
                "on a cluster, load its slurm module",
            )
        ]  # fmt: skip
    findings = []
    try:
        code, out, err = commands.run(["sbatch", "--version"], timeout_s=_SHORT_S)
        if code != 0:
            raise SetupError(f"{shutil.which('sbatch')} does not work: {commands.first_line(err)}")
        findings.append(Finding("slurm", "commands", "ok", f"{out.strip()}, {shutil.which('sbatch')}"))
        cluster = backend.SlurmCli().cluster()
        findings.append(Finding("slurm", "controller", "ok", f"cluster {cluster} answers"))
    except SetupError as error:
        advice = "ask your operator, or run jobs on this machine: submit --backend local"
        return [*findings, Finding("slurm", "controller", "fault", error.message, advice)]
    try:
        code, _, err = commands.run(["sacct", "-X", "-n", "-j", "1"], timeout_s=_SHORT_S)
        fault = None if code == 0 else commands.first_line(err)
    except SetupError as error:
        fault = error.message
    if fault is None:
        findings.append(Finding("slurm", "accounting", "ok", "sacct answers"))
    else:
        advice = "without accounting the end of a killed job stays unknown; ask your operator for slurmdbd"
        findings.append(Finding("slurm", "accounting", "gap", f"sacct fails: {fault}", advice))
    return findings
