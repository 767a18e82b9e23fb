"""Jobs from Slurm's accounting into a ledger: what sacct prints is kept in the spool, and read by the next sync."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from hpcfrugal.api.messages import Messages
from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.core.safe_read import UnsafeFile, read_regular
from hpcfrugal.core.time import from_ns, instant_us
from hpcfrugal.ledger.accounting import ImportedText, asked_until, imported_texts, jobs_in_texts
from hpcfrugal.ledger.file_rows import SetAsideRow
from hpcfrugal.ledger.spool_files import name_in_spool
from hpcfrugal.settings.config import load_config
from hpcfrugal.settings.idle_power import read_idle_powers
from hpcfrugal.slurm.client import SlurmClient, slurm_client
from hpcfrugal.slurm.cluster import Cluster, ClusterRequest
from hpcfrugal.slurm.cluster_facts import store_cluster_facts
from hpcfrugal.slurm.nodes import HardwareRequest, NodeHardware
from hpcfrugal.slurm.sacct_jobs import read_jobs
from hpcfrugal.slurm.sacct_query import SacctColumns, SacctRows
from hpcfrugal.slurm.sacct_text import NoHeader
from hpcfrugal.spool.accounting_text import AccountingQuery, day_start_ns, store_answer, store_text, zone_named

ALL_USERS = "*"

_DAY_NS = 86_400 * 10**9
_FIRST_DAYS = 30
"""How far back the first import goes where no start is given."""

_LATE_NS = _DAY_NS
"""Slurm's controller may hand over the end of jobs later, while its database is down: the last day is asked again."""

_MAX_BYTES = 8 * 1024**3
_LINES_LOOKED_AT = 5000


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import stored: how many jobs, the texts as the ledger has them, and the first rows and values that could
    not be read, each with the name of its text."""

    jobs: int
    texts: Sequence[ImportedText]
    set_aside: Sequence[tuple[str, SetAsideRow]]


def ask_slurm(spool: Path, ledger: Path, messages: Messages, user: str | None, since: datetime | None) -> list[Path]:
    """Ask sacct for the jobs of a user (None: of all), day by day in UTC, and keep its answers in the spool.

    From ``since`` on, else from where the last import of the same users ended. Raises SetupError: Slurm does not
    answer, or an answer cannot be stored; the days before are kept.
    """
    client = slurm_client()
    asked = client.ask(ClusterRequest())
    keep_cluster_facts(client, asked, spool, messages)
    cluster, users = asked.name, user or ALL_USERS
    now_ns = time.time_ns()
    if since is not None:
        start_ns = instant_us(since) * 1000
    else:
        until_ns = _cursor(ledger, cluster, users)
        start_ns = now_ns - _FIRST_DAYS * _DAY_NS if until_ns is None else until_ns - _LATE_NS
    first_ns = day_start_ns(start_ns)
    days = range(first_ns, now_ns, _DAY_NS)
    known = client.ask(SacctColumns())
    stored = []
    with messages.progress("Asking Slurm") as progress:
        for number, day_ns in enumerate(days, 1):
            query = AccountingQuery(cluster, time.time_ns(), users, day_ns, day_ns + _DAY_NS)
            stored.append(_store(spool, query, _answer(client, query, user, known)))
            if progress is not None:
                progress(number, len(days))
    return stored


def keep_cluster_facts(client: SlurmClient, cluster: Cluster, spool: Path, messages: Messages) -> None:
    """Keep what is known of the cluster beside its jobs in the spool. Without its nodes, or where that fails, there is
    a warning, and the jobs are imported all the same. Raises InputError for invalid settings of nodes."""
    powers = read_idle_powers(load_config().tables("nodes"))
    hardware: Mapping[str, NodeHardware] = {}
    try:
        hardware = client.ask(HardwareRequest())
    except SetupError as error:
        messages.warn(f"the nodes of the cluster are not known: {error.message}")
    try:
        store_cluster_facts(spool, cluster, hardware, powers, time.time_ns())
    except OSError as error:
        messages.warn(f"what is known of the cluster cannot be kept in the spool {spool}: {error.strerror}")


def _answer(client: SlurmClient, query: AccountingQuery, user: str | None, known: frozenset[str]) -> str:
    start, end = (from_ns(at_ns) for at_ns in (query.since_wall_ns or 0, query.until_wall_ns or 0))
    return client.ask(SacctRows(start, end, user, known))


def _store(spool: Path, query: AccountingQuery, text: str) -> Path:
    try:
        return store_answer(spool, query, text)
    except OSError as error:
        raise SetupError(f"the spool {spool} cannot be written: {error.strerror}") from error


def _cursor(ledger: Path, cluster: str, users: str) -> int | None:
    from hpcfrugal.ledger.store import open_ledger

    if not ledger.exists():
        return None
    with open_ledger(ledger) as connection:
        return asked_until(connection, cluster, users)


def take_file(spool: Path, path: Path, timezone: str | None, cluster: str | None) -> Path:
    """Keep a text of sacct that somebody saved in the spool.

    Raises InputError: it is none, or its times or its cluster are not known; SetupError: the spool cannot be written.
    """
    where = str(path)
    try:
        zone = None if timezone is None else zone_named(timezone)
    except ValueError as error:
        raise InputError.at("--timezone", str(error)) from None
    try:
        data, status = read_regular(path, _MAX_BYTES, follow=True)
    except UnsafeFile as refused:
        raise InputError.at(where, str(refused)) from None
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline="\n")
    try:
        found = read_jobs(islice(lines, _LINES_LOOKED_AT), cluster or "", zone)
    except NoHeader as error:
        raise InputError.at(where, str(error)) from None
    if zone is None and any("has no time zone" in one.reason for one in found.set_aside):
        hint = "--timezone with the zone of the machine on which it was saved, such as Europe/Berlin"
        raise InputError.at(where, "has times without a zone", hint)
    if cluster is None and any(not job.cluster for job in found.jobs):
        cluster = _this_cluster(where)
    asked_ns = min(status.st_mtime_ns, time.time_ns())
    query = AccountingQuery(cluster or "", asked_ns, "", timezone=timezone, title=path.name[:200])
    try:
        return store_text(spool, query, data)
    except OSError as error:
        raise SetupError(f"the spool {spool} cannot be written: {error.strerror}") from error


def _this_cluster(where: str) -> str:
    try:
        return slurm_client().ask(ClusterRequest()).name
    except SetupError:
        hint = "--cluster names it, or save it with the column Cluster"
        raise InputError.at(where, "does not name the cluster of its jobs", hint) from None


def import_result(ledger: Path, stored: Sequence[Path], most: int) -> ImportResult:
    """What the ledger has of these texts, after a sync; at ``most`` so many of the rows that could not be read."""
    from hpcfrugal.ledger.store import open_ledger

    names = [name_in_spool(path) for path in stored]
    with open_ledger(ledger) as connection:
        return ImportResult(jobs_in_texts(connection, names), *imported_texts(connection, names, most))
