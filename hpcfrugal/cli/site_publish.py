"""``hpcfrugal site publish``: a ledger for each user, made of the site's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hpcfrugal.cli.options import FILE, json_option
from hpcfrugal.cli.streams import echo, echo_json, echo_note, warn
from hpcfrugal.cli.sync import TerminalMessages
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.format import count
from hpcfrugal.core.text import plain
from hpcfrugal.settings.config import load_config

_NAMED = 5


@click.command(name="publish")
@click.option("--ledger", type=FILE, help="The site's ledger.  [default: site.ledger]")
@click.option("--to", "published", type=FILE, help="Where to publish.  [default: site.published]")
@json_option()
def publish_command(ledger: Path | None, published: Path | None, as_json: bool) -> None:
    """Give each user a ledger with their jobs, and each manager of an account one with the account's jobs.

    Run it as root, after `site sync`: the files belong to the users, and nobody else can read them. Managers are the
    coordinators of accounts in Slurm. Those that [site.managers] names get a ledger only if Slurm shows the jobs to
    them too (PrivateData). Users read theirs by `hpcfrugal report --published`, managers by `report --account NAME`.

    Exits with 1 if some users could not be given theirs.
    """
    from hpcfrugal.api.publish import publish
    from hpcfrugal.report.cost import Tariff

    site = load_config().site
    ledger, published = ledger or site.ledger, published or site.published
    needed = (("--ledger", ledger, "site.ledger"), ("--to", published, "site.published"))
    problems = [
        Problem(option, "is missing", f"or set {key} in the settings") for option, path, key in needed if path is None
    ]
    if problems:
        raise InputError(problems)
    assert ledger is not None
    assert published is not None
    result = publish(
        ledger.absolute(), published.absolute(), site.managers or {}, TerminalMessages(), Tariff.of_settings(site)
    )
    for name, why in result.failed:
        warn(f"{plain(name, 80)} was given nothing: {why}")
    if as_json:
        echo_json(
            {
                "published": str(published),
                "users": result.users,
                "accounts": result.accounts,
                "withheld": [{"account": account, "user": user} for account, user in result.withheld],
                "accounts_without_jobs": result.without_jobs,
                "unknown_users": result.unknown,
                "failed": [{"user": user, "reason": why} for user, why in result.failed],
            }
        )
    else:
        for account, user in result.withheld:
            echo_note(
                f"{plain(user, 80)} does not get the ledger of account {plain(account, 80)}: jobs are private in Slurm"
                " (PrivateData), and this user is no coordinator of it"
            )
        if result.without_jobs:
            accounts = count(len(result.without_jobs), "account")
            echo_note(f"without jobs in the ledger: {accounts} of [site.managers]: {_names(result.without_jobs)}")
        if result.unknown:
            users = count(len(result.unknown), "user")
            echo_note(f"without an account on this machine: {users}: {_names(result.unknown)}")
        echo(f"{count(len(result.users), 'ledger')} of users, {_accounts(result.accounts)}, in {published}")
    sys.exit(1 if result.failed else 0)


def _names(names: Sequence[str]) -> str:
    return ", ".join(plain(name, 40) for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _accounts(accounts: dict[str, list[str]]) -> str:
    return f"{count(sum(map(len, accounts.values())), 'ledger')} of {count(len(accounts), 'account')} for managers"
