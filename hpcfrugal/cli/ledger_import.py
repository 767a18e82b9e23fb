"""``hpcfrugal ledger import``: jobs that were not submitted through hpcfrugal."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hpcfrugal.api.sync import TROUBLES_SHOWN
from hpcfrugal.cli.group import SuggestingGroup
from hpcfrugal.cli.options import FILE, check_exclusive, configured_ledger, configured_spool, json_option
from hpcfrugal.cli.streams import echo, echo_json, warn
from hpcfrugal.cli.sync import TerminalMessages, update, warn_of
from hpcfrugal.core.errors import DataError, InputError, Problem, SetupError
from hpcfrugal.core.format import count
from hpcfrugal.core.text import plain
from hpcfrugal.settings.config import load_config

_MOST_IN_JSON = 1000


@click.group(name="import", cls=SuggestingGroup)
def import_group() -> None:
    """Take jobs into the ledger that were not submitted through hpcfrugal."""


@import_group.command(name="sacct")
@configured_spool
@configured_ledger
@json_option()
@click.option("--from", "file", type=FILE, help="Read this saved output of sacct instead of asking Slurm.")
@click.option("--timezone", metavar="ZONE", help="With --from: the zone of its times, such as Europe/Berlin.")
@click.option(
    "--cluster", metavar="NAME", help="With --from: the cluster, where no column names it.  [default: site.cluster]"
)
@click.option("--since", metavar="TIME", help="2026-11-21, 2026-11, 7d, 24h or 2w; UTC. Default: the last import.")
@click.option("--user", metavar="NAME", help="The jobs of this user. Default: yours.")
@click.option("--all-users", is_flag=True, help="The jobs of all users, as far as Slurm shows them to you.")
def sacct_command(
    spool: Path,
    ledger_path: Path,
    as_json: bool,
    file: Path | None,
    timezone: str | None,
    cluster: str | None,
    since: str | None,
    user: str | None,
    all_users: bool,
) -> None:
    """Import jobs from Slurm's accounting, with modelled energy.

    Slurm is asked day by day (UTC) for what is new since the last import; the first one goes back 30 days. The answers
    are kept in the spool, so a rebuilt ledger has the same jobs. A job that was submitted through hpcfrugal keeps its
    measured energy. Rows that cannot be read are counted, and kept in the table set_aside of the ledger.

    \b
    hpcfrugal ledger import sacct
    sacct --parsable2 --duplicates --format=ALL -S 2026-11-01 > november.txt
    hpcfrugal ledger import sacct --from november.txt --timezone Europe/Berlin

    Exits with 3 if Slurm did not answer.
    """
    from hpcfrugal.api.accounting_import import ask_slurm, import_result, take_file
    from hpcfrugal.core.user import user_name
    from hpcfrugal.report.period import period

    given = {"--since": since is not None, "--user": user is not None, "--all-users": all_users}
    if file is not None:
        check_exclusive("--from", given)
        stored = [take_file(spool, file, timezone, cluster or load_config().site.cluster)]
    else:
        alone = {"--timezone": timezone is not None, "--cluster": cluster is not None}
        wrong = [Problem(name, "needs --from FILE") for name, is_given in alone.items() if is_given]
        if all_users and user is not None:
            wrong.append(Problem("--user", "cannot be combined with --all-users"))
        if since == "all":
            wrong.append(Problem("--since", "needs a time: sacct without one gives the jobs of today"))
        if wrong:
            raise InputError(wrong)
        start = None if since is None else period(since, None, prefix="--").since
        who = None if all_users else user or user_name()
        stored = ask_slurm(spool, ledger_path, TerminalMessages(), who, start)
    result, answered = update(load_config(), spool, ledger_path).run()
    warn_of(result)
    found = import_result(ledger_path, stored, _MOST_IN_JSON)
    totals = {key: sum(getattr(text, key) for text in found.texts) for key in ("rows", "set_aside")}
    if as_json:
        document: dict[str, Any] = {"ledger": str(ledger_path), "texts": [asdict(text) for text in found.texts]}
        aside = [{"text": name, **asdict(row)} for name, row in found.set_aside]
        echo_json({**document, "jobs": found.jobs, **totals, "set_aside_rows": aside})
    else:
        rows, jobs = count(totals["rows"], "row"), count(found.jobs, "job")
        texts = "" if file is not None else f" in {count(len(found.texts), 'day')}"
        lost = f"; rows or values that could not be read: {totals['set_aside']}" if totals["set_aside"] else ""
        echo(f"{rows} of sacct{texts}, {jobs}{lost}")
    for name, row in found.set_aside[:TROUBLES_SHOWN] if not as_json else []:
        column = f"{row.column_name}: " if row.column_name else ""
        warn(f"{name}, line {row.line}: {plain(column + row.reason, 300)}")
    refused = [text for text in found.texts if not text.accepted]
    if refused:
        raise DataError(f"{refused[0].name} does not count: {'; '.join(refused[0].problems)}")
    if not answered:
        sys.exit(SetupError.exit_code)
