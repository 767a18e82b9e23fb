"""Checks of Slurm."""

from __future__ import annotations

from hpcfrugal.core.errors import SetupError
from hpcfrugal.doctor.finding import Finding
from hpcfrugal.slurm.accounting import AccountingCheck
from hpcfrugal.slurm.client import slurm_client
from hpcfrugal.slurm.cluster import ClusterRequest, ReleaseRequest
from hpcfrugal.slurm.command import sbatch_path
from hpcfrugal.slurm.pyslurm_probe import why_not_pyslurm


def slurm_findings(backend: str = "auto") -> list[Finding]:
    """Whether Slurm's commands are installed, the controller answers, and the cluster has accounting.

    A controller that does not answer is no fault with ``backend`` ``local``, by which jobs run on this machine.
    """
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
        if backend == "local":
            advice = 'not needed with backend = "local"; to submit to a cluster, ask your operator'
            return [*findings, Finding("slurm", "controller", "gap", error.message, advice)]
        advice = 'ask your operator, or set backend = "local" to run jobs on this machine'
        return [*findings, Finding("slurm", "controller", "fault", error.message, advice)]
    why_not = why_not_pyslurm()
    used = "many jobs at once are submitted by pyslurm" if why_not is None else f"jobs go by sbatch alone: {why_not}"
    findings.append(Finding("slurm", "pyslurm", "ok", used))
    try:
        client.ask(AccountingCheck())
        findings.append(Finding("slurm", "accounting", "ok", "sacct answers"))
    except SetupError as error:
        advice = "without accounting the end of a killed job is unknown; ask your operator for slurmdbd"
        findings.append(Finding("slurm", "accounting", "gap", error.message, advice))
    return findings
