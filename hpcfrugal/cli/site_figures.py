"""``hpcfrugal site audit-energy`` and ``site calibrate``: Slurm's own energy, and the model, against measured jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcfrugal.cli.options import json_option, site_ledger, site_spool
from hpcfrugal.cli.report_options import given_period, period_options
from hpcfrugal.core.errors import SetupError
from hpcfrugal.settings.config import load_config

if TYPE_CHECKING:
    from hpcfrugal.spool.cluster_documents import ClusterDocument


_KEEP = "Keep the result in the spool, and compute the jobs of Slurm's accounting anew with it."


@click.command(name="audit-energy")
@site_spool
@site_ledger
@period_options
@click.option("--keep", is_flag=True, help=_KEEP)
@json_option()
def audit_energy_command(
    spool: Path, ledger_path: Path, since: str | None, until: str | None, month: str | None, keep: bool, as_json: bool
) -> None:
    """Judge Slurm's own energy (ConsumedEnergyRaw) by cluster, release and plugin, and print why.

    It is measured for jobs that had their nodes alone, if it is that of the nodes in the job's time; an upper bound for
    jobs that shared nodes; unusable where it is 0, not set, stands still or is not plausible. Jobs that this program
    measured too are compared. With --keep the verdict is in force: jobs take measured energy in place of the model.

    \b
    hpcfrugal site audit-energy --month 2026-11
    hpcfrugal site audit-energy --since all --keep
    """
    from hpcfrugal.cli.report import show_report
    from hpcfrugal.ledger.energy_audit import audit_energy, verdicts_of
    from hpcfrugal.ledger.queries import JobFilter
    from hpcfrugal.ledger.store import open_ledger
    from hpcfrugal.report.energy_audit import EnergyAuditReport
    from hpcfrugal.spool.cluster_documents import EnergyVerdicts, stored_cluster_document

    span = given_period(since, until, month)
    with open_ledger(ledger_path) as connection:
        setups = audit_energy(connection, JobFilter(span.since_ns, span.until_ns))
    if keep:
        documents: list[ClusterDocument] = []
        for cluster in sorted({one.cluster for one in setups if one.setup is not None}):
            old = stored_cluster_document(spool, EnergyVerdicts, cluster)
            documents.append(verdicts_of(cluster, setups, 1 if old is None else old.version + 1, time.time_ns()))
        _keep(spool, ledger_path, documents)
    show_report(EnergyAuditReport(span, setups, keep), "json" if as_json else None)


@click.command(name="calibrate")
@site_spool
@site_ledger
@period_options
@click.option("--keep", is_flag=True, help=_KEEP)
@json_option()
def calibrate_command(
    spool: Path, ledger_path: Path, since: str | None, until: str | None, month: str | None, keep: bool, as_json: bool
) -> None:
    """Calibrate the model of jobs from Slurm's accounting by measured jobs of the same kind on the same kind of node.

    The classes of nodes are those that Slurm had at the last import. With --keep the factors are in force; they have a
    version, which a job's report names.

    \b
    hpcfrugal site calibrate --since 2026-06
    hpcfrugal site calibrate --since all --keep
    """
    from hpcfrugal.cli.report import show_report
    from hpcfrugal.ledger.calibrating import calibrate
    from hpcfrugal.ledger.queries import JobFilter
    from hpcfrugal.ledger.store import open_ledger
    from hpcfrugal.report.calibration import CalibrationReport
    from hpcfrugal.spool.cluster_documents import Calibration, stored_cluster_document

    span = given_period(since, until, month)
    with open_ledger(ledger_path) as connection:
        clusters = calibrate(connection, JobFilter(span.since_ns, span.until_ns))
    if keep:
        documents: list[ClusterDocument] = []
        for one in clusters:
            old = stored_cluster_document(spool, Calibration, one.cluster)
            documents.append(one.document(1 if old is None else old.version + 1, time.time_ns()))
        _keep(spool, ledger_path, documents)
    show_report(CalibrationReport(span, clusters, keep), "json" if as_json else None)


def _keep(spool: Path, ledger_path: Path, documents: Iterable[ClusterDocument]) -> None:
    """Put documents into the spool and bring the ledger up to date."""
    from hpcfrugal.cli.sync import update, warn_of
    from hpcfrugal.spool.cluster_documents import store_cluster_document

    try:
        for document in documents:
            store_cluster_document(spool, document)
    except OSError as error:
        raise SetupError(f"the spool {spool} cannot be written: {error.strerror}") from error
    warn_of(update(load_config(), spool, ledger_path, offline=True).read_spool())
