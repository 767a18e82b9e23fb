"""Checks of Slurm."""

from __future__ import annotations

from hpcfrugal.core.errors import SetupError
from hpcfrugal.doctor.finding import Finding
from hpcfrugal.slurm.accounting import AccountingCheck
from hpcfrugal.slurm.client import slurm_client
from hpcfrugal.slurm.cluster import ClusterRequest, ReleaseRequest
from hpcfrugal.slurm.command import sbatch_path


def slurm_findings() -> list[Finding]:
    """Whether Slurm's commands are installed, the controller answers, and the cluster has accounting."""
    sbatch = sbatch_path()
    if sbatch is None:
        return [
            Finding(
                "slurm", "commands", "gap", "no sbatch on the PATH: jobs run on this machine (backend local)",
                "on a cluster, load its Slurm module",
            )
        ]  # fmt: skip
    client = slurm_client()
    findings = []
    try:
        findings.append(Finding("slurm", "commands", "ok", f"{client.ask(ReleaseRequest())}, {sbatch}"))
        findings.append(Finding("slurm", "controller", "ok", f"cluster {client.ask(ClusterRequest()).name} answers"))
    except SetupError as error:
        advice = "ask your operator, or run jobs on this machine: submit --backend local"
        return [*findings, Finding("slurm", "controller", "fault", error.message, advice)]
    try:
        client.ask(AccountingCheck())
        findings.append(Finding("slurm", "accounting", "ok", "sacct answers"))
    except SetupError as error:
        advice = "without accounting the end of a killed job is unknown; ask your operator for slurmdbd"
        findings.append(Finding("slurm", "accounting", "gap", error.message, advice))
    return findings
